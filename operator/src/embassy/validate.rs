//! Judges an embassy. What comes out holds only values that were checked.

use dataembassy_contract::config::{
    Addressing, ApproverConfig, ApproversConfig, CustodianKey, EmbassyConfig, ImmutabilityConfig, LockMode,
    RecipientConfig, SovereigntyConfig, StoreConfig,
};
use dataembassy_contract::custodian::{self, TrustedCustodian};
use dataembassy_contract::{Duration, Endpoint, Quantity, Reason, Sovereignty, recipient};
use dataembassy_crds::{self as crds, DataEmbassy, DataEmbassySpec};
use dataembassy_ledger::PublicKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why a resource is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which of the known reasons.
    pub reason: Reason,
    /// What, why, and what to do about it.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// An embassy that was judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedEmbassy {
    endpoint: Endpoint,
    networks: Vec<String>,
    recipients: Vec<RecipientConfig>,
    custodian_keys: Vec<(PublicKey, Vec<crds::RetiredFor>)>,
    approvers: Option<ApproversConfig>,
    lock: Duration,
    spec: DataEmbassySpec,
}

/// Judges an embassy; the first thing that is wrong is said.
pub fn check(spec: &DataEmbassySpec) -> Result<CheckedEmbassy, Refusal> {
    let endpoint = Endpoint::parse(&spec.store.endpoint, spec.store.allow_insecure)
        .map_err(|error| Refusal::new(error.reason(), format!("spec.store.endpoint: {error}")))?;
    let narrowed = spec.sovereignty.clone().unwrap_or_default();
    let guard = Sovereignty::parse(&narrowed.allowed_hosts, &narrowed.allowed_networks)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    guard
        .judge_endpoint(&endpoint)
        .map_err(|error| Refusal::new(error.reason(), format!("spec.store.endpoint: {error}")))?;
    if let Some(bundle) = &spec.store.ca_bundle {
        check_bundle(bundle)?;
    }
    let lock = duration(
        "spec.immutability.lockOnArrival",
        &spec.immutability.lock_on_arrival,
    )?;
    Ok(CheckedEmbassy {
        endpoint,
        networks: networks(&guard),
        recipients: spec
            .recipients
            .iter()
            .map(check_recipient)
            .collect::<Result<_, _>>()?,
        custodian_keys: spec
            .custodian_keys
            .iter()
            .map(|key| {
                Ok((
                    public_key("spec.custodianKeys", &key.public_key)?,
                    key.retired.clone(),
                ))
            })
            .collect::<Result<_, Refusal>>()?,
        approvers: spec.activation.as_ref().map(approvers).transpose()?,
        lock,
        spec: spec.clone(),
    })
}

/// Judges who may order an activation.
fn approvers(order: &crds::ActivationOrder) -> Result<ApproversConfig, Refusal> {
    let approver = |one: &crds::Approver| {
        Ok(ApproverConfig {
            name: one.name.clone(),
            public_key: public_key("spec.activation.approvers", &one.public_key)?.to_string(),
        })
    };
    let config = ApproversConfig {
        approvers: order
            .approvers
            .iter()
            .map(approver)
            .collect::<Result<_, Refusal>>()?,
        required: u32::try_from(order.required).unwrap_or_default(),
    };
    config
        .checked()
        .map_err(|error| Refusal::new(Reason::NoApprovers, format!("spec.activation: {error}")))?;
    Ok(config)
}

/// Judges the embassy that a resource names in `spec.embassyRef`, as far as it was found.
pub fn check_referred(name: &str, embassy: Option<&DataEmbassy>) -> Result<CheckedEmbassy, Refusal> {
    let Some(embassy) = embassy else {
        let message = format!("there is no DataEmbassy '{name}': create it, or correct spec.embassyRef.name");
        return Err(Refusal::new(Reason::UnknownEmbassy, message));
    };
    check(&embassy.spec)
        .map_err(|refusal| Refusal::new(refusal.reason, format!("DataEmbassy {name}: {}", refusal.message)))
}

