//! What it takes to reach a store: checked values only.

use std::fmt;
use std::time::Duration;

use dataembassy_contract::config::{Addressing, EmbassyConfig, SovereigntyConfig, StoreConfig};
use dataembassy_contract::endpoint::Endpoint;
use dataembassy_contract::sovereignty::{Loopback, Sovereignty};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::StoreError;
use crate::resolver::Resolver;

/// Where a store is, how it is known, and whom it must not lead to.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub(super) endpoint: Endpoint,
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) addressing: Addressing,
    pub(super) ca_bundle: Option<String>,
    pub(super) sovereignty: Sovereignty,
    pub(super) patience: Patience,
    pub(super) resolver: Resolver,
}

/// How long to wait for the store.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For a whole small request, and for the next bytes of a larger answer.
    pub read: Duration,
    /// For the next bytes of a put to be taken, and for its acknowledgement once they all are.
    pub put: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            put: Duration::from_mins(1),
        }
    }
}

/// A store user's keys. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct DepositKeys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
}

impl fmt::Debug for DepositKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DepositKeys")
    }
}

impl StoreSettings {
    /// Whether both are the same bucket at the same endpoint, however it is reached and known.
    #[must_use]
    pub fn is_same_bucket(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.bucket == other.bucket
    }

    /// Judges what the configuration says of an embassy's store: the endpoint, the certificates, the sovereignty of both.
    pub fn from_config(embassy: &EmbassyConfig, loopback: Loopback) -> Result<Self, StoreError> {
        Self::judge(&embassy.store, &embassy.sovereignty, loopback)
    }

    /// Judges what a configuration says of a store and of how far copies may go.
    pub fn judge(
        store: &StoreConfig,
        rules: &SovereigntyConfig,
        loopback: Loopback,
    ) -> Result<Self, StoreError> {
        let sovereignty =
            Sovereignty::parse(&rules.allowed_hosts, &rules.allowed_networks)?.with_loopback(loopback);
        let endpoint = Endpoint::parse(&store.endpoint, store.allow_insecure)?;
        Self::new(endpoint, store.bucket.clone(), store.region.clone(), sovereignty)?
            .with_addressing(store.addressing)
            .with_ca_bundle(store.ca_bundle.clone())
    }

    /// A store with path-style addressing and the system's certificates; refuses an endpoint that is not sovereign.
    pub fn new(
        endpoint: Endpoint,
        bucket: String,
        region: String,
        sovereignty: Sovereignty,
    ) -> Result<Self, StoreError> {
        // A literal address never reaches the resolver, so this is where it is judged.
        sovereignty.judge_endpoint(&endpoint)?;
        Ok(Self {
            endpoint,
            bucket,
            region,
            addressing: Addressing::Path,
            ca_bundle: None,
            sovereignty,
            patience: Patience::default(),
            resolver: Resolver::default(),
        })
    }

    /// Where the store is.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The authorities that may sign the store's certificate, PEM; `None` means those of the system.
    #[must_use]
    pub fn ca_bundle(&self) -> Option<&str> {
        self.ca_bundle.as_deref()
    }

    /// Judges the addresses that the endpoint leads to.
    #[must_use]
    pub const fn sovereignty(&self) -> &Sovereignty {
        &self.sovereignty
    }

    /// How the bucket is named in requests.
    #[must_use]
    pub fn with_addressing(self, addressing: Addressing) -> Self {
        Self { addressing, ..self }
    }

    /// Trusts the authorities in `ca_bundle` (PEM) and nobody else; `None` means those of the system.
    pub fn with_ca_bundle(self, ca_bundle: Option<String>) -> Result<Self, StoreError> {
        if let Some(bundle) = &ca_bundle {
            check_ca_bundle(bundle)?;
        }
        Ok(Self { ca_bundle, ..self })
    }

    /// Asks somebody else for the endpoint's addresses.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Waits longer or shorter.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }
}

/// The HTTP client ends the process over a certificate it cannot read, so each one is read here first.
fn check_ca_bundle(bundle: &str) -> Result<(), StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|_| StoreError::CaBundleInvalid)?;
        roots.add(certificate).map_err(|_| StoreError::CaBundleInvalid)?;
    }
    if roots.is_empty() {
        Err(StoreError::CaBundleInvalid)
    } else {
        Ok(())
    }
}
