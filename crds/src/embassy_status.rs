//! What the operator found out about an embassy; at the embassy itself, from the reports of its custodian and its gates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// What the operator found out about the resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataEmbassyStatus {
    /// The `metadata.generation` that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Ready`: the resource is valid and, at the embassy, what it asks for runs with it. At the embassy also `CustodianReady`,
    /// `GateReady`, `StoreReachable`, `SpaceSufficient`. Only while true: `Reconciling`; `Stalled`, what runs goes on with what was valid
    /// before; `Suspicious`, `UnknownRegistries`, `StoreExposed`, `ClockSkewed`, `CertificateExpiring`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The public half of the key that the custodian signs with: what belongs into `spec.custodianKeys`, here and at home.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub custodian_key: Option<String>,
    /// When the gate's certificate ends, the earliest of all gates, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub certificate_ends_at: Option<String>,
    /// The store's clock minus the custodian's, in seconds; changes of up to two seconds are not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -4_000_000_000_i64, max = 4_000_000_000_i64))]
    pub clock_difference_seconds: Option<i64>,
    /// Room in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// What the store itself would let through of what only the gate refuses; absent while it was not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_doors: Option<StoreDoors>,
    /// Registries that the store has and nobody accepted, at most 16. They are never adopted by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub unknown_registries: Vec<String>,
}

/// Room in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// Bytes of all versions of all registries; changes of less than a hundredth are not written.
    #[schemars(range(min = 0))]
    pub used_bytes: i64,
    /// The same for people. Example: `71.3 GiB`.
    #[schemars(length(max = 32))]
    pub used: String,
    /// What the store can hold, as the resource says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub capacity_bytes: Option<i64>,
    /// The day on which it will be full at the rate of late; absent if never, or if nothing can be said yet. Example: `2027-02-11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub full_on: Option<String>,
}

/// What the store itself would let through of what only the gate refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreDoors {
    /// When the store was probed, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub checked_at: String,
    /// The words of the probes that succeeded although none should, worst first, at most 96. Example: `[UnpackOverVersion]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 96), inner(length(max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub open: Vec<String>,
    /// How many probes were tried.
    #[schemars(range(min = 0))]
    pub tried: i32,
    /// What the store cannot do although it must, or why it could not be probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub fault: Option<String>,
}
