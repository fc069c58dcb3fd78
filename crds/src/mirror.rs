//! `RegistryMirror`: one registry, mirrored into the embassy.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mirror_status::RegistryMirrorStatus;
use crate::reference::{EmbassyRef, SecretRef};
use crate::sidecar::Sidecar;

/// One registry whose copies go to an embassy.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "RegistryMirror",
    plural = "registrymirrors",
    singular = "registrymirror",
    shortname = "mirror",
    category = "embassy",
    namespaced,
    status = "RegistryMirrorStatus",
    derive = "PartialEq",
    doc = "One registry whose encrypted copies go to a data embassy: its database, when it is copied, and what the copies are held against. In the embassy's own cluster it mirrors a registry while an EmbassyActivation serves it, and no other. Deleting it stops the copying and deletes no copy and no signing key.",
    printcolumn(name = "REGISTRY", type_ = "string", json_path = ".spec.registry.id", description = "The registry's id."),
    printcolumn(name = "EMBASSY", type_ = "string", json_path = ".spec.embassyRef.name", description = "Where its copies go."),
    printcolumn(name = "LAST-COPY", type_ = "integer", json_path = ".status.lastCopy.sequence", description = "The number of the latest copy in the ledger."),
    printcolumn(name = "AGE", type_ = "date", json_path = ".status.lastCopy.takenAt", description = "How old the latest copy is."),
    printcolumn(name = "SIZE", type_ = "string", json_path = ".status.lastCopy.size", description = "How much the latest copy takes in the store."),
    printcolumn(
        name = "WITHIN-RPO",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="WithinRPO")].status"#,
        description = "Whether the latest copy is young enough."
    ),
    printcolumn(
        name = "INTACT",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Intact")].status"#,
        description = "Whether the embassy has read the copies back and found them whole."
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the sidecar runs with this resource's newest generation."
    ),
    printcolumn(name = "NEXT", type_ = "string", json_path = ".status.nextScheduleTime", description = "When the next copy is due."),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters"),
    validation = kube::core::Rule::new("!has(oldSelf.status) || !has(oldSelf.status.head) || self.spec.embassyRef.name == oldSelf.spec.embassyRef.name")
        .message("spec.embassyRef is immutable once the ledger has an entry: make another mirror, in which the registry may keep its id")
)]
#[serde(rename_all = "camelCase")]
pub struct RegistryMirrorSpec {
    /// Which registry this is.
    pub registry: Registry,
    /// The embassy that the copies go to. Immutable once the ledger has an entry.
    pub embassy_ref: EmbassyRef,
    /// The Secret of this namespace with the registry's deposit user of the store: keys `accessKeyId` and `secretAccessKey`. Holding
    /// them is the permission to deposit. At the embassy the mirror reaches the store itself, and the namespace needs the label
    /// `dataembassy.io/store-access: "true"`.
    pub deposit_credentials_ref: SecretRef,
    /// The database: exactly one engine.
    pub source: Source,
    /// How entries in the ledger are signed. Default: by a key of its own that the operator makes once, in the Secret
    /// `<mirror>-signing-key`; at the embassy by the key of the `EmbassyActivation` of this namespace that serves the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// Lets the schedule rest: there is no pod while this is true, except to answer a new trigger. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// When copies are made.
    pub schedule: Schedule,
    /// A new value means: mirror now, once. Any text of 1 to 253 characters. Default: none. Example: `2026-11-23-before-upgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:+ -]*$")
    )]
    pub trigger: Option<String>,
    /// What the copies are held against.
    pub objectives: Objectives,
    /// Settings of the pod that mirrors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
}

/// Which registry a mirror is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// The registry's id: a DNS label of 3 to 40 characters, unique in its embassy for ever, and immutable. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("registry.id is immutable: it names the registry's ledger for ever"))]
    pub id: String,
    /// Whose registry it is, for people. At most 128 characters. Default: none. Example: `Ministry of the Interior`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub owner: Option<String>,
    /// After a return home: the SHA-256 of the custody entry that released the registry, 64 hex digits, as the condition `Fenced` names
    /// it. Whoever writes it says that the released copy was restored here; then this mirror may write again. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub adopt_release: Option<String>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("has(self.postgresql)")
        .message("exactly one engine must be set: set source.postgresql")
)]
pub struct Source {
    /// A PostgreSQL database, server version 14 or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<Postgresql>,
    /// The identity of a database that was re-created on purpose. Without it, a mirror whose database is suddenly another one stops
    /// with `SourceChanged`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_identity: Option<AcceptedIdentity>,
}

