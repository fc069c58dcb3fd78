//! How long an age identity has lain in a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long an identity has lain in the cluster, as pods tell that needed it: the operator itself reads no Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStay {
    /// The Secret of this namespace that holds it.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// Since when at least it has lain there, RFC 3339 in UTC: the start of the first pod that found it, with none since that did not. Absent
    /// where the pod that looked last did not find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub present_since: Option<String>,
    /// The start of the pod that looked last, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub looked_at: String,
}
