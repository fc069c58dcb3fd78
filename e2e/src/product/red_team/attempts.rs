//! Requests that must not pass, whatever they are signed with.

use anyhow::Result;
use bytes::Bytes;
use dataembassy_testkit::minio::{BUCKET, SignedClient};
use hyper::{Method, Response};

/// One attempt.
pub(super) struct Attempt {
    /// What is tried.
    pub(super) what: &'static str,
    /// Whether nothing is wrong with it by its words, so that only the store can refuse it.
    pub(super) is_for_the_store: bool,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Attempt {
    /// A request without query, headers or body.
    pub(super) fn new(what: &'static str, method: Method, path: &str) -> Self {
        Self {
            what,
            is_for_the_store: false,
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

    fn body(self, body: &str) -> Self {
        self.bytes(body.as_bytes().to_vec())
    }

    /// With these bytes as its body.
    pub(super) fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// As our own client puts: so that it is not the missing condition that has it refused.
    pub(super) fn conditional(self) -> Self {
        self.header("if-none-match", "*")
    }

    /// The gate passes it on: what is wrong with it the store has to know.
    pub(super) fn only_the_store_knows(mut self) -> Self {
        self.is_for_the_store = true;
        self
    }

    /// Tries it, as `home`.
    pub(super) async fn send(self, home: &SignedClient) -> Result<Response<Bytes>> {
        let (mut query, headers) = (borrowed(&self.query), borrowed(&self.headers));
        query.sort_unstable();
        home.send(self.method, &self.path, &query, &headers, self.body)
            .await
    }
}

fn borrowed<'a>(pairs: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    pairs.iter().map(|(name, is)| (*name, is.as_str())).collect()
}

/// Requests that must not pass, with one of the registry's own segments as their prey.
pub(super) fn with_credentials(registry: &str, key: &str, version: &str) -> Vec<Attempt> {
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
