//! `EmbassyActivation`: registries served from the embassy.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activation_status::EmbassyActivationStatus;
use crate::assertion::Assertion;
use crate::drill::PullPolicy;
use crate::mirror::PostgresqlTls;
use crate::pod::{Resources, Toleration, node_selector_schema};
use crate::reference::{EmbassyRef, SecretRef};
use crate::sidecar::Sidecar;

/// Registries that are served from the embassy.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "EmbassyActivation",
    plural = "embassyactivations",
    singular = "embassyactivation",
    shortname = "act",
    category = "embassy",
    namespaced,
    status = "EmbassyActivationStatus",
    derive = "PartialEq",
    doc = "Serves registries from the embassy, in order, because home no longer can; or rehearses it. Nothing happens before enough approvers have signed the statement that status.statement shows. Then each registry is fenced, so that home commits nothing more, its copy is restored, questioned, and served. Deleting the resource stops what was not served yet, and touches neither a database that is served nor a copy.",
    printcolumn(name = "MODE", type_ = "string", json_path = ".spec.mode", description = "Activate or Rehearse."),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase", description = "Where the whole stands."),
    printcolumn(name = "APPROVED", type_ = "string", json_path = ".status.approvals.words", description = "How many approvers have signed, of how many that must."),
    printcolumn(name = "SERVING", type_ = "string", json_path = ".status.serving", description = "How many registries are served, of how many."),
    printcolumn(name = "RTO", type_ = "string", json_path = ".status.recovery", description = "How long it took from the last approval to the last registry served."),
    printcolumn(name = "IDENTITY", type_ = "date", json_path = ".status.identitySince", description = "How long the identity has lain in the cluster, at least.", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp", description = "When it was asked for."),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 20 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 20 characters that begins with a letter: objects are named after it and each registry"),
    validation = kube::core::Rule::new("self.spec.mode == oldSelf.spec.mode && self.spec.embassyRef.name == oldSelf.spec.embassyRef.name")
        .message("spec.mode and spec.embassyRef are immutable: make another EmbassyActivation"),
    validation = kube::core::Rule::new("self.spec.mode == 'Activate' || self.spec.state == 'Active'")
        .message("a rehearsal is not stood down: it cleans up by itself")
)]
#[serde(rename_all = "camelCase")]
pub struct EmbassyActivationSpec {
    /// The embassy that serves. Immutable.
    pub embassy_ref: EmbassyRef,
    /// Whether it is meant. A rehearsal does everything but fence and serve, and then cleans up. Immutable.
    pub mode: ActivationMode,
    /// What is to be: `StoodDown` gives the registries back to home: applications are shut out, a last copy is taken, and the ledger is told. Each change is approved like the first one. Default: `Active`.
    #[serde(default)]
    pub state: ActivationState,
    /// Until when the order may be carried out, RFC 3339: what is not fenced by then needs new approvals. Example:
    /// `2026-12-01T12:00:00Z`.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub valid_until: String,
    /// Whether it goes on where the store cannot be written, so that no fence keeps home from going on too. Default: `Refused`.
    #[serde(default)]
    pub unfenced: UnfencedChoice,
    /// The registries, 1 to 24, in the order in which they come up; those that depend on nothing come up together.
    #[schemars(length(min = 1, max = 24), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub registries: Vec<ActivatedRegistry>,
    /// How long each step may take before it is an alarm.
    #[serde(default)]
    pub deadlines: ActivationDeadlines,
    /// Signatures over `status.statement.text`, at most 16, one for each approver. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<Approval>,
}

/// Whether an activation is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActivationMode {
    /// Everything is tried but the fence and the Service, and cleaned up.
    Rehearse,
    /// Home is fenced, and the registries are served from here.
    Activate,
}

/// What an activation is to bring about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActivationState {
    /// The registries are served from the embassy.
    #[default]
    Active,
    /// They go back home.
    StoodDown,
}

/// Whether an activation goes on without a fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnfencedChoice {
    /// It waits until the store can be written.
    #[default]
    Refused,
    /// It goes on.
    Accepted,
}

/// A signature over the statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The armored SSH signature, as `ssh-keygen -Y sign -n dataembassy-activation-v1` prints it.
    #[schemars(length(min = 1, max = 1024))]
    pub signature: String,
}

