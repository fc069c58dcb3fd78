//! The configuration folder, judged whole: what comes out can be acted on, and what cannot is said in the user's words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::config::{self, ApproversConfig, LockMode, SovereigntyConfig, StoreConfig};
use dataembassy_contract::custodian::{
    CheckConfig, CustodianConfig, CustodyConfig, RetentionConfig, TrustedCustodian,
};
use dataembassy_contract::report::{Loaded, MissingSecret, SecretRole};
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::activation::Approvers;
use dataembassy_ledger::chain::{CustodianKey, KeyHasTwoRoles, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{InvalidValue, Sequence};
use dataembassy_ledger::{PublicKey, Recipient, RegistryId, SigningKey};

use super::doors::DoorSettings;
use super::orders::{self, Orders};
use crate::process::conversion;
use crate::process::folder::{Files, FolderError};
use crate::store::{DepositKeys, Requirements, StoreError, StoreSettings};

/// The most registries of one custodian.
const MAX_REGISTRIES: usize = 512;

/// The files of the folder that a custodian reads.
pub const NAMES: &[&str] = &[
    files::CONFIG_FILE,
    files::CUSTODY_ACCESS_KEY_ID,
    files::CUSTODY_SECRET_ACCESS_KEY,
    files::CUSTODY_SIGNING_KEY,
    files::CHECK_ACCESS_KEY_ID,
    files::CHECK_SECRET_ACCESS_KEY,
];

/// One custodian's configuration and secrets, checked.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Which generation and file this is.
    pub loaded: Loaded,
    /// The name of the `DataEmbassy`.
    pub embassy: String,
    /// How the store is reached.
    pub store: StoreSettings,
    /// The same, as it was written: what it is compared by.
    pub place: (StoreConfig, SovereigntyConfig),
    /// As whom it is reached.
    pub keys: DepositKeys,
    /// Signs custody entries.
    pub signer: SigningKey,
    /// What the bucket must do.
    pub requirements: Requirements,
    /// How the store is probed for doors; none if it is not.
    pub doors: Option<DoorSettings>,
    /// What lock every object of a kept copy must have.
    pub lock: LockRule,
    /// Whom copies must be sealed to.
    pub recipients: BTreeSet<Recipient>,
    /// Every key whose custody entries count somewhere.
    pub custodians: Vec<PublicKey>,
    /// Who may order that registries are served from the embassy; none where nobody may.
    pub approvers: Option<Approvers>,
    /// Within this time every byte of every living copy is read back once.
    pub period: Duration,
    /// The most bytes a second that are read for it.
    pub bytes_per_second: u64,
    /// What the store can hold.
    pub capacity_bytes: Option<u64>,
    /// How old an object must be that no entry names before it may be swept.
    pub sweep_after: Duration,
    /// The accepted registries, none twice.
    pub registries: Vec<Arc<RegistrySettings>>,
}

/// The lock that every object of a kept copy must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRule {
    /// The mode that it must have at least.
    pub mode: LockMode,
    /// How long an object is locked when it comes, and prolonged when half of that is left.
    pub length: Duration,
}

/// What is to be known of one accepted registry.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The registry.
    pub registry: RegistryId,
    /// The generation of its resource.
    pub generation: i64,
    /// Whose source entries count in term 1.
    pub signers: Vec<SignerRange>,
    /// Whose custody entries count here.
    pub custodians: Vec<CustodianKey>,
    /// Whether our own key is one of them and in use.
    pub may_sign: bool,
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
    /// The most bytes that it may have in the store.
    pub quota_bytes: Option<u64>,
    /// Which copies are kept.
    pub retention: RetentionConfig,
    /// Copies that are kept whatever their age, with the reason.
    pub pins: Vec<(Sequence, String)>,
    /// How often a copy must pass a drill, if somebody said so.
    pub drill_every: Option<Duration>,
    /// What is to be signed for this registry.
    pub orders: Orders,
    /// A source entry that a person vouches for.
    pub confirmed_head: Option<EntryRef>,
    /// The last known head of the source chain.
    pub source_floor: Option<EntryRef>,
    /// The last known head of the custody chain.
    pub custody_floor: Option<EntryRef>,
}

