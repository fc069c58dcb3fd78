//! What somebody tries who owns home: each registry's deposit credentials, its signing key, and every request that S3 and MinIO know.
//!
//! Every attempt goes through the gate, as home's only way. What is to be true afterwards is that no committed byte was read, changed or
//! lost, and that the attempts were counted.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, ensure};
use dataembassy_testkit::minio::{BUCKET, Credentials, SignedClient};
use hyper::{Method, StatusCode};

use super::{Product, embassy};
use crate::{bed::secrets, cluster::Site};

/// One attempt.
struct Attempt {
    what: &'static str,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An attempt that was not refused.
#[derive(Debug)]
pub struct Slip {
    /// What was tried.
    pub what: &'static str,
    /// What the gate, or the store behind it, answered.
    pub status: StatusCode,
}

impl fmt::Display for Slip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.status)
    }
}

/// All versions of a registry's objects in the store, by key and version: size and `ETag`.
pub type Holdings = BTreeMap<(String, String), String>;

/// A team that has all of home's credentials for one registry.
pub struct RedTeam {
    registry: String,
    home: SignedClient,
    root: SignedClient,
}

impl RedTeam {
    /// Takes the deposit credentials out of home's Secret.
    pub async fn of(product: &Product, namespace: &str, registry: &str) -> Result<Self> {
        let mut keys = secrets::read(product.bed.home(), namespace, &format!("{registry}-deposit"))
            .await?
            .context("there are no deposit credentials")?;
        let mut take = |key: &str| {
            keys.remove(key)
                .with_context(|| format!("the Secret has no {key}"))
        };
        let credentials = Credentials {
            access_key: take("accessKeyId")?,
            secret_key: take("secretAccessKey")?,
        };
        let authority = embassy::gate_authority(product).await?;
        let store = product.bed.store().await?;
        Ok(Self {
            registry: registry.to_owned(),
            home: SignedClient::new(&authority, format!("{}:443", Site::Embassy.node()), credentials)?,
            root: store.into_root(),
        })
    }

    /// What the registry has in the store now, as the store's root sees it.
    pub async fn holdings(&self) -> Result<Holdings> {
        let prefix = format!("registries/{}/", self.registry);
        let mut holdings = Holdings::new();
        for version in self.root.versions(BUCKET, &prefix).await? {
            let query = [("versionId", version.id.as_str())];
            let answer = self
                .root
                .send(
                    Method::HEAD,
                    &format!("/{BUCKET}/{}", version.key),
                    &query,
                    &[],
                    Vec::new(),
                )
                .await?;
            let header = |name: &str| {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let is = format!(
                "{} {} {}",
                answer.status(),
                header("content-length"),
                header("etag")
            );
            holdings.insert((version.key, version.id), is);
        }
        ensure!(!holdings.is_empty(), "{prefix} is empty");
        Ok(holdings)
    }

    /// Fails unless everything that the registry had is there as it was; what was added is not asked for.
    pub async fn still_holds(&self, before: &Holdings) -> Result<()> {
        let after = self.holdings().await?;
        for (version, is) in before {
            ensure!(
                after.get(version) == Some(is),
                "{version:?} was {is} and is {:?}",
                after.get(version)
            );
        }
        Ok(())
    }

    /// Tries everything once; returns how much was tried, and what was not refused.
    pub async fn attack(&self) -> Result<(usize, Vec<Slip>)> {
        let versions = self
            .root
            .versions(BUCKET, &format!("registries/{}/copies/", self.registry))
            .await?;
        let is_segment = |key: &str| {
            key.rsplit('/')
                .next()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        };
        let segment = versions
            .iter()
            .find(|version| is_segment(&version.key))
            .context("the registry has no segment")?;
        let attempts = attempts(&self.registry, &segment.key, &segment.id);
        let tried = attempts.len();
        let mut slips = Vec::new();
        for attempt in attempts {
            let mut query: Vec<_> = attempt
                .query
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            query.sort_unstable();
            let headers: Vec<_> = attempt
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = self
                .home
                .send(attempt.method, &attempt.path, &query, &headers, attempt.body)
                .await;
            // A connection that the gate closes on a body that it does not want is a refusal too.
            let Ok(answer) = answer else { continue };
            let refused =
                answer.status().is_client_error() || answer.status() == StatusCode::SERVICE_UNAVAILABLE;
            if !refused {
                slips.push(Slip {
                    what: attempt.what,
                    status: answer.status(),
                });
            }
        }
        Ok((tried, slips))
    }
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// How many objects were taken.
    pub taken: usize,
    /// How many were refused.
    pub refused: usize,
}

impl RedTeam {
    /// Puts `objects` new segments of `size` bytes each, as our own client would put them, of a copy that never comes to an entry.
    pub async fn flood(&self, objects: usize, size: usize) -> Result<Flood> {
        let copy = hex::encode(rand::random::<[u8; 16]>());
        let mut flood = Flood { taken: 0, refused: 0 };
        for number in 1..=objects {
            let path = format!("/{BUCKET}/registries/{}/copies/{copy}/{number:08}", self.registry);
            if self.put(&path, vec![0_u8; size]).await? {
                flood.taken += 1;
            } else {
                flood.refused += 1;
            }
        }
        Ok(flood)
    }

    /// Puts something that is no entry where the registry's entry of this number belongs; whether that was taken.
    pub async fn squat(&self, sequence: u64) -> Result<bool> {
        let path = format!(
            "/{BUCKET}/registries/{}/source/0001-{sequence:012}",
            self.registry
        );
        self.put(&path, b"this place is taken".to_vec()).await
    }

