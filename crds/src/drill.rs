//! `RegistryDrill`: a copy restored on schedule into a throw-away database, questioned, and timed.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assertion::Assertion;
use crate::drill_status::RegistryDrillStatus;
use crate::mirror::Schedule;
use crate::pod::Resources;
use crate::reference::{EmbassyRef, SecretRef};
use crate::restore::RestoredRegistry;
use crate::sidecar::Sidecar;

/// A copy that is restored on schedule, questioned, and timed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "RegistryDrill",
    plural = "registrydrills",
    singular = "registrydrill",
    shortname = "drill",
    category = "embassy",
    namespaced,
    status = "RegistryDrillStatus",
    derive = "PartialEq",
    doc = "Restores a copy of a registry on schedule into a throw-away database, asks it questions, and stops the time. What it found is signed by the custodian, and lies in the store as a report for programs and for people. The throw-away database is destroyed afterwards, whatever happened. Drills count only from the namespace that the registry's RegistryCustody names. Deleting a drill stops the one that is at work; it touches no copy and no report.",
    printcolumn(name = "REGISTRY", type_ = "string", json_path = ".spec.registry.id", description = "The registry's id."),
    printcolumn(name = "RESULT", type_ = "string", json_path = ".status.last.result", description = "How the latest drill ended: PASSED, FAILED or INCONCLUSIVE."),
    printcolumn(name = "SEQ", type_ = "integer", json_path = ".status.last.copy.sequence", description = "The number of the copy in the ledger."),
    printcolumn(name = "RECOVERY", type_ = "string", json_path = ".status.last.recovery", description = "How long the recovery took, and what it may take."),
    printcolumn(name = "ENDED", type_ = "string", json_path = ".status.last.endedAt", description = "When the latest drill ended."),
    printcolumn(name = "NOW", type_ = "string", json_path = ".status.current.words", description = "What the drill that is at work does."),
    printcolumn(name = "NEXT", type_ = "string", json_path = ".status.nextScheduleTime", description = "When the next drill begins."),
    printcolumn(name = "IDENTITY", type_ = "date", json_path = ".status.identity.presentSince", description = "How long the identity has lain in the cluster, at least.", priority = 1),
    printcolumn(name = "REPORT", type_ = "string", json_path = ".status.last.report", description = "Where the report lies in the store: with .json for programs, with .html for people."),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters"),
    validation = kube::core::Rule::new("self.spec.registry.id == oldSelf.spec.registry.id && self.spec.embassyRef.name == oldSelf.spec.embassyRef.name")
        .message("spec.registry and spec.embassyRef are immutable: make another drill, whose status is about that registry")
)]
#[serde(rename_all = "camelCase")]
pub struct RegistryDrillSpec {
    /// The embassy that holds the copies. Immutable.
    pub embassy_ref: EmbassyRef,
    /// Which registry: one with a `RegistryCustody`, whose `spec.drills.namespace` is the drill's namespace. Immutable.
    pub registry: RestoredRegistry,
    /// When drills begin. A slot that passes while another drill is at work is missed; after downtime one drill makes up for all.
    pub schedule: Schedule,
    /// Lets the schedule rest; a new trigger is still answered. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// A new value means: drill now, once. Any text of 1 to 253 characters. Default: none. Example: `2026-11-23-audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:+ -]*$")
    )]
    pub trigger: Option<String>,
    /// Which copy is drilled. Default: `Latest`.
    #[serde(default)]
    pub pick: DrillPick,
    /// The Secret of this namespace with the registry's retrieval user of the store: keys `accessKeyId` and `secretAccessKey`.
    pub retrieval_credentials_ref: SecretRef,
    /// The Secret of this namespace with an age identity of one of the copies' recipients, best one that is for drills alone: key
    /// `identity.txt`. The throw-away database never sees it.
    pub identity_ref: SecretRef,
    /// The throw-away database.
    pub server: DrillServer,
    /// Extensions that the server's superuser installs before anything of the copy is restored, if the copy has them, at most 32. Others are
    /// installed only where the server lets everybody do so. Default: none. Example: `[postgis]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_extensions: Vec<String>,
    /// The SHA-256 that the copy's definitions must have, as a report before named it, 64 lower-case hex digits: a drill fails when somebody has
    /// changed the schema. Default: none, and then the report only says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub schema_digest: Option<String>,
    /// What the restored database is asked, at most 64 statements. That tables, rows and digests are those of the copy's inventory, and that
    /// constraints are valid, is always asked. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub assertions: Vec<Assertion>,
    /// The recovery time objective: the longest that it may take from the first look at the copy to the end of `ANALYZE`; a drill that takes
    /// longer fails. A whole number and one of s, m, h, d. Default: that of the `RegistryCustody`, if it has one. Example: `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub rto: Option<String>,
    /// How often a drill whose pod was lost without a result is begun anew, 0 to 3. One that has a result is never repeated. Default: `1`.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 3))]
    pub retries: i32,
    /// Sessions that load rows and build indexes at once, 1 to 64. Default: `4`.
    #[serde(default = "default_jobs")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: i32,
    /// How many drills `status.runs` remembers. Reports in the store stay.
    #[serde(default)]
    pub history: DrillHistory,
    /// Settings of the container that opens the copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
}

fn default_retries() -> i32 {
    1
}

fn default_jobs() -> i32 {
    4
}

/// Which copy is drilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrillPick {
    /// The newest one.
    #[default]
    Latest,
    /// Any one that is kept.
    Random,
    /// The oldest one that was never drilled; where there is none, the one whose drill is longest ago.
    OldestUndrilled,
}

/// The throw-away database: one container beside ours, in one pod that is destroyed afterwards. It has no secret, no network of its own to
/// serve, and no superuser that anybody could log in as once the copy is being restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillServer {
    /// Any image that has PostgreSQL's programs on its `PATH`, or where Debian puts them. Its major version is the copy's or a newer one, of a
    /// minor version that restores safely: at least 18.6, 17.11, 16.15 or 15.19. Example: `postgres:17`.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
    )]
    pub image: String,
    /// When the image is pulled. Default: `IfNotPresent`.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// The most that the throw-away database may take; up to an eighth of it, 64 MiB to 4 GiB, is write-ahead log. A whole number and one of Ki,
    /// Mi, Gi, Ti. Default: `10Gi`.
    #[serde(default = "default_volume")]
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub volume_size: String,
    /// Processor and memory of the server. Default: requests 100m and 256Mi, limits 2 processors and 1Gi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

fn default_volume() -> String {
    "10Gi".to_owned()
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the node does not have it.
    #[default]
    IfNotPresent,
    /// Not at all: the node must have it.
    Never,
}

/// How many drills are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillHistory {
    /// Of those that passed, 1 to 20. Default: `5`.
    #[serde(default = "default_passed")]
    #[schemars(range(min = 1, max = 20))]
    pub passed: i32,
    /// Of the others, 1 to 20. Default: `5`.
    #[serde(default = "default_failed")]
    #[schemars(range(min = 1, max = 20))]
    pub failed: i32,
}

impl Default for DrillHistory {
    fn default() -> Self {
        Self {
            passed: default_passed(),
            failed: default_failed(),
        }
    }
}

fn default_passed() -> i32 {
    5
}

fn default_failed() -> i32 {
    5
}
