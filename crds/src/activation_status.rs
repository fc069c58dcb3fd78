//! What an activation says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::identity::IdentityStay;
use crate::restore_status::RestoredCopy;

/// How far an activation is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EmbassyActivationStatus {
    /// The `metadata.generation` that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Where the whole stands.
    pub phase: ActivationPhase,
    /// `Ready` (what was ordered is so), `Approved`, `OnTime`, `ObjectivesMet`, `Reported` (the custodian has signed for what ended),
    /// `IdentityPresent` (identities that pods have found; absent before one looked); only while true: `Reconciling`, `Stalled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What approvers sign; made once for each spec without its approvals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Statement>,
    /// What the approvals are worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// When enough had approved, RFC 3339 in UTC: from here the recovery time counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub approved_at: Option<String>,
    /// The signatures by which it was approved, at most 16: the report on it goes to the custodian with them, whatever `spec.approvals` says by
    /// then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1100)), extend("x-kubernetes-list-type" = "atomic"))]
    pub signatures: Vec<String>,
    /// Earlier orders of this resource that were replaced before the custodian had answered to their reports, at most 2: it is asked until it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["order"]))]
    pub replaced: Vec<ReplacedOrder>,
    /// How far each registry is, in the order of the spec, at most 24.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub registries: Vec<ActivatedState>,
    /// Since when at least the first of the identities has lain in the cluster, RFC 3339 in UTC; absent while none is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub identity_since: Option<String>,
    /// How many registries are served, of how many, for people. Example: `2/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub serving: Option<String>,
    /// How long it took from the last approval to the last registry served, for people. Example: `4m12s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub recovery: Option<String>,
    /// When the whole ended, RFC 3339 in UTC; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub ended_at: Option<String>,
}

/// Where an activation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActivationPhase {
    /// The spec was not judged yet, or cannot be followed; `Stalled` says why.
    #[default]
    Pending,
    /// The statement waits for signatures.
    AwaitingApproval,
    /// Registries are being fenced, restored, questioned.
    Recovering,
    /// All registries are served from here.
    Serving,
    /// The rehearsal has ended well, and was cleaned up.
    Rehearsed,
    /// The registries are on their way home.
    StandingDown,
    /// They were released to home.
    StoodDown,
    /// Some registries could not be brought up; others may be served.
    Failed,
}

/// What approvers sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The text, to its last line: save it with `kubectl get act <name> -o jsonpath='{.status.statement.text}'`.
    #[schemars(length(max = 24_576))]
    pub text: String,
    /// The SHA-256 of the text, to be compared over a second channel.
    #[schemars(length(max = 64))]
    pub sha256: String,
    /// The order's id, as it stands in the ledger.
    #[schemars(length(max = 63))]
    pub order: String,
    /// The SHA-256 of the spec without its approvals; another spec is another statement.
    #[schemars(length(max = 64))]
    pub spec_sha256: String,
    /// When it was made, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub made_at: String,
}

/// What the approvals are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// How many count, of how many that must, for people. Example: `1/2`.
    #[schemars(length(max = 16))]
    pub words: String,
    /// Who has approved, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub approved: Vec<String>,
    /// Approvals that do not count, and why, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub refused: Vec<RefusedApproval>,
}

/// An approval that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedApproval {
    /// Its place in `spec.approvals`, from 0.
    #[schemars(range(min = 0, max = 15))]
    pub place: i32,
    /// Why, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far a registry is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivatedState {
    /// Its id.
    #[schemars(length(max = 40))]
    pub id: String,
    /// The step that it is at.
    pub phase: RegistryPhase,
    /// Why it is there: a word of the closed set.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What, why, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The key that writes the next term, and the Secret of this namespace that holds it; absent in a rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<TermSigner>,
    /// The number of the custody entry that fenced home; absent before, and where the order goes on unfenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub fence: Option<i64>,
    /// The order of an activation of this name that is gone, which had the registry fenced: this one gives it back. Absent where this one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub adopted_order: Option<String>,
    /// The copy, once it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<RestoredCopy>,
    /// How often it was restored, the one at work included.
    #[schemars(range(min = 0))]
    pub attempts: i64,
    /// The `RegistryRestore` of this namespace that is at work, or was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<ActivationRestore>,
    /// How long its identity has lain in the cluster; absent before a pod looked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStay>,
    /// The database that an attempt was seen to write into, as `host:port/database`: the next attempt replaces what it finds there. In any other
    /// one it replaces an unfinished restore of the registry, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 330))]
    pub written_into: Option<String>,
    /// In a rehearsal: the database that is to be cleaned up afterwards, as `host:port/database`; absent where nothing is. For as long the registry
    /// stays in `spec.registries`, with this database as its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 330))]
    pub rehearsed_in: Option<String>,
    /// The Secret of this namespace with the database's superuser, of a managed one: keys `username` and `password`, and, where the
    /// operator has made the server's certificate, `ca.crt`, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub credentials: Option<String>,
    /// The last day on which the certificate counts that the operator made for a managed database, or by which it was renewed, as the annotation
    /// `dataembassy.io/certificate-ends.<registry>` says; absent where `tlsRef` names one, and in a rehearsal. How it is renewed is in
    /// `docs/runbooks/database-certificate-expiring.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub certificate_ends: Option<String>,
    /// When each step began and ended, in order, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<ActivationStep>,
    /// How old the last committed copy was at the fence, in seconds; in a rehearsal when the copy was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub rpo_seconds: Option<i64>,
    /// How long it took from the last approval until it was served, in seconds; in a rehearsal until it could have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub rto_seconds: Option<i64>,
    /// Whether both objectives of its `RegistryCustody` were met; absent before they can be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives_met: Option<bool>,
    /// The SHA-256 of the release by which it went home: what the mirror there names in `adoptRelease`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub release: Option<String>,
    /// In a rehearsal on an external database: how what was restored is dropped again; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_up: Option<RehearsalCleanUp>,
    /// What came of the order, and where the signed report lies; absent while it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ActivationReport>,
}

