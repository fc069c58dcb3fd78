//! Deletions, and what makes one possible: shorter locks, fewer holds.

use super::headers::in_hours;
use super::objects::{over, version};
use super::{Act, Door, Effect, one};
use crate::store::check::CheckError;
use crate::store::check::ground::{Request, Scene, send};
use crate::store::check::probe::Harm::{Adds, Destroys};
use crate::store::check::wire::Answer;

const BYPASS: &str = "x-amz-bypass-governance-retention";

pub(super) static DOORS: &[Door] = &[
    one(
        "DeleteNewest",
        "a deletion of an entry, which hides it",
        Destroys,
        Effect::Taken(&[]),
        delete,
    ),
    one(
        "DeleteVersion",
        "a deletion of an entry's version",
        Destroys,
        Effect::Taken(&[]),
        |scene| delete(scene).query(version(scene)),
    ),
    one(
        "DeleteBypassing",
        "a deletion of an entry's version past its lock",
        Destroys,
        Effect::Taken(&[]),
        |scene| delete(scene).query(version(scene)).header(BYPASS, "true"),
    ),
    one(
        "ForceDelete",
        "a deletion of everything that begins with a key",
        Destroys,
        Effect::Taken(&[]),
        |scene| delete(scene).header("x-minio-force-delete", "true"),
    ),
    one(
        "DeleteReplicated",
        "a deletion that claims to be another site's",
        Destroys,
        Effect::Taken(&[]),
        |scene| {
            delete(scene)
                .query(version(scene))
                .header("x-minio-source-replication-request", "true")
                .header("x-minio-source-deletemarker", "true")
                .header("x-minio-source-deletemarker-delete", "true")
        },
    ),
    one(
        "DeleteMany",
        "a deletion of many objects at once",
        Destroys,
        Effect::Victim,
        |scene| {
            let body = format!(
                "<Delete><Object><Key>{}</Key><VersionId>{}</VersionId></Object></Delete>",
                scene.victim.key, scene.victim.version
            );
            Request::new("POST", scene.ground.bucket_path())
                .query("delete=")
                .body(body)
                .checksummed()
        },
    ),
    Door {
        word: "PutOverDeleteMarker",
        says: "a put with If-None-Match over an entry that a delete marker hides",
        harm: Destroys,
        act: Act::OverMarker,
        effect: Effect::Taken(&[]),
    },
    one(
        "ShortenLock",
        "a shorter lock for an entry",
        Destroys,
        Effect::Taken(&[]),
        |scene| retention(scene, "GOVERNANCE", &in_hours(1)).header(BYPASS, "true"),
    ),
    one(
        "ProlongLock",
        "a longer lock for an entry, which fills the store",
        Adds,
        Effect::Taken(&[]),
        |scene| retention(scene, "COMPLIANCE", &in_hours(24 * 40)),
    ),
    one(
        "HoldLegally",
        "a legal hold on an entry",
        Adds,
        Effect::Taken(&[]),
        |scene| {
            over(scene)
                .query(format!("legal-hold=&{}", version(scene)))
                .body("<LegalHold><Status>ON</Status></LegalHold>")
                .checksummed()
        },
    ),
    one(
        "SetTags",
        "tags for an entry, which lifecycle rules may go by",
        Adds,
        Effect::Taken(&[]),
        |scene| {
            over(scene)
                .query("tagging=")
                .body("<Tagging><TagSet><Tag><Key>expire</Key><Value>1</Value></Tag></TagSet></Tagging>")
                .checksummed()
        },
    ),
    one(
        "SetAcl",
        "the permission for everybody to read an entry",
        Adds,
        Effect::Taken(&[]),
        |scene| {
            over(scene)
                .query("acl=")
                .header("x-amz-acl", "public-read")
                .body(Vec::new())
        },
    ),
    one(
        "Restore",
        "a request to bring an entry back from an archive",
        Adds,
        Effect::Taken(&[]),
        |scene| {
            Request::new("POST", scene.ground.path(&scene.victim.key))
                .query("restore=")
                .body("<RestoreRequest><Days>1</Days></RestoreRequest>")
        },
    ),
];

fn delete(scene: &Scene<'_>) -> Request {
    Request::new("DELETE", scene.ground.path(&scene.victim.key))
}

fn retention(scene: &Scene<'_>, mode: &str, until: &str) -> Request {
    over(scene)
        .query(format!("retention=&{}", version(scene)))
        .body(format!(
            "<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
        ))
        .checksummed()
}

/// What came of a put over a delete marker.
pub(super) enum OverMarker {
    /// It was tried, and this is the answer; none if there was none.
    Tried(Option<Answer>),
    /// Nobody here may make a delete marker, so it was not tried.
    NoMarker,
}

/// Hides the victim by a delete marker, as the check's user or as the witness, and puts over it.
pub(super) async fn over_marker(scene: &Scene<'_>) -> Result<OverMarker, CheckError> {
    let ground = scene.ground;
    let mut hidden = ground
        .send(delete(scene))
        .await?
        .is_some_and(|answer| answer.is_success());
    if !hidden && ground.eyes.is_witness {
        let answer = send(&ground.eyes.wire, &ground.eyes.user, delete(scene)).await?;
        hidden = answer.is_some_and(|answer| answer.is_success());
    }
    if !hidden {
        return Ok(OverMarker::NoMarker);
    }
    Ok(OverMarker::Tried(ground.send(over(scene).if_new()).await?))
}
