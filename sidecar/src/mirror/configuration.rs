//! The configuration folder, judged whole: what comes out can be acted on, and what cannot is said in the user's words.

use std::path::PathBuf;
use std::time::Duration;

use dataembassy_archive::{KeyError, Recipients};
use dataembassy_contract::config::{self, ApproversConfig, MirrorConfig, PostgresqlConfig};
use dataembassy_contract::report::{Loaded, SecretRole};
use dataembassy_contract::schedule::InvalidSchedule;
use dataembassy_contract::{Reason, Schedule, files};
use dataembassy_ledger::activation::Approvers;
use dataembassy_ledger::chain::{CustodyView, Fence, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::signature::SigningError;
use dataembassy_ledger::value::{InvalidValue, Sequence, Sha256Digest, Term};
use dataembassy_ledger::{Recipient, RegistryId, SigningKey, Trigger};

use super::report::Board;
use crate::postgresql::{dump, source};
use crate::process::database::{DatabasePlace, DatabaseSecrets};
use crate::process::folder::{Files, FolderError};
use crate::process::{Place, conversion};
use crate::store::{DepositKeys, LedgerSettings, Requirements, StoreError, StoreSettings};

/// How long a session with the database may take to come about: a run that finds it too busy begins anew, and is told of soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the process was started with; the same for all configurations.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where the process is.
    pub place: Place,
    /// Holds `<major>/bin/pg_dump`.
    pub programs: PathBuf,
    /// Where plans lie while a run lasts.
    pub scratch: PathBuf,
}

