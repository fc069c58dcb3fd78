//! What the operator tells a gate: one JSON document in [`files::CONFIG_FILE`](crate::files::CONFIG_FILE). It holds no secret: a gate
//! has none but the key of its own certificate.

use serde::{Deserialize, Serialize};

use crate::config::{SovereigntyConfig, StoreConfig};

/// The whole configuration of one embassy's gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateConfig {
    /// The name of the `DataEmbassy`.
    pub embassy: String,
    /// The `DataEmbassy`'s `metadata.generation` that was judged; the report echoes it.
    pub generation: i64,
    /// The store behind the gate.
    pub store: StoreConfig,
    /// How far the gate may connect.
    #[serde(default)]
    pub sovereignty: SovereigntyConfig,
    /// The registries that may pass, at most 512.
    #[serde(default)]
    pub lanes: Vec<LaneConfig>,
}

/// What the gate knows of one registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneConfig {
    /// The registry's id.
    pub registry: String,
    /// The term in which home may write, 1 to 9,999.
    pub term: u32,
    /// Whether nothing may be put; reads go on.
    #[serde(default)]
    pub fenced: bool,
    /// Whether the registry's retrieval user may read copies.
    #[serde(default)]
    pub home_may_retrieve: bool,
    /// The most bytes that the registry may have in the store; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// The bytes that the registry had in the store when the custodian last looked. What a gate lets in after a change of this number
    /// it adds by itself.
    #[serde(default)]
    pub used_bytes: u64,
    /// The most bytes a second that may be put, averaged over ten seconds; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

impl GateConfig {
    /// The document as it is written into the file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document, ignoring fields that this version does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
