//! The certificate of a managed database that was given none: an authority of its own, which signs once and is forgotten.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

/// How long authority and certificate last, in years, counted from the day on which the activation was made.
pub const YEARS: i16 = 10;

/// A server's certificate and what it is known by, all PEM.
pub struct Certificate {
    /// What clients trust.
    pub authority: String,
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: Zeroizing<String>,
}

/// The days between which a certificate counts that is made for an activation of this moment: from the day before, for clocks that are slow.
#[must_use]
pub fn validity(made: Timestamp) -> (Date, Date) {
    let day = made.to_zoned(TimeZone::UTC).date();
    (
        day.yesterday().unwrap_or(day),
        // The 29th of February has an anniversary every fourth year only: jiff takes the 28th.
        day.checked_add(jiff::Span::new().years(YEARS)).unwrap_or(day),
    )
}

/// Makes a certificate for a server of these names. The authority's key is gone when this returns, so nothing else is ever signed by it.
pub fn make(names: Vec<String>, made: Timestamp) -> Result<Certificate, rcgen::Error> {
    let (begin, end) = validity(made);
    let lasting = |mut parameters: CertificateParams| {
        let ((year, month, day), last) = (parts(begin), parts(end));
        parameters.not_before = date_time_ymd(year, month, day);
        parameters.not_after = date_time_ymd(last.0, last.1, last.2);
        parameters
    };
    let mut parameters = lasting(CertificateParams::new(Vec::new())?);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "DataEmbassy database authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let authority = parameters.self_signed(&key)?;
    let issuer = Issuer::new(parameters, key);

    let common = names.first().cloned().unwrap_or_default();
    let mut parameters = lasting(CertificateParams::new(names)?);
    parameters.distinguished_name.push(DnType::CommonName, common);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Certificate {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// Year, month and day, as the certificate's builder takes them.
fn parts(day: Date) -> (i32, u8, u8) {
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    (i32::from(day.year()), part(day.month()), part(day.day()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    const NAMES: [&str; 2] = ["population", "population.abroad.svc"];
    const DAY: u64 = 24 * 3600;

    fn checked(made: Timestamp, name: &str, after: i64) -> bool {
        let certificate = make(NAMES.map(str::to_owned).to_vec(), made).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(certificate.authority.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let now = u64::try_from(made.as_second() + after).unwrap();
        let leaf = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            &leaf,
            &[],
            &name,
            &[],
            now,
        )
        .is_ok()
    }

    #[test]
    fn a_client_that_checks_everything_takes_it_for_its_names_and_its_years() {
        let made: Timestamp = "2024-02-29T23:30:00Z".parse().unwrap();
        let day = i64::try_from(DAY).unwrap();
        for name in NAMES {
            assert!(checked(made, name, 0));
            assert!(checked(made, name, -3600), "a clock may be slow");
            assert!(checked(made, name, 3651 * day));
            assert!(!checked(made, name, 3654 * day));
            assert!(!checked(made, name, -2 * day));
        }
        assert!(!checked(made, "business", 0));
    }
}
