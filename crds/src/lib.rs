//! The custom resources of DataEmbassy, `dataembassy.io/v1alpha1`.
//!
//! The doc comments here are the user's manual: they become the descriptions of the schemas, which `kubectl explain` prints and from
//! which the reference is generated. The schemas and their CEL rules are the only admission control; what they cannot judge, the
//! operator does. [`all`] gives the definitions as `crds/*.yaml` hold them.

mod condition;
mod definition;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod embassy;
#[expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each struct with rules"
)]
mod mirror;
mod mirror_status;
mod reference;
mod sidecar;

pub use condition::{Condition, ConditionStatus};
pub use definition::all;
pub use embassy::{
    Addressing, CustodianKey, DataEmbassy, DataEmbassySpec, DataEmbassyStatus, Immutability, LockMode,
    Recipient, RetiredFor, SovereigntySpec, Store,
};
pub use mirror::{
    AcceptedIdentity, Objectives, Postgresql, PostgresqlTls, PreviousKey, Registry, RegistryMirror,
    RegistryMirrorSpec, Schedule, Signing, Source, TlsMode,
};
pub use mirror_status::{LastCopy, LedgerHead, RecentRun, RegistryMirrorStatus, RunInProgress, RunOutcome};
pub use reference::{EmbassyRef, SecretRef};
pub use sidecar::{ResourceAmounts, Resources, Sidecar, TaintEffect, Toleration, TolerationOperator};

/// The API group of every kind.
pub const GROUP: &str = "dataembassy.io";
