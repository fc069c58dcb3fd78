//! `store init` as a program: what it asks of a store, what it writes once, and what it refuses to build on.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::bench::StoreBench;
use dataembassy_ledger::{SigningKey, StoreDocument};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind, Credentials, StoreUser};
use hyper::Method;
use tempfile::TempDir;
use tokio::process::Command;

/// A store, and the files that a custodian has on a machine of their own.
struct Desk {
    bench: StoreBench,
    folder: TempDir,
}

/// How the program ended, and what it said.
struct Ended {
    succeeded: bool,
    said: String,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self {
            bench: StoreBench::start().await,
            folder: tempfile::tempdir().unwrap(),
        };
        desk.write("ca.crt", &desk.bench.minio.authority().certificate());
        desk.write(
            "custodian",
            &SigningKey::from_seed(&[9; 32]).to_openssh().unwrap(),
        );
        desk.may_use(BUCKET).await;
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The custodian's user may use this bucket, and no other.
    async fn may_use(&self, bucket: &str) {
        let keys = self
            .bench
            .minio
            .add_user(bucket, &StoreUser::Custody)
            .await
            .unwrap();
        self.has_keys(&keys);
    }

    fn has_keys(&self, keys: &Credentials) {
        self.write("accessKeyId", &format!("{}\n", keys.access_key));
        self.write("secretAccessKey", &format!("{}\n", keys.secret_key));
    }

    async fn init(&self, bucket: &str, more: &[&str]) -> Ended {
        self.init_with_key(bucket, "custodian", more).await
    }

    async fn init_with_key(&self, bucket: &str, key: &str, more: &[&str]) -> Ended {
        let named = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let output = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .env_clear()
            .args(["store", "init", "--allow-loopback"])
            .arg(format!("--endpoint={}", self.bench.proxy.endpoint()))
            .arg(format!("--bucket={bucket}"))
            .arg(named("ca-bundle", &self.path("ca.crt")))
            .arg(named("credentials", self.folder.path()))
            .arg(named("custodian-key", &self.path(key)))
            .args(more)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended = Ended {
            succeeded: output.status.success(),
            said: text(output.stdout) + &text(output.stderr),
        };
        for secret in ["secret-of-", "PRIVATE KEY", "root-secret"] {
            assert!(!ended.said.contains(secret), "a secret was told");
        }
        ended
    }

    /// It fails with these words, and nothing is written.
    async fn refuses(&self, bucket: &str, more: &[&str], words: &[&str]) {
        let ended = self.init(bucket, more).await;
        assert!(!ended.succeeded, "{}", ended.said);
        for word in words {
            assert!(ended.said.contains(word), "'{word}' is not in: {}", ended.said);
        }
        if let Ok(keys) = self.bench.minio.keys(bucket, "").await {
            assert_eq!(keys, Vec::<String>::new());
        }
    }