impl CheckedEmbassy {
    /// The port of the store, for the network policy.
    #[must_use]
    pub const fn store_port(&self) -> u16 {
        self.endpoint.port()
    }

    /// The networks that the store may be in; empty where any may.
    #[must_use]
    pub fn networks(&self) -> &[String] {
        &self.networks
    }

    /// What the sidecar of one registry is told about the embassy called `name`.
    #[must_use]
    pub fn config(&self, name: &str, registry: &str) -> EmbassyConfig {
        EmbassyConfig {
            name: name.to_owned(),
            store: self.store(),
            recipients: self.recipients.clone(),
            custodian_keys: self
                .custodian_keys
                .iter()
                .filter_map(|key| custodian_key(key, registry))
                .collect(),
            approvers: self.approvers.clone(),
            sovereignty: self.sovereignty(),
            immutability: self.immutability(),
        }
    }

    /// Who may order an activation; absent where nobody may.
    #[must_use]
    pub const fn approvers(&self) -> Option<&ApproversConfig> {
        self.approvers.as_ref()
    }

    /// The store, as whoever calls it is told.
    #[must_use]
    pub fn store(&self) -> StoreConfig {
        let store = &self.spec.store;
        StoreConfig {
            endpoint: self.endpoint.to_string(),
            bucket: store.bucket.clone(),
            region: store.region.clone(),
            addressing: match store.addressing {
                crds::Addressing::Path => Addressing::Path,
                crds::Addressing::VirtualHost => Addressing::VirtualHost,
            },
            ca_bundle: store.ca_bundle.clone(),
            allow_insecure: store.allow_insecure,
        }
    }

    /// How far whoever calls the store may connect.
    #[must_use]
    pub fn sovereignty(&self) -> SovereigntyConfig {
        let sovereignty = self.spec.sovereignty.clone().unwrap_or_default();
        SovereigntyConfig {
            allowed_hosts: sovereignty.allowed_hosts,
            allowed_networks: sovereignty.allowed_networks,
        }
    }

    /// What lock the bucket must give.
    #[must_use]
    pub fn immutability(&self) -> ImmutabilityConfig {
        ImmutabilityConfig {
            mode: match self.spec.immutability.mode {
                crds::LockMode::Compliance => LockMode::Compliance,
                crds::LockMode::Governance => LockMode::Governance,
            },
            lock_on_arrival: self.lock,
        }
    }

    /// Whom copies are sealed to.
    #[must_use]
    pub fn recipients(&self) -> &[RecipientConfig] {
        &self.recipients
    }

    /// Whose custody entries count, for the custodian itself.
    #[must_use]
    pub fn trusted_custodians(&self) -> Vec<TrustedCustodian> {
        let retired_for = |retired: &crds::RetiredFor| custodian::RetiredFor {
            registry: retired.registry.clone(),
            until_sequence: u64::try_from(retired.until_sequence).unwrap_or_default(),
        };
        self.custodian_keys
            .iter()
            .map(|(key, retired)| TrustedCustodian {
                public_key: key.to_string(),
                retired: retired.iter().map(retired_for).collect(),
            })
            .collect()
    }

    /// Whether the key is one of a custodian, in use or retired.
    #[must_use]
    pub fn is_custodian_key(&self, key: &PublicKey) -> bool {
        self.custodian_keys.iter().any(|(known, _)| known == key)
    }
}

/// A retired key counts up to the sequence that it names for this registry; where it names none, it does not count at all.
fn custodian_key(
    (key, retired): &(PublicKey, Vec<crds::RetiredFor>),
    registry: &str,
) -> Option<CustodianKey> {
    let public_key = key.to_string();
    if retired.is_empty() {
        return Some(CustodianKey {
            public_key,
            until_sequence: None,
        });
    }
    let until = retired.iter().find(|retired| retired.registry == registry)?;
    Some(CustodianKey {
        public_key,
        until_sequence: u64::try_from(until.until_sequence).ok(),
    })
}