impl RegistrySettings {
    /// Whether both let the same parties write: then what was walked under one stands under the other.
    #[must_use]
    pub fn same_authority(&self, other: &Self) -> bool {
        self.signers == other.signers && self.custodians == other.custodians
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The folder lacks something.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The document is not one.
    #[error("the configuration is not the document that this version knows: {0}")]
    NotADocument(#[from] serde_json::Error),
    /// The signing key cannot be used.
    #[error("the signing key cannot be used: {0}")]
    SigningKeyInvalid(String),
    /// A value breaks its rule.
    #[error("{0}")]
    InvalidValue(#[from] InvalidValue),
    /// A key has two roles.
    #[error(transparent)]
    KeyHasTwoRoles(#[from] KeyHasTwoRoles),
    /// A registry is named twice, or there are too many.
    #[error("registry {registry} cannot be kept: {why}")]
    Registry {
        /// Its id.
        registry: String,
        /// Why.
        why: &'static str,
    },
    /// The store's settings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConfigurationError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Folder(error) => error.reason(),
            Self::NotADocument(_) | Self::InvalidValue(_) | Self::Registry { .. } => {
                Reason::ConfigurationInvalid
            }
            Self::SigningKeyInvalid(_) => Reason::SecretInvalid,
            Self::KeyHasTwoRoles(_) => Reason::KeyHasTwoRoles,
            Self::Store(error) => error.reason(),
        }
    }

    /// The secrets that are missing, where that is what is wrong.
    #[must_use]
    pub fn missing(&self) -> &[MissingSecret] {
        match self {
            Self::Folder(error) => error.missing(),
            _ => &[],
        }
    }
}

impl Configuration {
    /// Judges what the folder held.
    pub fn judge(files: &Files, loopback: Loopback) -> Result<Self, ConfigurationError> {
        let document = files.document()?;
        let config = CustodianConfig::from_json(document)?;
        let (keys, signer) = secrets(files)?;
        let store = StoreSettings::judge(&config.store, &config.sovereignty, loopback)?;
        let recipients = config.recipients.iter();
        let recipients = recipients
            .map(|recipient| recipient.public_key.parse())
            .collect::<Result<BTreeSet<Recipient>, _>>()?;
        let custodians = config.custodian_keys.iter();
        let custodians = custodians
            .map(|key| key.public_key.parse())
            .collect::<Result<Vec<PublicKey>, _>>()?;
        let registries = registries(&config, &custodians, signer.public_key())?;
        Ok(Self {
            loaded: Loaded {
                generation: config.generation,
                digest: config::digest(document),
            },
            embassy: config.embassy,
            store,
            place: (config.store, config.sovereignty),
            keys,
            signer,
            requirements: Requirements::from_config(&config.immutability),
            doors: config
                .check
                .as_ref()
                .map(|check| doors(files, check))
                .transpose()?,
            lock: LockRule {
                mode: config.immutability.mode,
                length: config.immutability.lock_on_arrival.as_std(),
            },
            recipients,
            custodians,
            approvers: config
                .approvers
                .as_ref()
                .map(ApproversConfig::checked)
                .transpose()?,
            period: config.verification.period.as_std(),
            bytes_per_second: config.verification.bytes_per_second.max(1),
            capacity_bytes: config.capacity_bytes,
            sweep_after: config.sweep_after.as_std(),
            registries,
        })
    }
}

fn secrets(files: &Files) -> Result<(DepositKeys, SigningKey), ConfigurationError> {
    let mut needs = files.needs();
    let access_key_id = needs.take(files::CUSTODY_ACCESS_KEY_ID, SecretRole::Custody)?;
    let secret_access_key = needs.take(files::CUSTODY_SECRET_ACCESS_KEY, SecretRole::Custody)?;
    let signer = needs.take(files::CUSTODY_SIGNING_KEY, SecretRole::Signing)?;
    needs.met()?;
    let keys = DepositKeys {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: secret_access_key.to_owned(),
    };
    // ssh-keygen wants the final newline, and readers of its files do too.
    let signer = SigningKey::from_openssh(&format!("{signer}\n"));
    let signer = signer.map_err(|error| ConfigurationError::SigningKeyInvalid(error.to_string()))?;
    Ok((keys, signer))
}

/// What is missing of the user for checks keeps nobody from keeping registries: it is told where the doors are.
fn doors(files: &Files, config: &CheckConfig) -> Result<DoorSettings, ConfigurationError> {
    let access_key_id = files.text(files::CHECK_ACCESS_KEY_ID)?;
    let secret_access_key = files.text(files::CHECK_SECRET_ACCESS_KEY)?;
    let keys = access_key_id.zip(secret_access_key);
    Ok(DoorSettings {
        deposit: keys.map(|(access_key_id, secret_access_key)| DepositKeys {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
        }),
        interval: config.interval.as_std(),
    })
}

fn registries(
    config: &CustodianConfig,
    custodians: &[PublicKey],
    ours: PublicKey,
) -> Result<Vec<Arc<RegistrySettings>>, ConfigurationError> {
    let refuse = |registry: &str, why| ConfigurationError::Registry {
        registry: registry.chars().take(64).collect(),
        why,
    };
    let mut orders = orders::sort(&config.orders);
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for one in &config.registries {
        let mut settings = registry(one, &config.custodian_keys, ours)?;
        settings.orders = orders.remove(&one.registry).unwrap_or_default();
        let signer = settings.signers.iter().map(|range| range.key);
        if let Some(key) = signer.into_iter().find(|key| custodians.contains(key)) {
            return Err(KeyHasTwoRoles { key }.into());
        }
        if settings.signers.is_empty() {
            return Err(refuse(&one.registry, "it names no signer"));
        }
        if !seen.insert(settings.registry.clone()) {
            return Err(refuse(&one.registry, "it is named twice"));
        }
        if all.len() == MAX_REGISTRIES {
            return Err(refuse(&one.registry, "a custodian keeps at most 512"));
        }
        all.push(Arc::new(settings));
    }
    for (registry, orders) in orders {
        // One that was let go of meanwhile must not keep the others' settings from being loaded.
        tracing::warn!(
            registry,
            orders = orders.count(),
            "orders are about a registry that is not kept: nobody answers them"
        );
    }
    Ok(all)
}

fn registry(
    config: &CustodyConfig,
    trusted: &[TrustedCustodian],
    ours: PublicKey,
) -> Result<RegistrySettings, InvalidValue> {
    let custodians = custodians_of(&config.registry, trusted)?;
    let may_sign = custodians
        .iter()
        .any(|custodian| custodian.key == ours && custodian.until.is_none());
    let pins = config.pins.iter();
    let pins = pins.map(|pin| Ok((Sequence::new(pin.sequence)?, pin.reason.clone())));
    Ok(RegistrySettings {
        registry: config.registry.parse()?,
        generation: config.generation,
        signers: config
            .signers
            .iter()
            .map(conversion::signer)
            .collect::<Result<_, _>>()?,
        custodians,
        may_sign,
        rpo: config.rpo.as_std(),
        quota_bytes: config.quota_bytes,
        retention: config.retention.clone(),
        pins: pins.collect::<Result<_, InvalidValue>>()?,
        drill_every: config.drills.as_ref().map(|drills| drills.every.as_std()),
        orders: Orders::default(),
        confirmed_head: conversion::floor(config.confirmed_head.as_ref())?,
        source_floor: conversion::floor(config.source_floor.as_ref())?,
        custody_floor: conversion::floor(config.custody_floor.as_ref())?,
    })
}

/// The keys that count for one registry: those in use, and of the retired ones those that say up to which of its entries.
fn custodians_of(registry: &str, trusted: &[TrustedCustodian]) -> Result<Vec<CustodianKey>, InvalidValue> {
    let mut keys = Vec::new();
    for one in trusted {
        let key = one.public_key.parse()?;
        if one.retired.is_empty() {
            keys.push(CustodianKey { key, until: None });
            continue;
        }
        for retired in one.retired.iter().filter(|retired| retired.registry == registry) {
            let until = Some(Sequence::new(retired.until_sequence)?);
            keys.push(CustodianKey { key, until });
        }
    }
    Ok(keys)
}
