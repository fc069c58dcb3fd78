//! The configuration folder of a restore, judged whole.

use dataembassy_archive::{Identities, KeyError};
use dataembassy_contract::{
    Reason,
    assertion::AssertionConfig,
    config::{CustodianKey, Floor, SovereigntyConfig, StoreConfig},
    custodian::SignerConfig,
    files,
    report::SecretRole,
    restore::{CopyChoice, RestoreConfig, TargetConfig},
    sovereignty::{NotSovereign, Sovereignty},
};
use dataembassy_ledger::{
    Timestamp,
    value::{InvalidValue, Sequence},
};

use super::Environment;
use crate::postgresql::Source;
use crate::process::{
    conversion,
    database::{DatabasePlace, DatabaseSecrets},
    folder::{Files, FolderError, Needs},
};
use crate::restore::{CONNECT_TIMEOUT, Options, copy::Choice};
use crate::store::{DepositKeys, LedgerSettings, Store, StoreError, StoreSettings};

/// The folder's files that a restore reads.
pub(super) const NAMES: &[&str] = &[
    files::CONFIG_FILE,
    files::RETRIEVAL_ACCESS_KEY_ID,
    files::RETRIEVAL_SECRET_ACCESS_KEY,
    files::IDENTITY,
    files::DATABASE_USERNAME,
    files::DATABASE_PASSWORD,
    files::DATABASE_CERTIFICATE,
    files::DATABASE_CERTIFICATE_KEY,
    files::DATABASE_CA,
];

/// Where copies are, who writes them, and what opens them.
pub(crate) struct Access {
    store: StoreSettings,
    keys: DepositKeys,
    pub(crate) ledger: LedgerSettings,
    pub(crate) identities: Identities,
}

/// What a document says of that.
pub(crate) struct Named<'a> {
    pub(crate) registry: &'a str,
    pub(crate) store: &'a StoreConfig,
    pub(crate) sovereignty: &'a SovereigntyConfig,
    pub(crate) signers: &'a [SignerConfig],
    pub(crate) custodian_keys: &'a [CustodianKey],
    pub(crate) floor: Option<&'a Floor>,
}

/// The Secrets for it, if they are there: what is missing, [`Needs::met`] tells.
pub(crate) struct AccessSecrets<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    identity: &'a str,
}

impl<'a> AccessSecrets<'a> {
    pub(crate) fn take(needs: &mut Needs<'a>) -> Result<Self, FolderError> {
        Ok(Self {
            access_key_id: needs.take(files::RETRIEVAL_ACCESS_KEY_ID, SecretRole::Retrieval)?,
            secret_access_key: needs.take(files::RETRIEVAL_SECRET_ACCESS_KEY, SecretRole::Retrieval)?,
            identity: needs.take(files::IDENTITY, SecretRole::Identity)?,
        })
    }
}

impl Access {
    /// Judges both together.
    pub(crate) fn judge(
        named: &Named<'_>,
        secrets: &AccessSecrets<'_>,
        environment: &Environment,
    ) -> Result<Self, ConfigurationError> {
        let loopback = environment.place.loopback;
        Ok(Self {
            store: StoreSettings::judge(named.store, named.sovereignty, loopback)?,
            keys: DepositKeys {
                access_key_id: secrets.access_key_id.to_owned(),
                secret_access_key: secrets.secret_access_key.to_owned(),
            },
            ledger: LedgerSettings {
                registry: named.registry.parse()?,
                signers: named
                    .signers
                    .iter()
                    .map(conversion::signer)
                    .collect::<Result<_, _>>()?,
                custodians: conversion::custodians(named.custodian_keys)?,
                floor: conversion::floor(named.floor)?,
            },
            identities: Identities::parse(&format!("{}\n", secrets.identity))?,
        })
    }

    /// The store, as these keys reach it.
    pub(crate) fn connect(&self) -> Result<Store, StoreError> {
        Store::connect(&self.store, &self.keys)
    }
}

/// One restore's configuration and secrets, checked.
pub(super) struct Configuration {
    pub(super) access: Access,
    pub(super) choice: Choice,
    pub(super) target: Source,
    pub(super) options: Options,
    pub(super) assertions: Vec<AssertionConfig>,
}

/// What is asked for.
pub(super) enum Task {
    /// A restore.
    Restore(Box<Configuration>),
    /// What a rehearsal has restored is to be dropped.
    CleanUp {
        /// From here.
        target: Box<Source>,
        /// The rehearsal's UID.
        rehearsal: String,
    },
}

