//! What a restored database is asked: by a drill, and by a restore.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One question to the restored database, and what its answer must be: exactly one of `equals`, `within` and `notOlderThan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("[has(self.equals), has(self.within), has(self.notOlderThan)].filter(given, given).size() == 1")
        .message("set exactly one of equals, within and notOlderThan")
)]
pub struct Assertion {
    /// What its answer is called: a DNS label of at most 63 characters. Example: `persons-are-there`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// One statement that gives one row with one column. It runs read-only, as the role that restored, and at most a minute. Its answer stands in
    /// the status of a restore, and with its text in the report of a drill. Example: `SELECT count(*) FROM person`.
    #[schemars(length(min = 1, max = 4096))]
    pub sql: String,
    /// The answer as PostgreSQL writes it, at most 256 characters. Default: none. Example: `t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub equals: Option<String>,
    /// Bounds of an answer that is a number. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Bounds>,
    /// For an answer that is a time: how long before the moment of the copy's snapshot it may lie. A whole number and one of s, m, h, d.
    /// Default: none. Example: `1d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub not_older_than: Option<String>,
}

/// Bounds of a number: at least one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("has(self.atLeast) || has(self.atMost)")
        .message("set atLeast, atMost, or both")
)]
pub struct Bounds {
    /// The least that it may be, a decimal number. Default: none. Example: `"1000"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub at_least: Option<String>,
    /// The most that it may be, a decimal number. Default: none. Example: `"2000000"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub at_most: Option<String>,
}
