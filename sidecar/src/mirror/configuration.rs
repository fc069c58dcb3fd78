//! The configuration folder, judged whole: what comes out can be acted on, and what cannot is said in the user's words.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dataembassy_archive::{KeyError, Recipients};
use dataembassy_contract::config::{self, MirrorConfig, PostgresqlConfig, TlsMode};
use dataembassy_contract::report::{Loaded, MissingSecret, SecretRole};
use dataembassy_contract::schedule::InvalidSchedule;
use dataembassy_contract::sovereignty::{Loopback, Sovereignty};
use dataembassy_contract::{Reason, Schedule, files};
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::signature::SigningError;
use dataembassy_ledger::value::{InvalidValue, Sequence};
use dataembassy_ledger::{Recipient, RegistryId, SigningKey, Trigger};

use crate::postgresql::{dump, source};
use crate::store::{DepositKeys, LedgerSettings, Requirements, StoreError, StoreSettings};

/// What the process was started with; the same for all configurations.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The folder that holds configuration and secrets.
    pub config_dir: PathBuf,
    /// Holds `<major>/bin/pg_dump`.
    pub programs: PathBuf,
    /// Where plans lie while a run lasts.
    pub scratch: PathBuf,
    /// Whether loopback addresses may be reached.
    pub loopback: Loopback,
    /// Where `/status`, `/livez` and `/readyz` are answered.
    pub status_address: SocketAddr,
    /// Where `/metrics` is answered.
    pub metrics_address: SocketAddr,
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
    /// Who may write what, and the last known head.
    pub ledger: LedgerSettings,
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
    /// The file is not there or not readable.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The document is not one.
    #[error("the configuration is not the document that this version knows: {0}")]
    NotADocument(#[from] serde_json::Error),
    /// Secrets or keys in them are not there.
    #[error("secrets are missing: {}", list(.0))]
    SecretsMissing(Vec<MissingSecret>),
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
            Self::Unreadable { .. } | Self::NotADocument(_) | Self::InvalidValue(_) => {
                Reason::ConfigurationInvalid
            }
            // A key that is missing from a Secret that is there is another fault than a missing Secret.
            Self::SecretsMissing(missing) if missing.iter().any(|one| lacks_all(one.secret, missing)) => {
                Reason::SecretMissing
            }
            Self::SecretsMissing(_) => Reason::SecretKeyMissing,
            Self::SecretInvalid { .. } => Reason::SecretInvalid,
            Self::NoEngine => Reason::NoEngine,
            Self::InvalidSchedule(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Recipient(_) => Reason::InvalidRecipient,
        }
    }
}

/// Whether every key of a Secret is missing: seen from here, the Secret is.
fn lacks_all(secret: SecretRole, missing: &[MissingSecret]) -> bool {
    let keys = missing.iter().filter(|one| one.secret == secret).count();
    keys >= secret.keys()
}

fn list(missing: &[MissingSecret]) -> String {
    let each = missing
        .iter()
        .map(|one| format!("key {} of the {:?} Secret", one.key, one.secret));
    each.collect::<Vec<_>>().join(", ")
}

/// The folder's files as they are; two equal ones need no second look.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<&'static str, Vec<u8>>);

