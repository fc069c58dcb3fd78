//! The custom resources of DataEmbassy, `dataembassy.io/v1alpha1`.
//!
//! The doc comments here are the user's manual: they become the descriptions of the schemas, which `kubectl explain` prints and from
//! which the reference is generated. The schemas and their CEL rules are the only admission control; what they cannot judge, the
//! operator does. [`all`] gives the definitions as `crds/*.yaml` hold them.

#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod activation;
mod activation_status;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod assertion;
mod condition;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod custodian;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod custody;
mod custody_status;
mod definition;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod drill;
mod drill_status;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod embassy;
mod embassy_status;
mod identity;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod mirror;
mod mirror_status;
mod pod;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod recovery_point;
mod reference;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod restore;
mod restore_status;
mod sidecar;

pub use activation::{
    ActivatedRegistry, ActivationCopy, ActivationDeadlines, ActivationMode, ActivationState,
    ActivationTarget, Approval, EmbassyActivation, EmbassyActivationSpec, ExternalDatabase, ManagedDatabase,
    UnfencedChoice,
};
pub use activation_status::{
    ActivatedState, ActivationPhase, ActivationReport, ActivationRestore, ActivationStep, Approvals,
    EmbassyActivationStatus, RefusedApproval, RegistryPhase, RehearsalCleanUp, ReplacedOrder, ReplacedReport,
    Statement, TermSigner,
};
pub use assertion::{Assertion, Bounds};
pub use condition::{Condition, ConditionStatus};
pub use custodian::{Custodian, Gate, GateService, ServiceType, StoreCheck, StorePods, Verification};
pub use custody::{
    ConfirmedHead, CustodyDrills, CustodyRegistry, Pin, RegistryCustody, RegistryCustodySpec, Retention,
    Signer,
};
pub use custody_status::{
    CustodyAlarm, CustodyCopy, RegistryCustodyStatus, RetentionState, VerificationProgress,
};
pub use definition::all;
pub use drill::{DrillHistory, DrillPick, DrillServer, PullPolicy, RegistryDrill, RegistryDrillSpec};
pub use drill_status::{CurrentDrill, DrillOutcome, EndedDrill, RegistryDrillStatus};
pub use embassy::{
    ActivationOrder, Addressing, Approver, CustodianKey, DataEmbassy, DataEmbassySpec, Immutability,
    LockMode, Recipient, RetiredFor, SovereigntySpec, Store,
};
pub use embassy_status::{DataEmbassyStatus, Space, StoreDoors};
pub use identity::IdentityStay;
pub use mirror::{
    AcceptedIdentity, Objectives, Postgresql, PostgresqlTls, PreviousKey, Registry, RegistryMirror,
    RegistryMirrorSpec, Schedule, Signing, Source, TlsMode,
};
pub use mirror_status::{
    LastCopy, LastProof, LedgerHead, RecentRun, RegistryMirrorStatus, RunInProgress, RunOutcome,
};
pub use pod::{ResourceAmounts, Resources, TaintEffect, Toleration, TolerationOperator};
pub use recovery_point::{Known, RecoveryPoint, RecoveryPointSpec, RecoveryPointStatus};
pub use reference::{EmbassyRef, SecretRef};
pub use restore::{
    CopyChoice, IfNotEmpty, RegistryRestore, RegistryRestoreSpec, Rehearsal, RestoredRegistry, Target,
};
pub use restore_status::{
    GivenAnswer, LeftOut, RegistryRestoreStatus, RestorePhase, RestoreProgress, Restored, RestoredCopy,
};
pub use sidecar::Sidecar;

/// The API group of every kind.
pub const GROUP: &str = "dataembassy.io";
