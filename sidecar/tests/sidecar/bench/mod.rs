//! What the store's and the mirror's tests stand on: a real MinIO behind a proxy that makes faults, and a bucket made ready.

pub mod activation;
pub mod activation_report;
pub mod custodian;
pub mod custody;
pub mod drill;
pub mod http;
pub mod mirror;
pub mod pauses;
pub mod process;
pub mod trust_sheet;
pub mod whole;

use std::time::Duration;

use dataembassy_contract::sovereignty::Loopback;
use dataembassy_contract::{Endpoint, Sovereignty};
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, Engine, Header, PartRef, SourceBody, SourceEntry, SourceIdentity,
};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, PartNumber, SegmentNumber, Sequence, Sha256Digest, Term, Timestamp};
use dataembassy_ledger::{ObjectKey, RegistryId};
use dataembassy_sidecar::store::{DepositKeys, Ledger, Patience, Store, StoreSettings};
use dataembassy_testkit::fault_proxy::{FaultProxy, Seen};
use dataembassy_testkit::late;
use dataembassy_testkit::minio::{BUCKET, BucketKind, Credentials, Minio, StoreUser};

/// The registry that the tests mirror.
pub const REGISTRY: &str = "population";

/// A real store and the proxy before it.
pub struct StoreBench {
    pub minio: Minio,
    pub proxy: FaultProxy,
}

impl StoreBench {
    /// Starts both and makes a bucket as a store needs it.
    pub async fn start() -> Self {
        Self::start_with(BucketKind::Locked).await
    }

    /// Starts both and makes a bucket.
    pub async fn start_with(bucket: BucketKind) -> Self {
        Self::start_at(Minio::start().await.unwrap(), bucket).await
    }

    /// Makes a bucket on this server, and starts a proxy before it.
    pub async fn start_at(minio: Minio, bucket: BucketKind) -> Self {
        minio.make_bucket(BUCKET, bucket).await.unwrap();
        let proxy = FaultProxy::start(minio.address(), minio.authority())
            .await
            .unwrap();
        Self { minio, proxy }
    }

    /// How the store is reached, through the proxy.
    pub fn settings(&self, bucket: &str) -> StoreSettings {
        let endpoint = Endpoint::parse(&self.proxy.endpoint(), false).unwrap();
        let sovereignty = Sovereignty::default().with_loopback(Loopback::Allowed);
        StoreSettings::new(endpoint, bucket.into(), "us-east-1".into(), sovereignty)
            .unwrap()
            .with_ca_bundle(Some(self.minio.authority().certificate()))
            .unwrap()
            .with_patience(Patience {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(5),
                put: Duration::from_secs(3),
            })
    }

    /// Makes (or finds) the deposit user of the registry.
    pub async fn deposit_keys(&self) -> Credentials {
        self.minio
            .add_user(
                BUCKET,
                &StoreUser::Deposit {
                    registry: REGISTRY.into(),
                },
            )
            .await
            .unwrap()
    }

    /// The store as the deposit user reaches it.
    pub async fn deposit(&self) -> Store {
        Self::store_as(&self.settings(BUCKET), &self.deposit_keys().await)
    }

    /// The store as the custodian reaches it, past the gate.
    pub async fn custody(&self) -> Store {
        let keys = self.minio.add_user(BUCKET, &StoreUser::Custody).await.unwrap();
        Self::store_as(&past_the_gate(&self.minio), &keys)
    }

    /// The store as a user reaches it.
    pub fn store_as(settings: &StoreSettings, keys: &Credentials) -> Store {
        Store::connect(settings, &deposit_keys(keys)).unwrap()
    }
}

/// How a store is reached past gate and proxy.
fn past_the_gate(minio: &Minio) -> StoreSettings {
    let endpoint = Endpoint::parse(&minio.endpoint(), false).unwrap();
    let sovereignty = Sovereignty::default().with_loopback(Loopback::Allowed);
    StoreSettings::new(endpoint, BUCKET.into(), "us-east-1".into(), sovereignty)
        .unwrap()
        .with_ca_bundle(Some(minio.authority().certificate()))
        .unwrap()
}

/// The store as its owner reaches it: for looking again and again at what there is, since a store user would be made anew for each look.
pub fn as_owner(minio: &Minio) -> Store {
    StoreBench::store_as(&past_the_gate(minio), minio.root().credentials())
}

pub fn deposit_keys(keys: &Credentials) -> DepositKeys {
    DepositKeys {
        access_key_id: keys.access_key.clone(),
        secret_access_key: keys.secret_key.clone(),
    }
}

pub fn registry() -> RegistryId {
    REGISTRY.parse().unwrap()
}

pub fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

/// All that processes of ours have logged into a folder, into files whose names begin with `log-`.
pub fn logged(folder: &std::path::Path) -> String {
    let logs = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"))
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
        .collect()
}