const ALL: &[&str] = &[
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

impl Files {
    /// Reads the folder. A projected volume swaps all its files at once, so each is read through one look at `..data` where there is one.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let folder = folder
            .join("..data")
            .canonicalize()
            .unwrap_or_else(|_| folder.to_owned());
        let read = |name: &&'static str| Some((*name, std::fs::read(folder.join(name)).ok()?));
        Self(ALL.iter().filter_map(read).collect())
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigurationError> {
        let Some(bytes) = self.0.get(name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|_| ConfigurationError::SecretInvalid {
            what: name,
            why: "it is not UTF-8 text".into(),
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl Configuration {
    /// Judges what the folder held.
    pub fn judge(files: &Files, environment: &Environment) -> Result<Self, ConfigurationError> {
        let document = files
            .0
            .get(files::CONFIG_FILE)
            .ok_or_else(|| ConfigurationError::Unreadable {
                path: files::CONFIG_FILE.into(),
                error: std::io::ErrorKind::NotFound.into(),
            })?;
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
        let store = StoreSettings::from_config(&config.embassy, environment.loopback)?;
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
            ledger,
            recipients,
            options: options(postgresql, environment),
            source: secrets.database.into_source(postgresql, environment),
            accepted_identity: config.source.accepted_identity,
            schedule,
            deadline: config.schedule.deadline.as_std(),
            trigger: config.trigger.map(|trigger| trigger.parse()).transpose()?,
            suspend: config.suspend,
            rpo: config.objectives.rpo.as_std(),
        })
    }
}

struct Secrets {
    keys: DepositKeys,
    signer: SigningKey,
    database: DatabaseSecrets,
}

struct DatabaseSecrets {
    user: String,
    credentials: source::Credentials,
    authorities: Vec<u8>,
}

impl Secrets {
    fn take(files: &Files) -> Result<Self, ConfigurationError> {
        let mut missing = Vec::new();
        let mut need = |name: &'static str, secret: SecretRole| -> Result<String, ConfigurationError> {
            let text = files.text(name)?;
            if text.is_none() {
                let key = name.rsplit('/').next().unwrap_or(name).to_owned();
                missing.push(MissingSecret { secret, key });
            }
            Ok(text.unwrap_or_default())
        };
        let access_key_id = need(files::DEPOSIT_ACCESS_KEY_ID, SecretRole::Deposit)?;
        let secret_access_key = need(files::DEPOSIT_SECRET_ACCESS_KEY, SecretRole::Deposit)?;
        let user = need(files::DATABASE_USERNAME, SecretRole::Database)?;
        let authorities = need(files::DATABASE_CA, SecretRole::DatabaseCa)?.into_bytes();
        let signer = need(files::SIGNING_KEY, SecretRole::Signing)?;
        let certificate = files.text(files::DATABASE_CERTIFICATE)?;
        let password = match &certificate {
            Some(_) => files.text(files::DATABASE_PASSWORD)?,
            None => Some(need(files::DATABASE_PASSWORD, SecretRole::Database)?),
        };
        let certificate_key = match &certificate {
            Some(_) => need(files::DATABASE_CERTIFICATE_KEY, SecretRole::Database)?,
            None => String::new(),
        };
        if !missing.is_empty() {
            return Err(ConfigurationError::SecretsMissing(missing));
        }
        let client_certificate = certificate.map(|chain| source::ClientCertificate {
            chain: chain.into_bytes(),
            key: certificate_key.into_bytes(),
        });
        // ssh-keygen wants the final newline, and readers of its files do too.
        let signer = SigningKey::from_openssh(&format!("{signer}\n")).map_err(|error: SigningError| {
            ConfigurationError::SecretInvalid {
                what: "signing key",
                why: error.to_string(),
            }
        })?;
        Ok(Self {
            keys: DepositKeys {
                access_key_id,
                secret_access_key,
            },
            signer,
            database: DatabaseSecrets {
                user,
                credentials: source::Credentials {
                    password,
                    client_certificate,
                },
                authorities,
            },
        })
    }
}

impl DatabaseSecrets {
    fn into_source(self, config: &PostgresqlConfig, environment: &Environment) -> source::Source {
        let guard = Sovereignty::default().with_loopback(environment.loopback);
        source::Source {
            host: config.host.clone(),
            port: config.port,
            database: config.database.clone(),
            user: self.user,
            credentials: self.credentials,
            tls: source::Tls {
                mode: match config.tls.mode {
                    TlsMode::VerifyFull => source::TlsMode::VerifyFull,
                    TlsMode::VerifyCa => source::TlsMode::VerifyCa,
                },
                authorities: self.authorities,
            },
            address_guard: source::AddressGuard::new(move |address| {
                guard.judge_address(address).map_err(|error| error.to_string())
            }),
            connect_timeout: Duration::from_secs(10),
            programs: environment.programs.clone(),
        }
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
    signers.push(SignerRange {
        key: signer.public_key(),
        from,
        until: None,
    });
    let custodian = |key: &config::CustodianKey| -> Result<CustodianKey, InvalidValue> {
        Ok(CustodianKey {
            key: key.public_key.parse()?,
            until: key.until_sequence.map(Sequence::new).transpose()?,
        })
    };
    let floor = |floor: &config::Floor| -> Result<EntryRef, InvalidValue> {
        Ok(EntryRef {
            sequence: Sequence::new(floor.sequence)?,
            digest: floor.digest.parse()?,
        })
    };
    Ok(LedgerSettings {
        registry: config.registry.parse()?,
        signers,
        custodians: config
            .embassy
            .custodian_keys
            .iter()
            .map(custodian)
            .collect::<Result<_, _>>()?,
        floor: config.floor.as_ref().map(floor).transpose()?,
    })
}
