//! Looks at what became of an object: by its versions, its bytes, and, for a witness who may, its lock.

use jiff::Timestamp;

use super::CheckError;
use super::ground::{Request, Victim, prefix, send};
use super::signature::Signer;
use super::wire::{Wire, element};

/// Who looks. The check's own user sees the versions and bytes of its chain, and no lock.
pub(super) struct Eyes {
    pub wire: Wire,
    pub bucket: String,
    pub user: Signer,
    /// Whether it may read segments and locks.
    pub is_witness: bool,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenVersion {
    pub id: String,
    pub modified: Option<Timestamp>,
    pub is_marker: bool,
}

/// A lock on a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    /// `COMPLIANCE` or `GOVERNANCE`.
    pub mode: String,
    pub until: Option<Timestamp>,
}

/// All that can be seen of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub versions: Vec<SeenVersion>,
    /// Bytes of the version that was put first; none if it cannot be read.
    pub body: Option<String>,
    /// Its lock; none if it has none, or if we may not know.
    pub lock: Option<Lock>,
}

impl Eyes {
    /// The versions of exactly this key.
    pub(super) async fn versions(&self, key: &str) -> Result<Vec<SeenVersion>, CheckError> {
        let request =
            Request::new("GET", format!("/{}", self.bucket)).query(format!("{}&versions=", prefix(key)));
        let answer = send(&self.wire, &self.user, request)
            .await?
            .ok_or(CheckError::NoAnswer)?;
        if !answer.is_success() {
            return Err(CheckError::CannotLook {
                what: "list versions",
                user: self.user.name().to_owned(),
                status: answer.status,
            });
        }
        Ok(versions(answer.text(), key))
    }

    /// Everything about the object that was put as `victim`.
    pub(super) async fn look(&self, victim: &Victim) -> Result<Sight, CheckError> {
        let key = victim.key.to_string();
        let versions = self.versions(&key).await?;
        let path = format!("/{}/{key}", self.bucket);
        let by_version = format!("versionId={}", super::signature::escaped(&victim.version));
        let body = Request::new("GET", path.clone()).query(by_version.clone());
        let body = send(&self.wire, &self.user, body).await?;
        let body = body
            .filter(super::wire::Answer::is_success)
            .map(|answer| answer.text().to_owned());
        Ok(Sight {
            versions,
            body,
            lock: self.lock(&path, &by_version).await?,
        })
    }

    /// The lock on a version; none without the right to know.
    pub(super) async fn lock(&self, path: &str, by_version: &str) -> Result<Option<Lock>, CheckError> {
        if !self.is_witness {
            return Ok(None);
        }
        let request = Request::new("GET", path).query(format!("retention=&{by_version}"));
        let answer = send(&self.wire, &self.user, request).await?;
        Ok(answer.filter(super::wire::Answer::is_success).and_then(|answer| {
            Some(Lock {
                mode: answer.element("Mode")?.to_owned(),
                until: answer
                    .element("RetainUntilDate")
                    .and_then(|until| until.parse().ok()),
            })
        }))
    }
}

/// Says what has changed between two looks; none if nothing has.
pub(super) fn difference(before: &Sight, after: &Sight) -> Option<String> {
    if before == after {
        return None;
    }
    let markers = |sight: &Sight| sight.versions.iter().filter(|version| version.is_marker).count();
    let gone = before
        .versions
        .iter()
        .any(|version| !after.versions.iter().any(|now| now.id == version.id));
    let told = if gone {
        "the committed version is gone"
    } else if after.body != before.body {
        "the bytes of the committed version were replaced in place"
    } else if markers(after) > markers(before) {
        "a delete marker hides it"
    } else if after.versions.len() > before.versions.len() {
        "a second version lies over the committed one"
    } else if after.lock != before.lock {
        "its lock is another one"
    } else {
        "the committed version was written again"
    };
    let lost = before.lock.is_some() && after.lock.is_none() && !gone;
    Some(if lost {
        format!("{told}, and its lock is gone")
    } else {
        told.to_owned()
    })
}

/// The versions of `key` in a listing.
fn versions(xml: &str, key: &str) -> Vec<SeenVersion> {
    let mut found = Vec::new();
    for (name, is_marker) in [("Version", false), ("DeleteMarker", true)] {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let blocks = xml
            .split(&open)
            .skip(1)
            .filter_map(|rest| rest.split_once(&close).map(|(block, _)| block));
        found.extend(
            blocks
                .filter(|block| element(block, "Key") == Some(key))
                .map(|block| SeenVersion {
                    id: element(block, "VersionId").unwrap_or_default().to_owned(),
                    modified: element(block, "LastModified").and_then(|time| time.parse().ok()),
                    is_marker,
                }),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(ids: &[&str], body: &str, lock: Option<&str>) -> Sight {
        Sight {
            versions: ids
                .iter()
                .map(|id| SeenVersion {
                    id: (*id).to_owned(),
                    modified: None,
                    is_marker: id.starts_with('m'),
                })
                .collect(),
            body: Some(body.to_owned()),
            lock: lock.map(|mode| Lock {
                mode: mode.to_owned(),
                until: None,
            }),
        }
    }

    #[test]
    fn what_became_of_an_object_is_said_worst_first() {
        let before = sight(&["1"], "a", Some("COMPLIANCE"));
        let told = |after: &Sight| difference(&before, after).unwrap_or_default();
        assert_eq!(told(&before), "");
        assert_eq!(told(&sight(&["2"], "b", None)), "the committed version is gone");
        assert_eq!(
            told(&sight(&["1"], "b", None)),
            "the bytes of the committed version were replaced in place, and its lock is gone"
        );
        assert_eq!(
            told(&sight(&["1", "m"], "a", Some("COMPLIANCE"))),
            "a delete marker hides it"
        );
        assert_eq!(
            told(&sight(&["1", "2"], "a", Some("COMPLIANCE"))),
            "a second version lies over the committed one"
        );
        assert_eq!(
            told(&sight(&["1"], "a", Some("GOVERNANCE"))),
            "its lock is another one"
        );
    }

    #[test]
    fn versions_of_a_longer_key_are_not_this_ones() {
        let xml = "<ListVersionsResult><Version><Key>a/1</Key><VersionId>x</VersionId>\
                   <LastModified>2020-01-01T00:00:00.000Z</LastModified></Version>\
                   <Version><Key>a/12</Key><VersionId>y</VersionId></Version>\
                   <DeleteMarker><Key>a/1</Key><VersionId>m</VersionId></DeleteMarker></ListVersionsResult>";
        let found = versions(xml, "a/1");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].modified, Some("2020-01-01T00:00:00Z".parse().unwrap()));
        assert!(found[1].is_marker);
    }
}
