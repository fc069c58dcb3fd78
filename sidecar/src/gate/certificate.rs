//! The certificate that the gate shows. A new one is shown to who comes from then on; who is there already stays.

use std::sync::{Arc, PoisonError, RwLock};

use dataembassy_contract::Reason;
use jiff::Timestamp;
use jiff::civil;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain cannot be read.
    #[error("tls.crt of the gate's TLS Secret holds no certificate chain in PEM form")]
    ChainUnreadable,
    /// The key cannot be read.
    #[error(
        "tls.key of the gate's TLS Secret holds no private key that can be used: put an unencrypted one there, in PEM form"
    )]
    KeyUnreadable,
    /// Certificate and key are of two pairs.
    #[error("tls.crt and tls.key of the gate's TLS Secret do not belong together: replace both")]
    Mismatch,
    /// It has ended.
    #[error(
        "the certificate in the gate's TLS Secret ended at {at}, by this machine's clock: replace it, or set the clock"
    )]
    Ended {
        /// When.
        at: Timestamp,
    },
}

impl CertificateError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::CertificateInvalid
    }
}

/// A certificate chain and its key, checked.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Certificate {
    /// Judges a chain and a key, both PEM.
    pub fn judge(chain: &str, key: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::ChainUnreadable)?;
        let first = chain.first().ok_or(CertificateError::ChainUnreadable)?;
        let ends_at = end(first).ok_or(CertificateError::ChainUnreadable)?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::KeyUnreadable)?;
        let key = default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| CertificateError::KeyUnreadable)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::Mismatch)?;
        if ends_at <= now {
            return Err(CertificateError::Ended { at: ends_at });
        }
        Ok(Self {
            key: Arc::new(key),
            ends_at,
        })
    }
}

/// The certificate in effect.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Shown {
    /// Shows this one from now on.
    pub fn show(&self, certificate: &Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&certificate.key));
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// TLS as the gate speaks it: 1.2 or 1.3, HTTP/1.1 inside.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        // Sessions are not resumed: who comes anew sees the certificate that is shown now.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// The ciphers with AES-128 first, as the store behind the gate chooses too: what passes is sealed already, and a longer key takes a third
/// more rounds for each byte.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When a certificate ends: the second time of the fifth field of its first field, RFC 5280 section 4.1.
fn end(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, body, _) = element(certificate)?;
    let mut rest = body;
    // The version is left out where it is the first.
    let mut sequences = 0;
    while sequences < 3 {
        let (tag, content, after) = element(rest)?;
        rest = after;
        match tag {
            // Signature algorithm, issuer, validity.
            SEQUENCE => sequences += 1,
            // Version and serial number.
            VERSION | 0x02 => {}
            _ => return None,
        }
        if sequences == 3 {
            let (_, _, after) = element(content)?;
            let (tag, time, _) = element(after)?;
            return moment(tag, std::str::from_utf8(time).ok()?);
        }
    }
    None
}

/// The first element of DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

/// `UTCTime` as `YYMMDDHHMMSSZ`, years up to 2049, or `GeneralizedTime` as `YYYYMMDDHHMMSSZ`.
fn moment(tag: u8, text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use dataembassy_testkit::authority::Authority;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_and_their_end_is_known() {
        let signed = Authority::new("test authority").unwrap().sign(&["gate"]).unwrap();
        let certificate = Certificate::judge(&signed.certificate, &signed.key, now()).unwrap();
        // What rcgen gives where nobody says otherwise.
        assert_eq!(certificate.ends_at.to_string(), "4096-01-01T00:00:00Z");
    }

    #[test]
    fn what_cannot_be_shown_is_refused_for_what_is_wrong_with_it() {
        let authority = Authority::new("test authority").unwrap();
        let (one, other) = (
            authority.sign(&["gate"]).unwrap(),
            authority.sign(&["gate"]).unwrap(),
        );
        let judge = |chain: &str, key: &str, now| Certificate::judge(chain, key, now).unwrap_err();
        let later = "4100-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(judge("", &one.key, now()), CertificateError::ChainUnreadable);
        assert_eq!(
            judge(&one.key, &one.key, now()),
            CertificateError::ChainUnreadable
        );
        assert_eq!(
            judge(&one.certificate, &one.certificate, now()),
            CertificateError::KeyUnreadable
        );
        assert_eq!(
            judge(&one.certificate, &other.key, now()),
            CertificateError::Mismatch
        );
        assert!(matches!(
            judge(&one.certificate, &one.key, later),
            CertificateError::Ended { .. }
        ));
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let read = |tag, text| moment(tag, text).map(|time| time.to_string());
        assert_eq!(read(0x17, "270131235959Z").unwrap(), "2027-01-31T23:59:59Z");
        assert_eq!(read(0x17, "990131235959Z").unwrap(), "1999-01-31T23:59:59Z");
        assert_eq!(read(0x18, "20520131235959Z").unwrap(), "2052-01-31T23:59:59Z");
        for (tag, text) in [
            (0x17, "270131235959"),
            (0x17, "271331235959Z"),
            (0x18, "270131235959Z"),
            (0x17, "+70131235959Z"),
            (0x02, "270131235959Z"),
        ] {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }

    #[test]
    fn no_cut_certificate_makes_the_reader_fall() {
        let signed = Authority::new("test authority").unwrap().sign(&["gate"]).unwrap();
        let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
        for length in 0..certificate.len() {
            assert_eq!(end(&certificate[..length]), None, "{length} bytes");
        }
        assert!(end(&certificate).is_some());
    }
}