impl Task {
    /// Judges what the folder held. Whoever drops needs no copy, and so neither the store's keys nor an identity.
    pub(super) fn judge(files: &Files, environment: &Environment) -> Result<Self, ConfigurationError> {
        let config = RestoreConfig::from_json(files.document()?)?;
        let Some(rehearsal) = config.rehearsal.filter(|rehearsal| rehearsal.empties) else {
            let configuration = Configuration::judge(files, environment)?;
            return Ok(Self::Restore(Box::new(configuration)));
        };
        let mut needs = files.needs();
        let database = DatabaseSecrets::take(files, &mut needs)?;
        needs.met()?;
        Ok(Self::CleanUp {
            target: Box::new(into_target(database, &config.target, environment)?),
            rehearsal: rehearsal.uid,
        })
    }
}

/// The way to the target, whose host the operator has judged as well.
fn into_target(
    database: DatabaseSecrets,
    target: &TargetConfig,
    environment: &Environment,
) -> Result<Source, ConfigurationError> {
    let loopback = environment.place.loopback;
    Sovereignty::default()
        .with_loopback(loopback)
        .judge_destination(&target.host)?;
    Ok(database.into_source(DatabasePlace {
        host: &target.host,
        port: target.port,
        database: &target.database,
        tls: target.tls,
        loopback,
        connect_timeout: CONNECT_TIMEOUT,
        programs: environment.programs.clone(),
    }))
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// The folder's files cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The document is not one.
    #[error("the configuration is not the document that this version knows: {0}")]
    NotADocument(#[from] serde_json::Error),
    /// A value breaks its rule.
    #[error("{0}")]
    InvalidValue(#[from] InvalidValue),
    /// A moment is none.
    #[error("copy.atOrBefore: {0} is no time such as 2026-11-23T12:00:00Z")]
    NoTime(String),
    /// The target is where no copy may be opened.
    #[error("target.host: {0}")]
    Target(#[from] NotSovereign),
    /// The store's settings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The identity is none.
    #[error("identity.txt of the identity Secret cannot be used: {0}")]
    Identity(#[from] KeyError),
}

impl ConfigurationError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Folder(error) => error.reason(),
            Self::NotADocument(_) | Self::InvalidValue(_) | Self::NoTime(_) => Reason::ConfigurationInvalid,
            Self::Target(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Identity(_) => Reason::SecretInvalid,
        }
    }
}

impl Configuration {
    /// Judges what the folder held.
    pub(super) fn judge(files: &Files, environment: &Environment) -> Result<Self, ConfigurationError> {
        let config = RestoreConfig::from_json(files.document()?)?;
        let mut needs = files.needs();
        let secrets = AccessSecrets::take(&mut needs)?;
        let database = DatabaseSecrets::take(files, &mut needs)?;
        needs.met()?;
        let named = Named {
            registry: &config.registry,
            store: &config.store,
            sovereignty: &config.sovereignty,
            signers: &config.signers,
            custodian_keys: &config.custodian_keys,
            floor: config.floor.as_ref(),
        };
        Ok(Self {
            access: Access::judge(&named, &secrets, environment)?,
            choice: choice(&config.copy)?,
            target: into_target(database, &config.target, environment)?,
            options: Options {
                if_not_empty: config.if_not_empty,
                trusting: config.trust_source,
                allowed_extensions: config.allowed_extensions,
                accept_collation: config.accept_different_collation,
                create_database: config.target.create_if_missing,
                jobs: usize::from(config.jobs.clamp(1, 64)),
                scratch: environment.scratch.clone(),
                rehearsal: config.rehearsal.map(|rehearsal| rehearsal.uid),
                prepared_schemas: Vec::new(),
            },
            assertions: config.assertions,
        })
    }
}

fn choice(choice: &CopyChoice) -> Result<Choice, ConfigurationError> {
    Ok(match choice {
        CopyChoice::Latest => Choice::Latest,
        CopyChoice::LatestDrilled => Choice::LatestDrilled,
        CopyChoice::Sequence(sequence) => Choice::Sequence(Sequence::new(*sequence)?),
        CopyChoice::AtOrBefore(time) => {
            let moment = time
                .parse::<jiff::Timestamp>()
                .ok()
                .and_then(|moment| Timestamp::from_jiff(moment).ok());
            Choice::AtOrBefore(moment.ok_or_else(|| ConfigurationError::NoTime(time.clone()))?)
        }
    })
}