/// A registry that comes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivatedRegistry {
    /// The registry's id: one with a `RegistryCustody` of this embassy. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub id: String,
    /// Registries of this list, before this one, that must be served first, at most 23. Where one of them fails, this one is not begun. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 23),
        inner(length(min = 3, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub depends_on: Vec<String>,
    /// Which copy. Chosen when the registry is fenced, among those before the fence. Default: the latest that is intact.
    #[serde(default)]
    pub copy: ActivationCopy,
    /// The Secret of this namespace with the registry's retrieval user of the store: keys `accessKeyId` and `secretAccessKey`.
    pub retrieval_credentials_ref: SecretRef,
    /// The Secret of this namespace with the age identity of one of the copies' recipients: key `identity.txt`. Remove it when the registry is
    /// served; `status.registries[].identity` says since when it lies there.
    pub identity_ref: SecretRef,
    /// What it is restored into and served from.
    pub target: ActivationTarget,
    /// Restores owners, privileges, roles, settings, event triggers, publications and foreign servers too. It needs a superuser, and trust
    /// in everybody who could change definitions at the source. Default: `true`, for an application finds its roles then.
    #[serde(default = "default_trust")]
    pub trust_source: bool,
    /// Extensions that may be installed although the target does not call them trusted, at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_extensions: Vec<String>,
    /// What the restored database is asked before it is served, at most 64 statements. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub assertions: Vec<Assertion>,
    /// Sessions that load rows and build indexes at once, 1 to 64. Default: `4`.
    #[serde(default = "default_jobs")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: i32,
    /// At `StoodDown`: the key of home's mirror, its `status.signer`, that writes the next term. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 512),
        regex(pattern = r"^ssh-ed25519 [A-Za-z0-9+/=]+( [^\r\n]*)?$")
    )]
    pub home_signer: Option<String>,
    /// At `StoodDown`: gives the registry back without a last copy, as the ledger has it: what was written at the embassy since its latest copy is
    /// lost. The statement that approvers sign says so. Default: `false`, a `RegistryMirror` of this namespace takes one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgo_last_copy: bool,
    /// Settings of the pod that restores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
}

fn default_trust() -> bool {
    true
}

fn default_jobs() -> i32 {
    4
}

/// Which copy comes up: the latest that is intact, unless one of these is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = kube::core::Rule::new("[has(self.latest) && self.latest, has(self.latestDrilled) && self.latestDrilled, has(self.atOrBefore), has(self.sequence)].filter(set, set).size() <= 1").message("set at most one of copy.latest, copy.latestDrilled, copy.atOrBefore and copy.sequence"))]
#[serde(rename_all = "camelCase")]
pub struct ActivationCopy {
    /// The newest one, whether its bytes were read back or not. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latest: bool,
    /// The newest one that passed a drill. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latest_drilled: bool,
    /// The newest one whose snapshot was taken at this moment or before, RFC 3339. The newest 50 copies can be chosen so; an older one by
    /// `sequence`. Default: none. Example: `2026-11-23T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub at_or_before: Option<String>,
    /// The copy with this number in the ledger, whether its bytes were read back or not: one of the newest 50, or one that the
    /// `RegistryCustody` pins in `spec.retention.pins`. Default: none. Example: `1412`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: Option<i64>,
}

/// What a registry is restored into and served from: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("has(self.managed) != has(self.external)")
        .message("set exactly one of target.managed and target.external")
)]
pub struct ActivationTarget {
    /// A database that the operator makes: `StatefulSet`, `Secret`, `Service`. They stay when this resource is deleted, and so do the volumes: they
    /// hold the only copy of what is written abroad. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedDatabase>,
    /// A database that somebody else keeps. It is empty, and nobody else writes to it before it is served. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// A database that the operator makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedDatabase {
    /// Any image that has PostgreSQL's programs on its `PATH`, or where Debian puts them, in the copy's major version or a newer one, and the
    /// locale that the source sorts text by: without it text is sorted by C. Once the registry is served, another image, like everything else of
    /// the pod, is taken when its pod is deleted and not before; its major version stays. Example: `postgres:17`.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
    )]
    pub image: String,
    /// When the image is pulled. Default: `IfNotPresent`.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// The name of the database. It is made with the source's encoding and locale. Default: the registry's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,
    /// The size of its volume. A whole number and one of Ki, Mi, Gi, Ti. Example: `200Gi`.
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub storage: String,
    /// The `StorageClass` of its volume. Whether the volume of a rehearsal is wiped when its claim is deleted is the class's `reclaimPolicy` to say:
    /// `Delete` does. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub storage_class: Option<String>,
    /// The name of the Service that applications reach it by, in this namespace. It has no endpoints before every question was answered.
    /// From then on pods of this namespace may call it; for others make a `NetworkPolicy` beside it, for pods with the label
    /// `app.kubernetes.io/component: database`. Default: the registry's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: Option<String>,
    /// The Secret of this namespace with the certificate that applications know the server by: keys `tls.crt` and `tls.key`, and `ca.crt` by
    /// which the restore knows it. A renewed one is taken within a few minutes. Default: the operator makes an authority and a certificate of
    /// its own for the Service's names, which last ten years; `status.registries[].certificateEnds` says until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ref: Option<SecretRef>,
    /// Processor and memory of the server. Default: requests 100m and 256Mi, limit 1Gi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that the server's node must have, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the server's pod bears, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// The `PriorityClass` of the server's pod: what it may displace where a node is full. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub priority_class_name: Option<String>,
}

