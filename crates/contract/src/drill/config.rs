//! What the operator tells the Job of one drill: one JSON document in [`files::CONFIG_FILE`](crate::files::CONFIG_FILE). It holds no
//! secret, and never changes once the Job is there.

use serde::{Deserialize, Serialize};

use crate::assertion::AssertionConfig;
use crate::config::{CustodianKey, Floor, SovereigntyConfig, StoreConfig};
use crate::custodian::SignerConfig;

/// The whole configuration of one drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillConfig {
    /// The `RegistryDrill`, as `namespace/name`.
    pub drill: String,
    /// The id of the order that this run becomes: a DNS label of at most 63 characters. The reports in the store are named by it.
    pub order: String,
    /// The registry's id.
    pub registry: String,
    /// Where copies are.
    pub store: StoreConfig,
    /// How far the Job may connect for it.
    #[serde(default)]
    pub sovereignty: SovereigntyConfig,
    /// Who writes the source chain in term 1, at least one.
    pub signers: Vec<SignerConfig>,
    /// Whose custody entries count for this registry.
    #[serde(default)]
    pub custodian_keys: Vec<CustodianKey>,
    /// The last head of the source chain that the operator knows of: a ledger below or beside it is `RolledBack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// Which copy.
    #[serde(default)]
    pub pick: Pick,
    /// Extensions that are installed before anything of the copy is, by the server's superuser, if the copy has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_extensions: Vec<String>,
    /// Sessions that load and build indexes at once, 1 to 64.
    pub jobs: u16,
    /// The recovery time objective in seconds, if there is one: from the first look at the copy to the end of `ANALYZE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<u64>,
    /// The longest that the run may take, in seconds: it ends itself before the Job is stopped.
    pub deadline_seconds: u64,
    /// The most bytes that the throw-away database may take.
    pub database_limit_bytes: u64,
    /// The SHA-256 that the copy's definitions must have, 64 lower-case hex digits, if somebody named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_digest: Option<String>,
    /// What the restored database is asked, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionConfig>,
}

/// Which copy is drilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pick {
    /// The newest living one.
    #[default]
    Latest,
    /// Any living one.
    Random,
    /// The oldest living one that was never drilled; where there is none, the one whose drill is longest ago.
    OldestUndrilled,
}

impl DrillConfig {
    /// The document as it is written into the file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document, ignoring fields that this version does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
