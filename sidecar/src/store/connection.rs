//! The HTTP client under the S3 client: one TLS stack, the store's own authorities, and the sovereignty guard on each address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::ConfigBag;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeDeserializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{Intercept, RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::BoxError;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_contract::sovereignty::Sovereignty;
use jiff::Timestamp;

use super::words::bounded;
use super::{StoreError, StoreSettings};
use crate::resolver::Resolver;

/// Builds the HTTP client. It reads no proxy from the environment: a proxy would decide whom we reach.
pub(super) fn http_client(settings: &StoreSettings) -> Result<SharedHttpClient, StoreError> {
    let trust = match &settings.ca_bundle {
        Some(bundle) => TrustStore::empty().with_pem_certificate(bundle.as_bytes()),
        None => TrustStore::default(),
    };
    let context = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|_| StoreError::CaBundleInvalid)?;
    let resolver = GuardedResolver {
        sovereignty: Arc::new(settings.sovereignty.clone()),
        resolver: settings.resolver.clone(),
    };
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_with_resolver(resolver))
}

/// Asks the resolver and judges each address before anything connects to it: to these addresses, without asking again.
///
/// A name with one address that is refused is refused as a whole: half a way abroad is none.
#[derive(Clone, Debug)]
struct GuardedResolver {
    sovereignty: Arc<Sovereignty>,
    resolver: Resolver,
}

impl ResolveDns for GuardedResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let addresses: Vec<IpAddr> = self
                .resolver
                .addresses(name)
                .await
                .map_err(ResolveDnsError::new)?;
            for address in &addresses {
                self.sovereignty
                    .judge_address(*address)
                    .map_err(ResolveDnsError::new)?;
            }
            Ok(addresses)
        })
    }
}

/// What the wire shows beside the answers: how many requests were sent, and the difference between the store's clock and ours.
#[derive(Debug, Default)]
pub(super) struct StoreClock {
    /// Milliseconds that the store is ahead; `i64::MIN` before the first answer.
    ahead: AtomicI64,
    requests: AtomicU64,
}

impl StoreClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            ahead: AtomicI64::new(i64::MIN),
            requests: AtomicU64::new(0),
        })
    }

    /// How many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Milliseconds that the store is ahead of us, to about one second; `None` before its first answer.
    pub(super) fn ahead(&self) -> Option<i64> {
        Some(self.ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != i64::MIN)
    }

    fn note(&self, date: &str) {
        // An HTTP date has whole seconds; half of one is the least wrong guess.
        if let Ok(date) = jiff::fmt::rfc2822::parse(date) {
            let ahead = date.timestamp().as_millisecond() + 500 - Timestamp::now().as_millisecond();
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

/// Watches what passes between the S3 client and the wire.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) clock: Arc<StoreClock>,
}

#[dyn_dispatch_hint]
impl Intercept for Wire {
    fn name(&self) -> &'static str {
        "Wire"
    }

    /// Signs with the SHA-256 that stands in the checksum header already, instead of computing it again over the whole body.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(checksum) = context.request().headers().get("x-amz-checksum-sha256") {
            let digest: [u8; 32] = STANDARD
                .decode(checksum)?
                .try_into()
                .map_err(|_| "the checksum is no SHA-256")?;
            let digest = dataembassy_ledger::value::Sha256Digest::from_bytes(digest).to_string();
            bag.interceptor_state()
                .store_put(PayloadSigningOverride::Precomputed(digest));
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.clock.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The S3 client reads an answer whole before it understands it, unless it is an object. A store that does not stop talking is cut off.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let reads = |operation: &Metadata| operation.name() == "GetObject";
        let answer = context.response_mut();
        if !(answer.status().is_success() && bag.load::<Metadata>().is_some_and(reads)) {
            let words = std::mem::replace(answer.body_mut(), SdkBody::taken());
            *answer.body_mut() = bounded(words);
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.clock.note(date);
        }
        Ok(())
    }
}