    /// Whether a put that nothing is wrong with by its words is taken.
    async fn put(&self, path: &str, body: Vec<u8>) -> Result<bool> {
        let headers = [("if-none-match", "*")];
        let answer = self.home.send(Method::PUT, path, &[], &headers, body).await?;
        Ok(answer.status().is_success())
    }
}

impl Attempt {
    fn new(what: &'static str, method: Method, path: &str) -> Self {
        Self {
            what,
            method,
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// As our own client puts: so that it is not the missing condition that has it refused.
    fn conditional(self) -> Self {
        self.header("if-none-match", "*")
    }
}

/// Requests that must not pass, with one of the registry's own segments as their prey.
fn attempts(registry: &str, key: &str, version: &str) -> Vec<Attempt> {
    let mut attempts = on_what_is_there(key, version);
    attempts.extend(by_other_doors(registry, key));
    attempts.extend(on_settings());
    attempts.extend(in_other_places(registry));
    attempts
}

/// Reading, replacing and deleting a segment that was committed, and its lock.
fn on_what_is_there(key: &str, version: &str) -> Vec<Attempt> {
    let object = format!("/{BUCKET}/{key}");
    let bucket = format!("/{BUCKET}");
    let on = |what, method| Attempt::new(what, method, &object);
    let shorter = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>";
    let many = format!("<Delete><Object><Key>{key}</Key><VersionId>{version}</VersionId></Object></Delete>");
    vec![
        on("read a segment", Method::GET),
        on("read a version of a segment", Method::GET).query("versionId", version),
        on("ask for a segment's head", Method::HEAD),
        Attempt::new("list all copies", Method::GET, &bucket).query("list-type", "2"),
        Attempt::new("list all versions", Method::GET, &bucket).query("versions", ""),
        on("overwrite a segment", Method::PUT).body("noise"),
        on("replace a version of a segment", Method::PUT)
            .query("versionId", version)
            .body("noise"),
        on("delete a segment", Method::DELETE),
        on("delete a version of a segment", Method::DELETE).query("versionId", version),
        Attempt::new("delete many", Method::POST, &bucket)
            .query("delete", "")
            .body(&many),
        on("shorten a lock", Method::PUT)
            .query("retention", "")
            .query("versionId", version)
            .body(shorter),
        on("lift a legal hold", Method::PUT)
            .query("legal-hold", "")
            .body("<LegalHold><Status>OFF</Status></LegalHold>"),
        on("tag", Method::PUT)
            .query("tagging", "")
            .body("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
    ]
}

/// The doors of a store's write path beside `PutObject`.
fn by_other_doors(registry: &str, key: &str) -> Vec<Attempt> {
    let bucket = format!("/{BUCKET}");
    let fresh = format!(
        "/{BUCKET}/registries/{registry}/copies/{}/99999999",
        "f".repeat(32)
    );
    let on = |what, method| Attempt::new(what, method, &fresh);
    let form = format!("--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{key}\r\n--x--\r\n");
    vec![
        Attempt::new("post a form", Method::POST, &bucket)
            .header("content-type", "multipart/form-data; boundary=x")
            .body(&form),
        on("begin a multipart upload", Method::POST).query("uploads", ""),
        on("put a part", Method::PUT)
            .query("partNumber", "1")
            .query("uploadId", "x")
            .body("part"),
        on("copy on the server", Method::PUT)
            .conditional()
            .header("x-amz-copy-source", &format!("{BUCKET}/{key}")),
        on("have an archive unpacked", Method::PUT)
            .conditional()
            .header("x-amz-meta-snowball-auto-extract", "true")
            .body("archive"),
        on("backdate", Method::PUT)
            .conditional()
            .header("x-minio-source-mtime", "2001-01-01T00:00:00Z")
            .body("old"),
        on("pass for a replica", Method::PUT)
            .conditional()
            .header("x-minio-source-replication-request", "true")
            .body("replica"),
        on("choose a lock", Method::PUT)
            .conditional()
            .header("x-amz-object-lock-mode", "GOVERNANCE")
            .header("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z")
            .body("short"),
    ]
}

/// What the bucket does by itself, and the store's administration.
fn on_settings() -> Vec<Attempt> {
    let bucket = format!("/{BUCKET}");
    let set = |what, name| Attempt::new(what, Method::PUT, &bucket).query(name, "");
    vec![
        set("suspend versioning", "versioning")
            .body("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
        set("take the default lock away", "object-lock").body("<ObjectLockConfiguration/>"),
        set("open the bucket", "policy").body("{}"),
        set("let objects expire", "lifecycle").body("<LifecycleConfiguration/>"),
        Attempt::new(
            "reach MinIO's administration",
            Method::GET,
            "/minio/admin/v3/info",
        ),
    ]
}

/// Writing where somebody else writes.
fn in_other_places(registry: &str) -> Vec<Attempt> {
    let own = format!("/{BUCKET}/registries/{registry}");
    let other = format!("/{BUCKET}/registries/another/copies/{}/00000001", "e".repeat(32));
    let put = |what, path: &str| Attempt::new(what, Method::PUT, path).conditional().body("{}");
    vec![
        put("write where another registry's copies are", &other),
        put("write a custody entry", &format!("{own}/custody/000000000001")),
        put("write a report", &format!("{own}/reports/drill.json")),
        put(
            "write into a later term",
            &format!("{own}/source/0002-000000000001"),
        ),
        put("replace the store's document", &format!("/{BUCKET}/embassy.json")),
    ]
}