    async fn bucket(&self, name: &'static str, kind: BucketKind) -> &'static str {
        self.bench.minio.make_bucket(name, kind).await.unwrap();
        self.may_use(name).await;
        name
    }

    async fn document(&self) -> StoreDocument {
        let bytes = self.bench.minio.get(BUCKET, "embassy.json").await.unwrap();
        StoreDocument::verify(&bytes).unwrap().document
    }
}

#[tokio::test]
async fn a_bucket_is_made_ready_once_and_what_was_done_is_told() {
    let desk = Desk::new().await;
    let first = desk.init(BUCKET, &[]).await;
    assert!(first.succeeded, "{}", first.said);
    let document = desk.document().await;
    for word in [
        "versioning on, Object Lock COMPLIANCE for 1 days",
        "embassy.json written",
        &document.store_id.to_string(),
        &document.custodian_key.to_string(),
    ] {
        assert!(first.said.contains(word), "'{word}' is not in: {}", first.said);
    }
    let again = desk.init(BUCKET, &[]).await;
    assert!(
        again.succeeded && again.said.contains("nothing written"),
        "{}",
        again.said
    );
    assert_eq!(desk.document().await, document);
    assert_eq!(desk.bench.minio.keys(BUCKET, "").await.unwrap(), ["embassy.json"]);
}

#[tokio::test]
async fn a_store_of_another_custodian_stays_theirs() {
    let desk = Desk::new().await;
    assert!(desk.init(BUCKET, &[]).await.succeeded);
    let theirs = desk.document().await;
    let ours = desk.init_with_key(BUCKET, "ours", &["--generate-key"]).await;
    assert!(!ours.succeeded, "{}", ours.said);
    for word in [
        theirs.custodian_key.to_string().as_str(),
        "this bucket is another store",
    ] {
        assert!(ours.said.contains(word), "'{word}' is not in: {}", ours.said);
    }
    assert_eq!(desk.document().await, theirs);
}

#[tokio::test]
async fn of_many_who_make_a_bucket_ready_at_once_one_does() {
    let desk = Desk::new().await;
    let names: Vec<String> = (0..4).map(|number| format!("custodian-{number}")).collect();
    let ends = names
        .iter()
        .map(|name| desk.init_with_key(BUCKET, name, &["--generate-key"]));
    let ends = futures::future::join_all(ends).await;
    let winners: Vec<_> = ends.iter().filter(|ended| ended.succeeded).collect();
    assert_eq!(
        winners.len(),
        1,
        "{:?}",
        ends.iter().map(|ended| &ended.said).collect::<Vec<_>>()
    );
    let document = desk.document().await;
    assert!(winners[0].said.contains(&document.custodian_key.to_string()));
    assert_eq!(desk.bench.minio.keys(BUCKET, "").await.unwrap(), ["embassy.json"]);
}

#[tokio::test]
async fn a_key_is_made_only_when_asked_for_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let desk = Desk::new().await;
    let without = desk.init_with_key(BUCKET, "new", &[]).await;
    assert!(
        !without.succeeded && without.said.contains("--generate-key"),
        "{}",
        without.said
    );
    assert!(desk.bench.minio.keys(BUCKET, "").await.unwrap().is_empty());
    let with = desk.init_with_key(BUCKET, "new", &["--generate-key"]).await;
    assert!(with.succeeded, "{}", with.said);
    let mode = std::fs::metadata(desk.path("new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = std::fs::read_to_string(desk.path("new.pub")).unwrap();
    assert_eq!(public.trim_end(), desk.document().await.custodian_key.to_string());
}

#[tokio::test]
async fn a_bucket_that_does_not_protect_copies_is_not_made_a_store() {
    let desk = Desk::new().await;
    let plain = desk.bucket("plain", BucketKind::Plain).await;
    desk.refuses(plain, &[], &["plain", "versioning off", "switch it on"])
        .await;
    let versioned = desk.bucket("versioned", BucketKind::Versioned).await;
    desk.refuses(
        versioned,
        &[],
        &["versioned", "no Object Lock", "COMPLIANCE for at least 1 days"],
    )
    .await;
    let lockable = desk.bucket("lockable", BucketKind::Lockable).await;
    desk.refuses(lockable, &[], &["lockable", "no default retention"])
        .await;
    let short = desk.bucket("short", BucketKind::Locked).await;
    let words = ["short", "COMPLIANCE for 1 days", "at least 14 days"];
    desk.refuses(short, &["--least-days=14"], &words).await;
}

#[tokio::test]
async fn a_store_that_is_not_there_or_not_ours_is_told_as_that() {
    let desk = Desk::new().await;
    desk.may_use("missing").await;
    desk.refuses("missing", &[], &["no bucket 'missing'", "correct the name"])
        .await;
    desk.may_use(BUCKET).await;
    let words = ["denied GetBucketVersioning", "bucket 'elsewhere'"];
    desk.refuses("elsewhere", &[], &words).await;
    desk.has_keys(&Credentials {
        access_key: "custody".into(),
        secret_key: "another secret altogether".into(),
    });
    desk.refuses(BUCKET, &[], &["SignatureDoesNotMatch", "secretAccessKey"])
        .await;
}

#[tokio::test]
async fn a_store_that_takes_a_key_twice_is_refused() {
    let desk = Desk::new().await;
    let bench = &desk.bench;
    // What was put is hidden before it is put again: as if the store did not look.
    let credentials = bench.minio.root().credentials().clone();
    let (authority, address) = (bench.minio.authority().certificate(), bench.minio.address());
    let hide = Fault::before(move || {
        let root =
            dataembassy_testkit::minio::SignedClient::new(&authority, address.clone(), credentials.clone());
        async move {
            let path = format!("/{BUCKET}/embassy.json");
            root.unwrap()
                .send(Method::DELETE, &path, &[], &[], Vec::new())
                .await
                .unwrap();
        }
    });
    bench.proxy.inject(2, hide, |method, target| {
        *method == Method::PUT && target.contains("embassy.json")
    });
    let ended = desk.init(BUCKET, &[]).await;
    assert!(!ended.succeeded, "{}", ended.said);
    assert!(
        ended.said.contains("a second time") && ended.said.contains("If-None-Match"),
        "{}",
        ended.said
    );
}