/// A database that somebody else keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// Host name or address of the server. Example: `population-db`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._:-]+$"))]
    pub host: String,
    /// Port of the server. Default: `5432`.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// Name of the database. It exists. 1 to 63 bytes.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[ -~]+$"))]
    pub database: String,
    /// Says that the database is scratch: a rehearsal restores into it, and drops what it has restored when it ends; of what it finds there it
    /// drops nothing. Roles that it had to make stay. A rehearsal on one that is not scratch is refused. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scratch: bool,
    /// How the server proves who it is: TLS is always on.
    pub tls: PostgresqlTls,
    /// The Secret of this namespace with the restoring role: keys `username` and `password`, or `tls.crt` and `tls.key`.
    pub credentials_ref: SecretRef,
    /// Takes a database that sorts text in another way than the source. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_different_collation: bool,
}

fn default_port() -> i32 {
    5432
}

/// How long each step may take before the condition `OnTime` is False, reason `StepOverdue`. A whole number and one of s, m, h, d.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivationDeadlines {
    /// Until the gate refuses the registry's puts and the ledger holds the fence; a report that the custodian signs for has as long. Default: `5m`.
    #[serde(default = "default_fence")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub fence: String,
    /// Until a managed database answers. Default: `10m`.
    #[serde(default = "default_database")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub database: String,
    /// Until the copy is restored and its questions are answered; a restore that takes longer is ended and begun anew. Before, as long until
    /// there is a copy that may be chosen. Default: `6h`.
    #[serde(default = "default_restore")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub restore: String,
    /// Until applications reach what was restored, or are let in again. Default: `5m`.
    #[serde(default = "default_serve", skip_serializing_if = "is_default_serve")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub serve: String,
    /// At `StoodDown`, from the last approval: until applications are shut out. It waits until the embassy's mirror has shown that it copies.
    /// In a rehearsal: until what it has restored is dropped again, from the end of its last registry on. Default: `15m`.
    #[serde(default = "default_close", skip_serializing_if = "is_default_close")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub close: String,
    /// At `StoodDown`: until the last copy is committed and read back. Applications are shut out meanwhile. Default: `6h`.
    #[serde(default = "default_copy", skip_serializing_if = "is_default_copy")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub copy: String,
    /// At `StoodDown`: until the ledger holds the release. Default: `5m`.
    #[serde(default = "default_release", skip_serializing_if = "is_default_release")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub release: String,
}

impl Default for ActivationDeadlines {
    fn default() -> Self {
        Self {
            fence: default_fence(),
            database: default_database(),
            restore: default_restore(),
            serve: default_serve(),
            close: default_close(),
            copy: default_copy(),
            release: default_release(),
        }
    }
}

fn default_fence() -> String {
    "5m".to_owned()
}

fn default_database() -> String {
    "10m".to_owned()
}

fn default_restore() -> String {
    "6h".to_owned()
}

fn default_serve() -> String {
    "5m".to_owned()
}

fn default_close() -> String {
    "15m".to_owned()
}

fn default_copy() -> String {
    "6h".to_owned()
}

fn default_release() -> String {
    "5m".to_owned()
}

// Left out where they are the default: the digest that approvers sign is that of the spec, and an operator that knows these steps takes what was
// approved under one that did not.

fn is_default_serve(limit: &String) -> bool {
    *limit == default_serve()
}

fn is_default_close(limit: &String) -> bool {
    *limit == default_close()
}

fn is_default_copy(limit: &String) -> bool {
    *limit == default_copy()
}

fn is_default_release(limit: &String) -> bool {
    *limit == default_release()
}