/// What came of an order for one registry, as the custodian signs for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ActivationReport {
    /// The order that asks the custodian to sign for it: that of the statement, and `-report`.
    #[schemars(length(max = 63))]
    pub order: String,
    /// What the custodian is asked to sign for, as JSON; absent once it has signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub result: Option<String>,
    /// Where its two forms lie in the store, without `.json` and `.html`; absent unless it is signed for. Example:
    /// `registries/population/reports/home-lost-5d11169e-report`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub path: Option<String>,
    /// The number of the custody entry that names the SHA-256 of both; absent unless it is signed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub entry: Option<i64>,
    /// Why the custodian does not sign for it: a word of the closed set. Absent unless it refuses; then `result` is for people alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What the custodian has said to it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// An order that was replaced by another one before everything that came of it was signed for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplacedOrder {
    /// Its id.
    #[schemars(length(max = 63))]
    pub order: String,
    /// What was approved, as `statement.text` showed it; absent once the custodian has answered to everything.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 24_576))]
    pub statement: String,
    /// The signatures under it, at most 16; absent once the custodian has answered to everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1100)), extend("x-kubernetes-list-type" = "atomic"))]
    pub signatures: Vec<String>,
    /// What came of it that the custodian had not answered to, at most 24.
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["registry"]))]
    pub reports: Vec<ReplacedReport>,
}

/// What came of a replaced order for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplacedReport {
    /// The registry's id.
    #[schemars(length(max = 40))]
    pub registry: String,
    /// The report, and what the custodian has said to it.
    pub report: ActivationReport,
}

/// The step that a registry is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistryPhase {
    /// It waits for approvals, or for registries that it depends on.
    #[default]
    Waiting,
    /// The gate is being told to refuse its puts.
    Cutting,
    /// The ledger is being told that another term has begun.
    Fencing,
    /// Its database is coming up.
    Starting,
    /// Its copy is being restored and questioned.
    Restoring,
    /// It is served from here.
    Serving,
    /// In a rehearsal: it could have been served.
    Rehearsed,
    /// Its last copy is being taken, and it is being released to home.
    StandingDown,
    /// It was released.
    StoodDown,
    /// It could not be brought up; `reason` and `message` say why.
    Failed,
    /// A registry that it depends on failed, so it was not begun.
    Skipped,
}

/// How what a rehearsal has restored is dropped again. It is tried until it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RehearsalCleanUp {
    /// How often it has failed.
    #[schemars(range(min = 0))]
    pub failures: i64,
    /// When it failed last, RFC 3339 in UTC; absent where it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub failed_at: Option<String>,
    /// The UID of the `RegistryRestore` that was counted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// What was done, or why it is not done yet and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// The restore of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivationRestore {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID, once it was made: another one of that name is not it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// Which attempt it is under this order, 1 to 5.
    #[schemars(range(min = 1, max = 5))]
    pub attempt: i32,
}

/// The key that writes the next term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TermSigner {
    /// The public key in OpenSSH form.
    #[schemars(length(max = 512))]
    pub public_key: String,
    /// The Secret of this namespace with the private one: key `ssh-privatekey`.
    #[schemars(length(max = 253))]
    pub secret: String,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivationStep {
    /// Its name: `cut`, `fence`, `database`, `restore`, `serve`, `close`, `copy`, `release`, `report` or `clean`.
    #[schemars(length(max = 32))]
    pub name: String,
    /// When it began, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: String,
    /// When it ended; absent while it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub ended_at: Option<String>,
    /// The order under which `serve` or `release` ended; absent of other steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub order: Option<String>,
}