/// A PostgreSQL database and how hard it may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Postgresql {
    /// Host name or address of the server itself; no pooler, no balancer. Example: `population-db`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:_-]+$"))]
    pub host: String,
    /// Port. Default: `5432`.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Name of the database, at most 63 bytes. Example: `population`.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// How the server proves who it is. TLS is always on.
    pub tls: PostgresqlTls,
    /// The Secret of this namespace with the dump role: keys `username` and `password`, or `username`, `tls.crt` and `tls.key` for a
    /// client certificate. The role needs `LOGIN`, `pg_read_all_data` and `BYPASSRLS`.
    pub credentials_ref: SecretRef,
    /// The most connections that a run holds, all counted: 3 to 64. Default: `6`.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 3, max = 64))]
    pub max_connections: i32,
    /// The longest that a run may hold its snapshot, which keeps the server from cleaning up. A whole number and one of s, m, h, d.
    /// Default: `1h`.
    #[serde(default = "default_snapshot_age")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub max_snapshot_age: String,
    /// How long another session may wait for a lock of ours before the run gives way. A whole number and one of s, m, h, d. Default:
    /// `30s`.
    #[serde(default = "default_yield", rename = "yieldToDDLAfter")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub yield_to_ddl_after: String,
    /// Whether the copy holds the roles' password verifiers, sealed, so that people can log in at the embassy as at home. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_password_verifiers: bool,
}

fn default_port() -> i32 {
    5432
}

fn default_connections() -> i32 {
    6
}

fn default_snapshot_age() -> String {
    "1h".to_owned()
}

fn default_yield() -> String {
    "30s".to_owned()
}

/// How a PostgreSQL server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlTls {
    /// What of the server's certificate is checked. Default: `VerifyFull`.
    #[serde(default)]
    pub mode: TlsMode,
    /// The Secret of this namespace with the authorities that may sign the certificate: key `ca.crt`.
    pub ca_ref: SecretRef,
}

/// What of a server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// The signature, and that it is for this host.
    #[default]
    VerifyFull,
    /// The signature only, for servers whose certificate does not name the host.
    #[serde(rename = "VerifyCA")]
    VerifyCa,
}

/// What tells one PostgreSQL database from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedIdentity {
    /// `system_identifier` of `pg_control_system()`: up to 20 digits. Example: `"7301885431023951902"`.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+$"))]
    pub system_identifier: String,
    /// `oid` of the database in `pg_database`. Example: `16384`.
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub database_oid: i64,
}

/// How entries in the ledger are signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Signing {
    /// A Secret of this namespace with an Ed25519 key of one's own: key `ssh-privatekey`, in OpenSSH form without a passphrase.
    /// Default: the Secret `<mirror>-signing-key`, which the operator makes once and never reads; at the embassy the activation's,
    /// `status.registries[].signer.secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer_ref: Option<SecretRef>,
    /// Keys that this mirror signed with before, at most 16, the oldest first: each signed from behind the one before it until its
    /// `untilSequence`. At the embassy it means nothing: the signers of the `RegistryCustody` count.
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["publicKey"]))]
    pub previous_keys: Vec<PreviousKey>,
}

/// A key that this mirror signed with before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousKey {
    /// The public key in OpenSSH form. Example: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…`.
    #[schemars(
        length(min = 20, max = 512),
        regex(pattern = r"^ssh-ed25519 [A-Za-z0-9+/=]+( [^\r\n]*)?$")
    )]
    pub public_key: String,
    /// The last entry of the ledger that it signed, 1 or more.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub until_sequence: i64,
}

/// When copies are made. The sidecar keeps it by itself: with operator and API server down, copies go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week. Numbers, names of months and weekdays, lists, ranges and steps;
    /// no seconds, no nicknames, no `L`, `W`, `#`. Example: `*/15 * * * *`.
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
    /// The time zone of the schedule, a name of the IANA database. Default: `UTC`. Example: `Europe/Tallinn`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: String,
    /// The longest that one run may take. A whole number and one of s, m, h, d. Default: `1h`.
    #[serde(default = "default_deadline")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub deadline: String,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}

fn default_deadline() -> String {
    "1h".to_owned()
}

/// What the copies are held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// The recovery point objective: the oldest that the latest copy may be. It changes what `WithinRPO` says, not when copies are
    /// made. A whole number and one of s, m, h, d. Example: `30m`.
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub rpo: String,
}