/// Nothing was wrong, so nobody may have complained: of what processes of ours have logged, no line is an error, and none a warning, but of an answer
/// that came late.
#[track_caller]
pub fn assert_calm(log: &str) {
    let lines = log.lines();
    let ours = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours: Vec<_> = ours.filter(|line| line["level"].is_string()).collect();
    assert!(!ours.is_empty(), "no line of ours was found: {log}");
    let is_complaint = |line: &&serde_json::Value| {
        let is_late = late::is_late(line["error"].as_str().unwrap_or_default());
        line["level"] == "ERROR" || (line["level"] == "WARN" && !is_late)
    };
    let complaints: Vec<_> = ours.iter().filter(is_complaint).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::of(bytes)
}

pub fn segment(number: u64) -> ObjectKey {
    let object = CopyObject::Segment(SegmentNumber::new(number).unwrap());
    ObjectKey::Copy {
        registry: registry(),
        copy: CopyId::from_bytes([7; 16]),
        object,
    }
}

pub fn entry(sequence: u64) -> ObjectKey {
    ObjectKey::Source {
        registry: registry(),
        term: Term::FIRST,
        sequence: Sequence::new(sequence).unwrap(),
    }
}

/// An entry that fits as the next one and names objects that are nowhere.
pub fn copy_entry(ledger: &Ledger, trigger: Option<&str>) -> SourceEntry {
    let at = Timestamp::from_jiff(jiff::Timestamp::now()).unwrap();
    let part = |name: CopyObject| PartRef {
        name,
        version: "v1".parse().unwrap(),
        size: 1,
        sha256: sha256(b"part"),
    };
    let copy = CopyBody {
        copy_id: CopyId::from_bytes([7; 16]),
        started_at: at,
        taken_at: at,
        slot: None,
        trigger: trigger.map(|trigger| trigger.parse().unwrap()),
        source: SourceIdentity {
            engine: Engine::Postgresql,
            version: "17.2".parse().unwrap(),
            system_identifier: "7".parse().unwrap(),
            database_oid: 5,
        },
        recipients: vec![
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
                .parse()
                .unwrap(),
        ],
        copy_key: "YWdl".into(),
        manifest: vec![part(CopyObject::Manifest(PartNumber::FIRST))],
        inventory: vec![part(CopyObject::Inventory(PartNumber::FIRST))],
        totals: CopyTotals {
            segments: 1,
            sealed_bytes: 1,
        },
        parents: Vec::new(),
        custody_head: None,
    };
    let header = Header {
        store_id: ledger.store_id,
        registry: registry(),
        sequence: ledger.next,
        prev: ledger.tip,
        term: Term::FIRST,
        at,
    };
    SourceEntry {
        header,
        body: SourceBody::Copy(Box::new(copy)),
    }
}

/// Rule 2 of the design's section 5, for a deposit key, written down a second time: what passes here passes the gate.
pub fn assert_gate_lets_through(seen: &[Seen], registry: &str) {
    assert!(!seen.is_empty());
    for request in seen {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
        let names: Vec<&str> = query.iter().map(|part| part.split('=').next().unwrap()).collect();
        let key = path
            .strip_prefix(&format!("/{BUCKET}"))
            .unwrap()
            .trim_start_matches('/');
        let chains = [
            format!("registries/{registry}/source/"),
            format!("registries/{registry}/custody/"),
        ];
        let allowed = match (request.method.as_str(), key) {
            ("GET", "") => {
                let known = ["versioning", "object-lock", "location", "list-type", "versions"];
                let prefix = query.iter().find_map(|part| part.strip_prefix("prefix="));
                let prefix = prefix.map(|prefix| prefix.replace("%2F", "/"));
                let extra = ["prefix", "key-marker", "version-id-marker", "x-id"];
                names.iter().any(|name| known.contains(name))
                    && names
                        .iter()
                        .all(|name| known.contains(name) || extra.contains(name))
                    && prefix
                        .is_none_or(|prefix| chains.iter().any(|chain| prefix.starts_with(chain.as_str())))
            }
            ("HEAD", "") => names.is_empty(),
            ("GET" | "HEAD", key) => {
                let readable =
                    key == "embassy.json" || chains.iter().any(|chain| key.starts_with(chain.as_str()));
                readable && names.iter().all(|name| ["versionId", "x-id"].contains(name))
            }
            ("PUT", key) => {
                let ours = key.parse::<ObjectKey>().is_ok_and(|parsed| {
                    matches!(parsed, ObjectKey::Source { .. } | ObjectKey::Copy { .. })
                        && parsed.registry().is_some_and(|id| id.as_str() == registry)
                });
                ours && names.iter().all(|name| *name == "x-id") && assert_put_headers(request)
            }
            _ => false,
        };
        assert!(
            allowed,
            "the gate would refuse {} {}",
            request.method, request.target
        );
    }
}

fn assert_put_headers(request: &Seen) -> bool {
    const ALLOWED: &[&str] = &[
        "accept",
        "accept-encoding",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "if-none-match",
        "user-agent",
        "x-amz-checksum-sha256",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-user-agent",
    ];
    for name in request.headers.keys() {
        assert!(
            ALLOWED.contains(&name.as_str()),
            "header {name} of {}",
            request.target
        );
    }
    let payload = request.headers["x-amz-content-sha256"].to_str().unwrap();
    assert!(payload.len() == 64, "the payload hash is {payload}");
    request.headers["if-none-match"] == "*"
}