/// One mirror's configuration and secrets, checked.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Which generation and file this is.
    pub loaded: Loaded,
    /// The registry.
    pub registry: RegistryId,
    /// How the store is reached.
    pub store: StoreSettings,
    /// What its bucket must do.
    pub requirements: Requirements,
    /// As whom it is reached.
    pub keys: DepositKeys,
    /// Signs entries.
    pub signer: SigningKey,
    /// The release by which the registry came home.
    pub adopted_release: Option<Sha256Digest>,
    /// Who may write what, and the last known head.
    pub ledger: LedgerSettings,
    /// Who may order that the registry is served from the embassy; none where nobody may.
    pub approvers: Option<Approvers>,
    /// Whom copies are sealed to.
    pub recipients: Vec<Recipient>,
    /// The database.
    pub source: source::Source,
    /// How hard it may be used.
    pub options: dump::Options,
    /// The identity of a re-created source that the user has accepted.
    pub accepted_identity: Option<config::SourceIdentity>,
    /// When copies are made.
    pub schedule: Schedule,
    /// The longest that one run may take.
    pub deadline: Duration,
    /// Mirror now, once.
    pub trigger: Option<Trigger>,
    /// Whether the schedule rests.
    pub suspend: bool,
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The folder's files cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The document is not one.
    #[error("the configuration is not the document that this version knows: {0}")]
    NotADocument(#[from] serde_json::Error),
    /// A secret's value cannot be used.
    #[error("the {what} cannot be used: {why}")]
    SecretInvalid {
        /// Which.
        what: &'static str,
        /// Why; never the value.
        why: String,
    },
    /// A value breaks its rule.
    #[error("{0}")]
    InvalidValue(#[from] InvalidValue),
    /// No engine is set.
    #[error("no database engine is set: set spec.source.postgresql")]
    NoEngine,
    /// The schedule cannot be followed.
    #[error(transparent)]
    InvalidSchedule(#[from] InvalidSchedule),
    /// The store's settings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A recipient cannot be sealed to.
    #[error(transparent)]
    Recipient(#[from] KeyError),
}

impl ConfigurationError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Folder(error) => error.reason(),
            Self::NotADocument(_) | Self::InvalidValue(_) => Reason::ConfigurationInvalid,
            Self::SecretInvalid { .. } => Reason::SecretInvalid,
            Self::NoEngine => Reason::NoEngine,
            Self::InvalidSchedule(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Recipient(_) => Reason::InvalidRecipient,
        }
    }
}

/// The folder's files that a mirror reads.
pub const NAMES: &[&str] = &[
    files::CONFIG_FILE,
    files::DEPOSIT_ACCESS_KEY_ID,
    files::DEPOSIT_SECRET_ACCESS_KEY,
    files::DATABASE_USERNAME,
    files::DATABASE_PASSWORD,
    files::DATABASE_CERTIFICATE,
    files::DATABASE_CERTIFICATE_KEY,
    files::DATABASE_CA,
    files::SIGNING_KEY,
];

impl Configuration {
    /// Judges what the folder holds and reports what came of it.
    #[must_use]
    pub fn take(files: &Files, environment: &Environment, board: &Board) -> Option<Self> {
        match Self::judge(files, environment) {
            Ok(configuration) => {
                tracing::info!(
                    registry = %configuration.registry,
                    generation = configuration.loaded.generation,
                    "a configuration is in effect"
                );
                let signer = configuration.signer.public_key().to_string();
                board.loaded(configuration.loaded.clone(), signer);
                Some(configuration)
            }
            Err(error) => {
                tracing::warn!(reason = %error.reason(), %error, "the newest configuration cannot be used");
                let missing = match &error {
                    ConfigurationError::Folder(error) => error.missing().to_vec(),
                    _ => Vec::new(),
                };
                board.refused(error.reason(), error.to_string(), missing);
                None
            }
        }
    }

    /// Judges what the folder held.
    pub fn judge(files: &Files, environment: &Environment) -> Result<Self, ConfigurationError> {
        let document = files.document()?;
        let config = MirrorConfig::from_json(document)?;
        let postgresql = config
            .source
            .postgresql
            .as_ref()
            .ok_or(ConfigurationError::NoEngine)?;
        let schedule = Schedule::parse(&config.schedule.cron, &config.schedule.time_zone)?;
        let recipients = config
            .embassy
            .recipients
            .iter()
            .map(|recipient| recipient.public_key.parse())
            .collect::<Result<Vec<Recipient>, _>>()?;
        Recipients::parse(&recipients)?;
        let store = StoreSettings::from_config(&config.embassy, environment.place.loopback)?;
        let secrets = Secrets::take(files)?;
        let ledger = ledger_settings(&config, &secrets.signer)?;
        Ok(Self {
            loaded: Loaded {
                generation: config.generation,
                digest: config::digest(document),
            },
            registry: ledger.registry.clone(),
            store,
            requirements: Requirements::from_config(&config.embassy.immutability),
            keys: secrets.keys,
            signer: secrets.signer,
            adopted_release: config.adopt_release.map(|digest| digest.parse()).transpose()?,
            ledger,
            approvers: config
                .embassy
                .approvers
                .as_ref()
                .map(ApproversConfig::checked)
                .transpose()?,
            recipients,
            options: options(postgresql, environment),
            source: secrets.database.into_source(DatabasePlace {
                host: &postgresql.host,
                port: postgresql.port,
                database: &postgresql.database,
                tls: postgresql.tls.mode,
                loopback: environment.place.loopback,
                connect_timeout: CONNECT_TIMEOUT,
                programs: environment.programs.clone(),
            }),
            accepted_identity: config.source.accepted_identity,
            schedule,
            deadline: config.schedule.deadline.as_std(),
            trigger: config.trigger.map(|trigger| trigger.parse()).transpose()?,
            suspend: config.suspend,
            rpo: config.objectives.rpo.as_std(),
        })
    }

    /// In which term this mirror may write the source entry at `next`, by what the custody chain says.
    pub fn may_write(&self, view: &CustodyView, next: Sequence) -> Result<Term, Fence> {
        let key = self.signer.public_key();
        view.may_write(key, &self.ledger.signers, next, self.adopted_release.as_ref())
    }

    /// Why this mirror must not write any more, as far as terms are concerned.
    #[must_use]
    pub fn fence(&self, view: &CustodyView) -> Option<Fence> {
        let fence = self.may_write(view, Sequence::FIRST).err();
        fence.filter(|fence| !matches!(fence, Fence::NotASigner { .. }))
    }

    /// The last known head, where `known` is that of this process and `view` what the custody chain said last.
    ///
    /// Whoever adopts a release takes its head for known: what was known before and is not beyond it may have been left behind in a term that the
    /// embassy has ended.
    #[must_use]
    pub fn floor(&self, known: Option<EntryRef>, view: Option<&CustodyView>) -> Option<EntryRef> {
        let floor = self.ledger.floor.max(known);
        let adopted = self.adopted_release.and_then(|digest| {
            let mut openings = view?.openings().iter();
            openings
                .find(|opening| opening.entry.digest == digest)?
                .source_head
        });
        match adopted {
            Some(head) if floor.is_none_or(|floor| floor.sequence <= head.sequence) => Some(head),
            _ => floor,
        }
    }
}

struct Secrets {
    keys: DepositKeys,
    signer: SigningKey,
    database: DatabaseSecrets,
}

impl Secrets {
    fn take(files: &Files) -> Result<Self, ConfigurationError> {
        let mut needs = files.needs();
        let access_key_id = needs.take(files::DEPOSIT_ACCESS_KEY_ID, SecretRole::Deposit)?;
        let secret_access_key = needs.take(files::DEPOSIT_SECRET_ACCESS_KEY, SecretRole::Deposit)?;
        let signer = needs.take(files::SIGNING_KEY, SecretRole::Signing)?;
        let database = DatabaseSecrets::take(files, &mut needs)?;
        needs.met()?;
        // ssh-keygen wants the final newline, and readers of its files do too.
        let signer = SigningKey::from_openssh(&format!("{signer}\n")).map_err(|error: SigningError| {
            ConfigurationError::SecretInvalid {
                what: "signing key",
                why: error.to_string(),
            }
        })?;
        Ok(Self {
            keys: DepositKeys {
                access_key_id: access_key_id.to_owned(),
                secret_access_key: secret_access_key.to_owned(),
            },
            signer,
            database,
        })
    }
}

fn options(config: &PostgresqlConfig, environment: &Environment) -> dump::Options {
    dump::Options {
        max_connections: config.max_connections,
        max_snapshot_age: config.max_snapshot_age.as_std(),
        yield_to_ddl_after: config.yield_to_ddl_after.as_std(),
        include_password_verifiers: config.include_password_verifiers,
        ..dump::Options::new(environment.scratch.clone())
    }
}

fn ledger_settings(config: &MirrorConfig, signer: &SigningKey) -> Result<LedgerSettings, ConfigurationError> {
    let signers = if config.signers.is_empty() {
        own_signers(config, signer)?
    } else {
        // At the embassy: which key opens this mirror's own term stands in the custody chain.
        let signers = config.signers.iter().map(conversion::signer);
        signers.collect::<Result<_, _>>()?
    };
    Ok(LedgerSettings {
        registry: config.registry.parse()?,
        signers,
        custodians: conversion::custodians(&config.embassy.custodian_keys)?,
        floor: conversion::floor(config.floor.as_ref())?,
    })
}

/// The keys of a mirror at home, one after the other. The one that was retired last signs nothing more while it is still the one that is mounted.
fn own_signers(config: &MirrorConfig, signer: &SigningKey) -> Result<Vec<SignerRange>, ConfigurationError> {
    let mut signers = Vec::new();
    let mut from = Sequence::FIRST;
    for previous in &config.previous_keys {
        let until = Sequence::new(previous.until_sequence)?;
        signers.push(SignerRange {
            key: previous.public_key.parse()?,
            from,
            until: Some(until),
        });
        from = until.next().unwrap_or(Sequence::LAST);
    }
    if signers
        .last()
        .is_none_or(|retired| retired.key != signer.public_key())
    {
        signers.push(SignerRange {
            key: signer.public_key(),
            from,
            until: None,
        });
    }
    Ok(signers)
}