fn check_recipient(given: &crds::Recipient) -> Result<RecipientConfig, Refusal> {
    recipient::check(&given.public_key).map_err(|error| {
        Refusal::new(
            error.reason(),
            format!("spec.recipients[{}].publicKey: {error}", given.name),
        )
    })?;
    Ok(RecipientConfig {
        name: given.name.clone(),
        public_key: given.public_key.clone(),
    })
}

fn check_bundle(bundle: &str) -> Result<(), Refusal> {
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect::<Result<Vec<_>, _>>();
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        return Ok(());
    }
    let message = "spec.store.caBundle holds no certificate that can be read: paste certificates in PEM form, from -----BEGIN \
                   CERTIFICATE----- to -----END CERTIFICATE-----";
    Err(Refusal::new(Reason::InvalidCaBundle, message))
}

/// Reads a duration that the schema let through.
pub fn duration(field: &str, text: &str) -> Result<Duration, Refusal> {
    text.parse()
        .map_err(|error| Refusal::new(Reason::InvalidDuration, format!("{field}: {error}")))
}

/// Reads an amount of bytes that the schema let through.
pub fn quantity(field: &str, text: &str) -> Result<u64, Refusal> {
    text.parse::<Quantity>()
        .map(Quantity::bytes)
        .map_err(|error| Refusal::new(Reason::InvalidQuantity, format!("{field}: {error}")))
}

/// Reads an OpenSSH public key; a comment behind it is allowed and dropped.
pub fn public_key(field: &str, text: &str) -> Result<PublicKey, Refusal> {
    let key = text
        .split_ascii_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    key.parse().map_err(|error| {
        let message =
            format!("{field}: {error}; copy it from the .pub file that ssh-keygen -t ed25519 wrote");
        Refusal::new(Reason::InvalidPublicKey, message)
    })
}

/// The allowed networks in the form that a network policy takes: without host bits.
fn networks(guard: &Sovereignty) -> Vec<String> {
    guard
        .allowed_networks()
        .iter()
        .map(|network| network.trunc().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const IN_USE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A";
    const RETIRED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfnGTva3wvhnebyPhEW7tuz8SkNOETtLKBFVcKwsia9";

    #[test]
    fn a_retired_key_counts_for_the_registries_that_are_named_and_up_to_the_last_entry_that_it_signed() {
        let spec: DataEmbassySpec = serde_json::from_value(json!({
            "store": {"endpoint": "https://store.embassy.example:9000", "bucket": "registries"},
            "immutability": {},
            "recipients": [],
            "custodianKeys": [
                {"publicKey": IN_USE},
                {"publicKey": RETIRED, "retired": [{"registry": "population", "untilSequence": 7}]},
            ],
        }))
        .unwrap();
        let embassy = check(&spec).unwrap();
        let keys = |registry: &str| -> Vec<(String, Option<u64>)> {
            let keys = embassy.config("luxembourg", registry).custodian_keys;
            keys.into_iter()
                .map(|key| (key.public_key, key.until_sequence))
                .collect()
        };
        let in_use = (IN_USE.to_owned(), None);
        assert_eq!(
            keys("population"),
            [in_use.clone(), (RETIRED.to_owned(), Some(7))]
        );
        assert_eq!(keys("health"), [in_use]);
        let told = embassy.trusted_custodians();
        assert_eq!(
            told.iter().map(|key| key.retired.len()).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(told[1].retired[0].until_sequence, 7);
        // It has had its role, and gets no other.
        let is_known = |key: &str| embassy.is_custodian_key(&key.parse().unwrap());
        assert!(is_known(IN_USE) && is_known(RETIRED));
    }

    #[test]
    fn an_embassy_without_a_certificate_in_its_bundle_is_refused() {
        for bundle in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert_eq!(
                check_bundle(bundle).unwrap_err().reason,
                Reason::InvalidCaBundle,
                "{bundle}"
            );
        }
    }
}
