//! A real MinIO on loopback, with TLS by an authority of its own and store users with the policies we ship.

mod admin;
mod rested;
mod running;
mod signed;
mod small;
mod traffic;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hyper::Method;

pub use self::admin::StoreUser;
use self::running::Running;
pub use self::signed::{Credentials, SignedClient};
pub use self::traffic::Traffic;
use crate::authority::Authority;

/// The bucket that tests use unless they need another.
pub const BUCKET: &str = "registries";

/// A running MinIO that nobody else uses. Dropping it leaves the process to a later test of the same program, which finds it empty.
pub struct Minio {
    running: Arc<Running>,
}

/// How a bucket is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    /// Neither versioning nor Object Lock.
    Plain,
    /// Versioning only.
    Versioned,
    /// Versioning and Object Lock, but no default retention.
    Lockable,
    /// Versioning and Object Lock with a default retention of one day, COMPLIANCE: what a store needs.
    Locked,
}

impl Minio {
    /// A server that answers and holds nothing: one that an earlier test has left, or a new one.
    pub async fn start() -> Result<Self> {
        let running = match rested::take() {
            Some(running) => running,
            None => Arc::new(Running::start(None).await?),
        };
        Ok(Self { running })
    }

    /// A server of one's own, with a volume of so many MiB for all that it holds. It loses all of it when it is stopped, and nobody finds it later.
    pub async fn start_small(mebibytes: u32) -> Result<Self> {
        let running = Arc::new(Running::start(Some(mebibytes)).await?);
        Ok(Self { running })
    }

    /// Leaves no byte free on the volume of a small server.
    pub fn fill(&self) -> Result<()> {
        self.volume()?.fill()
    }

    /// Takes away again what [`Self::fill`] has put there.
    pub fn make_room(&self) -> Result<()> {
        self.volume()?.make_room()
    }

    /// Gives a small server a volume of so many MiB; what it holds stays.
    pub fn resize(&self, mebibytes: u32) -> Result<()> {
        self.volume()?.resize(mebibytes)
    }

    fn volume(&self) -> Result<&small::Volume> {
        let volume = self.running.volume.as_ref();
        volume.context("the server has no volume of its own")
    }

    /// Starts the server again after [`Self::stop`], on the same port and data.
    pub async fn resume(&mut self) -> Result<()> {
        self.running.resume().await
    }

    /// Ends the server process and keeps its data.
    pub fn stop(&mut self) {
        self.running.stop();
    }

    /// The address as `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The address as `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.running.port)
    }

    /// The folder with the server's data, `<bucket>/<key>/…`: for what a broken disk would do.
    #[must_use]
    pub fn data_directory(&self) -> std::path::PathBuf {
        self.running.data_directory()
    }

    /// The authority that signed the server's certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.running.authority
    }

    /// Requests signed as the root user, past every policy: for arranging faults and for looking at what is there.
    #[must_use]
    pub fn root(&self) -> &SignedClient {
        &self.running.root
    }

    /// Makes a bucket, which no test may have made before. What an earlier test on a server that rested had left under way may have brought that
    /// test's bucket back: it is taken away again.
    pub async fn make_bucket(&self, name: &str, kind: BucketKind) -> Result<()> {
        const TAKEN: &str = "BucketAlreadyOwnedByYou";
        let made = self.root().make_bucket(name, kind).await;
        match made {
            Err(error) if format!("{error:#}").contains(TAKEN) => {
                self.running.remove_bucket(name)?;
                self.root().make_bucket(name, kind).await
            }
            made => made,
        }
    }

    /// Puts an object as root, whatever is there already.
    pub async fn put(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<()> {
        self.root()
            .expect(Method::PUT, &format!("/{bucket}/{key}"), &[], &[], body)
            .await
            .map(drop)
    }

    /// Reads the newest version of an object as root.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let answer = self
            .root()
            .expect(Method::GET, &format!("/{bucket}/{key}"), &[], &[], Vec::new())
            .await?;
        Ok(answer.into_body().to_vec())
    }

    /// The keys below `prefix`, in the store's order; one for each version.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let versions = self.root().versions(bucket, prefix).await?;
        Ok(versions.into_iter().map(|version| version.key).collect())
    }

    /// Makes a store user with its policy and returns its credentials.
    pub async fn add_user(&self, bucket: &str, user: &StoreUser) -> Result<Credentials> {
        ensure!(!bucket.is_empty(), "a store user needs a bucket");
        self.root().add_user(bucket, user).await
    }

    /// Gives a store user another secret: from now on the store knows no other.
    pub async fn change_secret(&self, user: &Credentials, secret_key: &str) -> Result<Credentials> {
        self.root().set_secret(&user.access_key, secret_key).await
    }
}

/// One version of an object, or a deletion of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub id: String,
}

impl SignedClient {
    /// The versions of all keys below `prefix`, in the store's order.
    pub async fn versions(&self, bucket: &str, prefix: &str) -> Result<Vec<Version>> {
        let mut versions = Vec::new();
        let (mut key_marker, mut id_marker) = (String::new(), String::new());
        loop {
            let query = [
                ("key-marker", key_marker.as_str()),
                ("prefix", prefix),
                ("version-id-marker", id_marker.as_str()),
                ("versions", ""),
            ];
            let query = if id_marker.is_empty() {
                &[query[0], query[1], query[3]][..]
            } else {
                &query
            };
            let answer = self
                .expect(Method::GET, &format!("/{bucket}"), query, &[], Vec::new())
                .await?;
            let body = String::from_utf8(answer.into_body().to_vec())?;
            let found = elements(&body, "Key").zip(elements(&body, "VersionId"));
            versions.extend(found.map(|(key, id)| Version {
                key: key.to_owned(),
                id: id.to_owned(),
            }));
            let next = elements(&body, "NextKeyMarker").next();
            let Some(next) = next.filter(|_| elements(&body, "IsTruncated").next() == Some("true")) else {
                return Ok(versions);
            };
            next.clone_into(&mut key_marker);
            elements(&body, "NextVersionIdMarker")
                .next()
                .unwrap_or_default()
                .clone_into(&mut id_marker);
        }
    }

    /// The bytes of one version.
    pub async fn get_version(&self, bucket: &str, key: &str, id: &str) -> Result<Bytes> {
        let answer = self
            .expect(
                Method::GET,
                &format!("/{bucket}/{key}"),
                &[("versionId", id)],
                &[],
                Vec::new(),
            )
            .await?;
        Ok(answer.into_body())
    }

    /// Makes a bucket.
    pub async fn make_bucket(&self, name: &str, kind: BucketKind) -> Result<()> {
        let path = format!("/{name}");
        let lockable = matches!(kind, BucketKind::Lockable | BucketKind::Locked);
        let headers: &[(&str, &str)] = if lockable {
            &[("x-amz-bucket-object-lock-enabled", "true")]
        } else {
            &[]
        };
        self.expect(Method::PUT, &path, &[], headers, Vec::new()).await?;
        if kind == BucketKind::Versioned {
            let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            self.expect(Method::PUT, &path, &[("versioning", "")], &[], body.into())
                .await?;
        }
        if kind == BucketKind::Locked {
            let body = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
                <DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention>\
                </Rule></ObjectLockConfiguration>";
            self.expect(Method::PUT, &path, &[("object-lock", "")], &[], body.into())
                .await?;
        }
        Ok(())
    }
}

/// The contents of each `<name>…</name>` of a flat XML answer.
fn elements<'a>(body: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = body;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let length = rest[start..].find(&close)?;
        let content = &rest[start..start + length];
        rest = &rest[start + length..];
        Some(content)
    })
}
