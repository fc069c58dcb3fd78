//! What the operator tells a mirror's sidecar: one JSON document in [`files::CONFIG_FILE`](crate::files::CONFIG_FILE).
//!
//! It holds no secret. The operator has judged every value; the sidecar judges again what it acts on, because the file reaches it
//! through a volume that others in the namespace may write.

use dataembassy_ledger::InvalidValue;
use dataembassy_ledger::activation::{Approver, Approvers};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::custodian::SignerConfig;
use crate::duration::Duration;

/// The whole configuration of one mirror.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorConfig {
    /// Which resource this is the configuration of.
    pub mirror: MirrorIdentity,
    /// The resource's `metadata.generation` that was judged; the report echoes it.
    pub generation: i64,
    /// The registry's id, 3 to 40 characters of a DNS label.
    pub registry: String,
    /// The SHA-256 of the release by which the registry came home, once its copy was restored there: 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt_release: Option<String>,
    /// Where copies go.
    pub embassy: EmbassyConfig,
    /// Where copies come from.
    pub source: SourceConfig,
    /// Earlier keys of this mirror whose entries still count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_keys: Vec<PreviousKey>,
    /// Who wrote the source chain in term 1, for a mirror at the embassy, which did not; empty at home, where it is this mirror's own keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<SignerConfig>,
    /// When copies are made.
    pub schedule: ScheduleConfig,
    /// A value that was not answered yet means: mirror now, once. At most 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// While true the schedule rests; a new trigger is still answered.
    #[serde(default)]
    pub suspend: bool,
    /// What the copies are held against.
    pub objectives: ObjectivesConfig,
    /// The last ledger head that the operator knows of; a ledger below or beside it is `RolledBack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
}

/// The resource a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, which tells it from an earlier resource of the same name.
    pub uid: String,
}

/// The embassy as home reaches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmbassyConfig {
    /// The name of the `DataEmbassy`.
    pub name: String,
    /// The object store.
    pub store: StoreConfig,
    /// Whom copies are sealed to, at least one.
    pub recipients: Vec<RecipientConfig>,
    /// Whose custody entries count for this registry; empty before a custodian exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custodian_keys: Vec<CustodianKey>,
    /// Who may order that the registry is served from the embassy; absent where nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<ApproversConfig>,
    /// How far copies may go.
    #[serde(default)]
    pub sovereignty: SovereigntyConfig,
    /// What lock the bucket must give to new objects.
    pub immutability: ImmutabilityConfig,
}

/// An S3 bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreConfig {
    /// The endpoint, such as `https://store.embassy.example:9000`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// How the bucket is named in requests.
    #[serde(default)]
    pub addressing: Addressing,
    /// Certificates that may sign the store's, PEM; without them, those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Lets plain HTTP through, for tests.
    #[serde(default)]
    pub allow_insecure: bool,
}

/// How a bucket is named in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addressing {
    /// `https://host/bucket/key`.
    #[default]
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// One public key that copies are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecipientConfig {
    /// Who holds the private half, for people.
    pub name: String,
    /// The age public key.
    pub public_key: String,
}

/// A key of the custodian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustodianKey {
    /// `ssh-ed25519 AAAA…`
    pub public_key: String,
    /// The last custody entry of this registry that a retired key signed; absent while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_sequence: Option<u64>,
}

/// Who may order that registries are served from the embassy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApproversConfig {
    /// They, 1 to 16.
    pub approvers: Vec<ApproverConfig>,
    /// How many of them must.
    pub required: u32,
}

/// Somebody who may approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApproverConfig {
    /// Who it is, for people.
    pub name: String,
    /// `ssh-ed25519 AAAA…`
    pub public_key: String,
}

impl ApproversConfig {
    /// The same, judged: keys are keys, and nobody stands there twice.
    pub fn checked(&self) -> Result<Approvers, InvalidValue> {
        let approver = |one: &ApproverConfig| {
            Ok(Approver {
                name: one.name.clone(),
                key: one.public_key.parse()?,
            })
        };
        let all: Result<Vec<_>, InvalidValue> = self.approvers.iter().map(approver).collect();
        Approvers::new(all?, usize::try_from(self.required).unwrap_or(usize::MAX))
    }
}

/// A key that this mirror signed with before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousKey {
    /// `ssh-ed25519 AAAA…`
    pub public_key: String,
    /// The last source entry that it signed.
    pub until_sequence: u64,
}

/// How far copies may go; see [`Sovereignty`](crate::Sovereignty).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SovereigntyConfig {
    /// Host names that may be called; empty allows any that is no commercial cloud's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Networks in CIDR form that may be connected to; empty allows any that the guard does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<String>,
}

/// The lock that the bucket must give to each new object by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImmutabilityConfig {
    /// The Object Lock mode.
    pub mode: LockMode,
    /// The least default retention of the bucket.
    pub lock_on_arrival: Duration,
}

/// The S3 Object Lock modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Nobody can shorten a lock.
    Compliance,
    /// Users with a special right can.
    Governance,
}

/// The database. Exactly one engine is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceConfig {
    /// A PostgreSQL database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlConfig>,
    /// The identity of a source that was re-created, which the user has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_identity: Option<SourceIdentity>,
}

/// What tells one database from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceIdentity {
    /// The cluster's system identifier, up to 20 decimal digits.
    pub system_identifier: String,
    /// The database's oid in it.
    pub database_oid: u32,
}

/// A PostgreSQL database and how hard it may be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// TLS, always on.
    pub tls: PostgresqlTls,
    /// The most connections of a run, all counted, 3 to 64.
    pub max_connections: u32,
    /// The longest that a snapshot may be held.
    pub max_snapshot_age: Duration,
    /// How long another session may wait for us before the run ends.
    #[serde(rename = "yieldToDDLAfter")]
    pub yield_to_ddl_after: Duration,
    /// Whether the roles' password verifiers go into the inventory.
    #[serde(default)]
    pub include_password_verifiers: bool,
}

/// How the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlTls {
    /// The mode.
    pub mode: TlsMode,
}

/// What of the server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// Signature and host name.
    #[default]
    VerifyFull,
    /// Signature only.
    #[serde(rename = "VerifyCA")]
    VerifyCa,
}

/// When copies are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleConfig {
    /// Five cron fields; see [`Schedule`](crate::Schedule).
    pub cron: String,
    /// A name of the IANA time zone database.
    pub time_zone: String,
    /// The longest that one run may take.
    pub deadline: Duration,
}

/// What the copies are held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectivesConfig {
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
}

/// A ledger head that is known to have existed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    /// Its number in the source chain.
    pub sequence: u64,
    /// The SHA-256 of the whole entry object, 64 lower-case hex digits.
    pub digest: String,
}

impl MirrorConfig {
    /// The document as it is written into the file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document, ignoring fields that this version does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// The digest of a configuration file's bytes, 64 lower-case hex digits: what the report echoes as loaded.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
