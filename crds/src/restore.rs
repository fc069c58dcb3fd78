//! `RegistryRestore`: one copy brought into one database, once.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assertion::Assertion;
use crate::mirror::PostgresqlTls;
use crate::reference::{EmbassyRef, SecretRef};
use crate::restore_status::RegistryRestoreStatus;
use crate::sidecar::Sidecar;

/// One copy that is restored into one database, once.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "RegistryRestore",
    plural = "registryrestores",
    singular = "registryrestore",
    shortname = "rr",
    category = "embassy",
    namespaced,
    status = "RegistryRestoreStatus",
    derive = "PartialEq",
    doc = "One copy of a registry that is restored into one database, once. What the target lacks is found before anything is written; each byte is compared with the ledger on its way, and counts and digests at the end; then the database is asked what `spec.assertions` says. A restore that ends before its end leaves the database marked as not usable. Deleting a restore that is at work stops it; it touches no copy.",
    printcolumn(name = "REGISTRY", type_ = "string", json_path = ".spec.registry.id", description = "The registry's id."),
    printcolumn(name = "SEQ", type_ = "integer", json_path = ".status.copy.sequence", description = "The number of the copy in the ledger, once it was chosen."),
    printcolumn(name = "TAKEN", type_ = "string", json_path = ".status.copy.takenAt", description = "When the copy's snapshot was taken."),
    printcolumn(name = "DATABASE", type_ = "string", json_path = ".spec.target.database", description = "The database that it goes into."),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase", description = "Pending, Running, Restored or Failed."),
    printcolumn(name = "PROGRESS", type_ = "string", json_path = ".status.progress.words", description = "What is being done, and how far it is."),
    printcolumn(name = "IDENTITY", type_ = "date", json_path = ".status.identity.presentSince", description = "How long the identity has lain in the cluster, at least.", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp", description = "When the restore was asked for."),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters"),
    validation = kube::core::Rule::new("self.spec == oldSelf.spec")
        .message("spec is immutable: a restore is done once; make another RegistryRestore")
)]
#[serde(rename_all = "camelCase")]
pub struct RegistryRestoreSpec {
    /// The embassy that holds the copy, as this cluster reaches it.
    pub embassy_ref: EmbassyRef,
    /// Which registry. At the embassy it is one with a `RegistryCustody`, at home one with a `RegistryMirror` in this namespace: they say
    /// whose signatures count.
    pub registry: RestoredRegistry,
    /// Which copy. Chosen once, when the restore begins, and kept in `status.copy`. Default: the latest.
    #[serde(default)]
    pub copy: CopyChoice,
    /// The Secret of this namespace with the registry's retrieval user of the store: keys `accessKeyId` and `secretAccessKey`. At home
    /// the gate lets it through only while the embassy's `RegistryCustody` says `homeMayRetrieve`.
    pub retrieval_credentials_ref: SecretRef,
    /// The Secret of this namespace with the age identity of one of the copy's recipients: key `identity.txt`. Remove it when the restore
    /// has ended; `status.identity` says since when it lies there.
    pub identity_ref: SecretRef,
    /// The database that the copy goes into. How much room its server's disk has, PostgreSQL tells nobody, so see to it yourself: about
    /// what the registry takes at home, and as much again as its largest index while that is made. A disk that fills up ends the restore
    /// with `TargetFull`, and the database stays marked as not usable.
    pub target: Target,
    /// What to do with a database that holds something already. Default: `Refuse`.
    #[serde(default)]
    pub if_not_empty: IfNotEmpty,
    /// Restores owners, privileges, roles, settings, event triggers, publications and foreign servers too. It needs a superuser, and trust
    /// in everybody who could change definitions at the source. What is left out without it is counted in `status.leftOut`. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trust_source: bool,
    /// Extensions that may be installed although the target does not call them trusted, at most 32. Default: none. Example: `[postgis]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_extensions: Vec<String>,
    /// Takes a database that sorts text in another way than the source. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_different_collation: bool,
    /// Sessions that load rows and build indexes at once, 1 to 64. Default: `4`.
    #[serde(default = "default_jobs")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: i32,
    /// What the database is asked when everything is restored, at most 64 statements; that tables, rows and digests are those of the copy's
    /// inventory is always compared. A wrong answer ends the restore as failed, and takes nothing of the copy away. What a statement calls may
    /// come from the copy, and runs as the role that restores: best one that owns the database and nothing else. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub assertions: Vec<Assertion>,
    /// What an `EmbassyActivation` with `mode: Rehearse` sets where the database is somebody else's: what is restored bears the rehearsal's mark,
    /// and is dropped by it when the rehearsal ends. Roles that were made stay. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
    /// The longest that the restore may take, its questions included. A whole number and one of s, m, h, d. Default: `6h`.
    #[serde(default = "default_deadline")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub deadline: String,
    /// Settings of the pod that restores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
}

fn default_jobs() -> i32 {
    4
}

fn default_deadline() -> String {
    "6h".to_owned()
}

/// The rehearsal that a restore is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// The UID of its `EmbassyActivation`, which the database's comment names for as long as something of the rehearsal is there.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Restores nothing: drops what the rehearsal has restored, and nothing where the database does not bear its mark. No copy is read, so
    /// neither identity nor retrieval credentials are mounted. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empties: bool,
}

/// Which registry is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoredRegistry {
    /// The registry's id. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub id: String,
}

/// Which copy is restored: the latest, unless one of these is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = kube::core::Rule::new("[has(self.sequence), has(self.atOrBefore), has(self.latestDrilled) && self.latestDrilled].filter(set, set).size() <= 1").message("set at most one of copy.latestDrilled, copy.sequence and copy.atOrBefore"))]
#[serde(rename_all = "camelCase")]
pub struct CopyChoice {
    /// The newest copy that was restored in a drill and gave every answer as it must, and failed none since. There must be one. `false` is
    /// as if it were not set. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latest_drilled: bool,
    /// The number of the copy's entry in the ledger, as `kubectl get recoverypoints` shows it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: Option<i64>,
    /// The newest copy whose snapshot was taken at this moment or before, RFC 3339. Default: none. Example: `2026-11-23T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub at_or_before: Option<String>,
}

/// A PostgreSQL database that is restored into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Host name or address of the server; its major version is the source's or a newer one. Example: `population-db`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._:-]+$"))]
    pub host: String,
    /// Port of the server. Default: `5432`.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// Name of the database. It exists, unless `createIfMissing` is set. 1 to 63 bytes. Example: `population`.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Makes the database if there is none of that name, with the source's encoding and locale. The restoring role may make databases. Where
    /// the server does not know that locale, text is kept in UTF-8 and sorted by C, which `acceptDifferentCollation` must allow. A
    /// database that was made stays, empty, where the restore then writes nothing. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_if_missing: bool,
    /// How the server proves who it is: TLS is always on.
    pub tls: PostgresqlTls,
    /// The Secret of this namespace with the restoring role, the database's owner or a superuser: keys `username` and `password`, or
    /// `tls.crt` and `tls.key` for a client certificate.
    pub credentials_ref: SecretRef,
}

fn default_port() -> i32 {
    5432
}

/// What to do with a database that holds something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IfNotEmpty {
    /// Fail, and write nothing.
    #[default]
    Refuse,
    /// Drop everything in it but extensions.
    Replace,
    /// Drop everything in it but extensions where it bears the mark of a restore of the same registry that did not come to its end; otherwise
    /// fail, and write nothing.
    ReplaceUnfinished,
}
