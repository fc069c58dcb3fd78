//! What the operator tells the Job of one restore: one JSON document in [`files::CONFIG_FILE`](crate::files::CONFIG_FILE). It holds no
//! secret, and never changes once the Job is there.

use serde::{Deserialize, Serialize};

use crate::assertion::AssertionConfig;
use crate::config::{CustodianKey, Floor, SovereigntyConfig, StoreConfig, TlsMode};
use crate::custodian::SignerConfig;

/// The whole configuration of one restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreConfig {
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
    pub copy: CopyChoice,
    /// Where to.
    pub target: TargetConfig,
    /// What to do with a database that holds something already.
    #[serde(default)]
    pub if_not_empty: IfNotEmpty,
    /// Whether owners, privileges, roles, settings and everything else that acts beyond rows are restored.
    #[serde(default)]
    pub trust_source: bool,
    /// Extensions that may be installed although the target does not call them trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_extensions: Vec<String>,
    /// Whether a database is taken that sorts text in another way than the source.
    #[serde(default)]
    pub accept_different_collation: bool,
    /// Sessions that load and build indexes at once, 1 to 64.
    pub jobs: u16,
    /// What the restored database is asked when everything else is done, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionConfig>,
    /// Where this is a rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<RehearsalConfig>,
}

/// A restore that is tried: what it writes is taken away again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalConfig {
    /// The UID of the rehearsal, by which the database is marked for as long as something of it is there.
    pub uid: String,
    /// Whether nothing is restored, and what the rehearsal has restored is dropped.
    #[serde(default)]
    pub empties: bool,
}

/// Which copy is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CopyChoice {
    /// The newest one.
    Latest,
    /// The newest one whose latest drill it passed.
    LatestDrilled,
    /// The one of this entry of the source chain.
    Sequence(u64),
    /// The newest one that was taken at this moment or before, RFC 3339.
    AtOrBefore(String),
}

/// A PostgreSQL database that is restored into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Whether the database is made like the source's where there is none of that name.
    #[serde(default)]
    pub create_if_missing: bool,
    /// What of the server's certificate is checked.
    #[serde(default)]
    pub tls: TlsMode,
}

/// What to do with a database that holds something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfNotEmpty {
    /// Fail and write nothing.
    #[default]
    Refuse,
    /// Drop everything in it but extensions.
    Replace,
    /// Drop everything in it but extensions where it bears the mark of an unfinished restore of the same registry, and of the same rehearsal
    /// if any; otherwise fail and write nothing.
    ReplaceUnfinished,
}

impl RestoreConfig {
    /// The document as it is written into the file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document, ignoring fields that this version does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
