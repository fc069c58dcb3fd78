//! The configuration folder, judged whole: what comes out can be acted on, and what cannot is said in the user's words.

use std::collections::BTreeMap;

use dataembassy_contract::config::{self, SovereigntyConfig, StoreConfig};
use dataembassy_contract::gate::{GateConfig, LaneConfig};
use dataembassy_contract::report::{Loaded, MissingSecret, SecretRole};
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::door::{Lane, Rules};
use dataembassy_ledger::value::{InvalidValue, Term};
use jiff::Timestamp;

use super::certificate::{Certificate, CertificateError};
use crate::process::folder::{Files, FolderError};
use crate::store::{StoreError, StoreSettings};

/// The folder's files that a gate reads.
pub const NAMES: &[&str] = &[
    files::CONFIG_FILE,
    files::GATE_CERTIFICATE,
    files::GATE_CERTIFICATE_KEY,
];
/// The most registries of one gate.
const MAX_LANES: usize = 512;

/// Why a configuration, or a certificate, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The folder's files cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The document is not one.
    #[error("the configuration is not the document that this version knows: {0}")]
    NotADocument(#[from] serde_json::Error),
    /// A value breaks its rule.
    #[error("{0}")]
    InvalidValue(#[from] InvalidValue),
    /// The bucket cannot be one.
    #[error("'{bucket}' is not a bucket: it must have 3 to 63 lower-case letters, digits, dots and hyphens")]
    InvalidBucket {
        /// What was given, cut.
        bucket: String,
    },
    /// More registries than fit.
    #[error("the configuration has {count} registries, more than the {MAX_LANES} of one gate")]
    TooManyLanes {
        /// How many.
        count: usize,
    },
    /// A registry twice.
    #[error("the configuration has registry {registry} twice")]
    LaneTwice {
        /// Which.
        registry: RegistryId,
    },
    /// A rate at which nothing could ever be put.
    #[error("the configuration allows registry {registry} no byte a second: fence it instead")]
    NoRate {
        /// Which.
        registry: RegistryId,
    },
    /// The store's settings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl ConfigurationError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Folder(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Certificate(error) => error.reason(),
            _ => Reason::ConfigurationInvalid,
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

/// One gate's configuration, checked.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Which generation and file this is.
    pub loaded: Loaded,
    /// What may pass.
    pub rules: Rules,
    /// What is allowed to each registry beside that.
    pub lanes: BTreeMap<RegistryId, LaneConfig>,
    /// How the store is reached.
    pub settings: StoreSettings,
    /// The same as it was written, to know a store that stays the same.
    pub store: (StoreConfig, SovereigntyConfig),
}

impl Configuration {
    /// Judges the document.
    pub fn judge(files: &Files, loopback: Loopback) -> Result<Self, ConfigurationError> {
        let document = files.document()?;
        let config = GateConfig::from_json(document)?;
        let settings = StoreSettings::judge(&config.store, &config.sovereignty, loopback)?;
        let bucket = config.store.bucket.clone();
        // The path of every request begins with it.
        if !is_bucket(&bucket) {
            return Err(ConfigurationError::InvalidBucket {
                bucket: bucket.chars().take(64).collect(),
            });
        }
        if config.lanes.len() > MAX_LANES {
            return Err(ConfigurationError::TooManyLanes {
                count: config.lanes.len(),
            });
        }
        let (mut rules, mut lanes) = (BTreeMap::new(), BTreeMap::new());
        for lane in config.lanes {
            let registry: RegistryId = lane.registry.parse()?;
            let rule = Lane {
                term: Term::new(lane.term.into())?,
                fenced: lane.fenced,
                home_may_retrieve: lane.home_may_retrieve,
            };
            if lane.bytes_per_second == Some(0) {
                return Err(ConfigurationError::NoRate { registry });
            }
            rules.insert(registry.clone(), rule);
            if lanes.insert(registry.clone(), lane).is_some() {
                return Err(ConfigurationError::LaneTwice { registry });
            }
        }
        Ok(Self {
            loaded: Loaded {
                generation: config.generation,
                digest: config::digest(document),
            },
            rules: Rules { bucket, lanes: rules },
            lanes,
            settings,
            store: (config.store, config.sovereignty),
        })
    }
}

/// Judges the certificate and its key.
pub fn certificate(files: &Files, now: Timestamp) -> Result<Certificate, ConfigurationError> {
    let mut needs = files.needs();
    let chain = needs.take(files::GATE_CERTIFICATE, SecretRole::GateTls)?;
    let key = needs.take(files::GATE_CERTIFICATE_KEY, SecretRole::GateTls)?;
    needs.met()?;
    Ok(Certificate::judge(chain, key, now)?)
}

fn is_bucket(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (3..=63).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use dataembassy_contract::config::Addressing;

    use super::*;

    fn config() -> GateConfig {
        let lane = LaneConfig {
            registry: "population".into(),
            term: 1,
            fenced: false,
            home_may_retrieve: false,
            quota_bytes: None,
            used_bytes: 0,
            bytes_per_second: None,
        };
        GateConfig {
            embassy: "luxembourg".into(),
            generation: 7,
            store: StoreConfig {
                endpoint: "https://store.embassy.example:9000".into(),
                bucket: "registries".into(),
                region: "us-east-1".into(),
                addressing: Addressing::Path,
                ca_bundle: None,
                allow_insecure: false,
            },
            sovereignty: SovereigntyConfig::default(),
            lanes: vec![lane],
        }
    }

    fn judge(config: &GateConfig) -> Result<Configuration, ConfigurationError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(files::CONFIG_FILE), config.to_json().unwrap()).unwrap();
        Configuration::judge(&Files::read(folder.path(), NAMES), Loopback::Refused)
    }

    #[test]
    fn a_configuration_becomes_rules() {
        let configuration = judge(&config()).unwrap();
        assert_eq!(configuration.loaded.generation, 7);
        assert_eq!(configuration.rules.bucket, "registries");
        assert_eq!(configuration.rules.lanes.len(), 1);
    }

    #[test]
    fn what_cannot_be_acted_on_is_refused() {
        let change = |change: fn(&mut GateConfig)| {
            let mut config = config();
            change(&mut config);
            judge(&config).unwrap_err().reason()
        };
        let invalid = Reason::ConfigurationInvalid;
        assert_eq!(change(|config| config.store.bucket = "a/b".into()), invalid);
        assert_eq!(change(|config| config.store.bucket = String::new()), invalid);
        assert_eq!(change(|config| config.lanes[0].registry = "../x".into()), invalid);
        assert_eq!(change(|config| config.lanes[0].term = 0), invalid);
        assert_eq!(
            change(|config| config.lanes[0].bytes_per_second = Some(0)),
            invalid
        );
        assert_eq!(
            change(|config| config.lanes.push(config.lanes[0].clone())),
            invalid
        );
        let many = |config: &mut GateConfig| config.lanes = vec![config.lanes[0].clone(); 513];
        assert_eq!(change(many), invalid);
        assert_eq!(
            change(|config| config.store.endpoint = "http://store.embassy.example".into()),
            Reason::InsecureEndpoint
        );
        assert_eq!(
            change(|config| config.store.endpoint = "https://s3.amazonaws.com".into()),
            Reason::NotSovereign
        );
        assert_eq!(
            change(|config| config.store.ca_bundle = Some("none".into())),
            Reason::InvalidCaBundle
        );
    }
}
