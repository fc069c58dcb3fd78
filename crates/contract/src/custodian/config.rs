//! What the operator tells a custodian: one JSON document in [`files::CONFIG_FILE`](crate::files::CONFIG_FILE). It holds no secret.

use dataembassy_ledger::activation::Warrant;
use serde::{Deserialize, Deserializer, Serialize};

use crate::activation::ActivationReport;
use crate::config::{
    ApproversConfig, Floor, ImmutabilityConfig, RecipientConfig, SovereigntyConfig, StoreConfig,
};
use crate::drill::DrillResult;
use crate::duration::Duration;

/// The whole configuration of one embassy's custodian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustodianConfig {
    /// The name of the `DataEmbassy`.
    pub embassy: String,
    /// The `DataEmbassy`'s `metadata.generation` that was judged; the report echoes it.
    pub generation: i64,
    /// The store itself, not the gate.
    pub store: StoreConfig,
    /// How far the custodian may connect.
    #[serde(default)]
    pub sovereignty: SovereigntyConfig,
    /// What lock the bucket must give to new objects. What is kept is prolonged by the same length, when half of it is left.
    pub immutability: ImmutabilityConfig,
    /// Whom copies must be sealed to: exactly these.
    pub recipients: Vec<RecipientConfig>,
    /// Whose custody entries count.
    pub custodian_keys: Vec<TrustedCustodian>,
    /// Who may order that registries are served from the embassy; absent where nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<ApproversConfig>,
    /// How copies are read back.
    pub verification: VerificationConfig,
    /// The bytes that the store can hold; absent where nobody said so, and then nothing is forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// How old an object must be that no entry names before it is declared void and swept: longer than the longest run.
    pub sweep_after: Duration,
    /// Whether the store is probed for what it would let through without a gate, with the credentials in
    /// [`files::CHECK_ACCESS_KEY_ID`](crate::files::CHECK_ACCESS_KEY_ID); absent where nobody gave such a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckConfig>,
    /// The registries that were accepted, at most 512.
    #[serde(default)]
    pub registries: Vec<CustodyConfig>,
    /// What the custodian is asked to sign, at most [`MAX_ORDERS`]. Each stays here until its answer was heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderConfig>,
}

/// The most orders at once: a `ConfigMap` holds them all.
pub const MAX_ORDERS: usize = 16;

/// Something that the custodian is asked to sign, once: the entry holds the id, so asking again is harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfig {
    /// Its id: a DNS label of at most 63 characters, unique in the registry for ever.
    pub id: String,
    /// The registry's id.
    pub registry: String,
    /// What is asked for. What cannot be read is refused as this order's answer, and keeps nothing else from being loaded.
    #[serde(deserialize_with = "read_or_refuse")]
    pub body: OrderBody,
}

/// What the custodian is asked to sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "body")]
pub enum OrderBody {
    /// What a drill found.
    Drill(Box<DrillResult>),
    /// What came of an order of people.
    Report(Box<ActivationReport>),
    /// That the registry is served from the embassy. The gates refuse its puts already.
    Activate(Box<Warrant>),
    /// That the registry goes back home. Its last copy from the embassy is in the ledger already.
    Release(Box<Warrant>),
    /// Something that this version cannot read, and why. Nobody writes it.
    #[serde(skip)]
    Unreadable(String),
}

fn read_or_refuse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderBody, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_else(|error| OrderBody::Unreadable(error.to_string())))
}

/// How the store is probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckConfig {
    /// How long after a check the next one begins; there is one after each start and each change of the store's configuration.
    pub interval: Duration,
}

/// A key whose custody entries count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedCustodian {
    /// `ssh-ed25519 AAAA…`
    pub public_key: String,
    /// Makes this a retired key: its last entry of each registry. Of a registry that is not named, none of its entries count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredFor>,
}

/// The last custody entry of a registry that a retired key signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetiredFor {
    /// The registry's id.
    pub registry: String,
    /// The entry.
    pub until_sequence: u64,
}

/// How copies are read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationConfig {
    /// Within this time every byte of every living copy is read back once.
    pub period: Duration,
    /// The most bytes a second that are read for it.
    pub bytes_per_second: u64,
}

/// One accepted registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustodyConfig {
    /// The name of the `RegistryCustody`.
    pub name: String,
    /// Its `metadata.generation` that was judged; the report echoes it.
    pub generation: i64,
    /// The registry's id.
    pub registry: String,
    /// Who writes the source chain in term 1, at least one.
    pub signers: Vec<SignerConfig>,
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
    /// The most bytes that the registry may have in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Which copies are kept.
    pub retention: RetentionConfig,
    /// Copies that are kept whatever their age, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<PinConfig>,
    /// How often a copy must pass a drill; absent where nobody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drills: Option<DrillPolicy>,
    /// A source entry that a person vouches for, from a mirror's status or a record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_head: Option<Floor>,
    /// The last head of the source chain that the operator knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_floor: Option<Floor>,
    /// The last head of the custody chain that the operator knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody_floor: Option<Floor>,
}

/// How often a copy must pass a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillPolicy {
    /// The longest between two that pass.
    pub every: Duration,
}

/// A key and the entries that it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignerConfig {
    /// `ssh-ed25519 AAAA…`
    pub public_key: String,
    /// The first, 1 or more.
    pub from_sequence: u64,
    /// The last; absent while the key is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_sequence: Option<u64>,
}

/// Which copies are kept. A copy is kept if any of these keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetentionConfig {
    /// Every copy younger than this.
    pub keep_within: Duration,
    /// The newest copy of each of this many days that have one.
    pub daily: u32,
    /// The newest copy of each of this many weeks.
    pub weekly: u32,
    /// The newest copy of each of this many months.
    pub monthly: u32,
    /// The newest copy of each of this many years.
    pub yearly: u32,
    /// At least this many proven copies, 1 or more.
    pub minimum: u32,
    /// Whether the plan is only shown.
    #[serde(default)]
    pub dry_run: bool,
}

/// A copy that is kept whatever its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinConfig {
    /// Its number in the source chain.
    pub sequence: u64,
    /// Why, for people; at most 253 characters.
    pub reason: String,
}

impl CustodianConfig {
    /// The document as it is written into the file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document, ignoring fields that this version does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
