//! A database's Secrets in the folder, and the way to the database that they open.

use std::path::PathBuf;
use std::time::Duration;

use dataembassy_contract::config::TlsMode;
use dataembassy_contract::files;
use dataembassy_contract::report::SecretRole;
use dataembassy_contract::sovereignty::{Loopback, Sovereignty};

use super::folder::{Files, FolderError, Needs};
use crate::postgresql::source::{self, AddressGuard, ClientCertificate, Credentials, Network, Source, Way};
use crate::resolver::Resolver;

/// Who logs in, how, and whom the server's certificate must be signed by.
#[derive(Clone, Debug)]
pub struct DatabaseSecrets {
    user: String,
    credentials: Credentials,
    authorities: Vec<u8>,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub struct DatabasePlace<'a> {
    /// Host name or address.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: &'a str,
    /// What of the server's certificate is checked.
    pub tls: TlsMode,
    /// Whether loopback addresses may be reached.
    pub loopback: Loopback,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// Holds `<major>/bin/pg_dump` and `<major>/bin/pg_restore`.
    pub programs: PathBuf,
}

impl DatabaseSecrets {
    /// Takes the Secrets; what is missing, [`Needs::met`] tells. A client certificate makes the password optional.
    pub fn take(files: &Files, needs: &mut Needs<'_>) -> Result<Self, FolderError> {
        let user = needs
            .take(files::DATABASE_USERNAME, SecretRole::Database)?
            .to_owned();
        let authorities = needs.take(files::DATABASE_CA, SecretRole::DatabaseCa)?.into();
        let credentials = match files.text(files::DATABASE_CERTIFICATE)? {
            Some(chain) => Credentials {
                password: files.text(files::DATABASE_PASSWORD)?.map(str::to_owned),
                client_certificate: Some(ClientCertificate {
                    chain: chain.into(),
                    key: needs
                        .take(files::DATABASE_CERTIFICATE_KEY, SecretRole::Database)?
                        .into(),
                }),
            },
            None => Credentials {
                password: Some(
                    needs
                        .take(files::DATABASE_PASSWORD, SecretRole::Database)?
                        .to_owned(),
                ),
                client_certificate: None,
            },
        };
        Ok(Self {
            user,
            credentials,
            authorities,
        })
    }

    /// The way to the database. The address that is connected to is judged each time.
    #[must_use]
    pub fn into_source(self, place: DatabasePlace<'_>) -> Source {
        let guard = Sovereignty::default().with_loopback(place.loopback);
        Source {
            way: Way::Network(Network {
                host: place.host.to_owned(),
                port: place.port,
                credentials: self.credentials,
                tls: source::Tls {
                    mode: match place.tls {
                        TlsMode::VerifyFull => source::TlsMode::VerifyFull,
                        TlsMode::VerifyCa => source::TlsMode::VerifyCa,
                    },
                    authorities: self.authorities,
                },
                resolver: Resolver::default(),
                address_guard: AddressGuard::new(move |address| {
                    guard.judge_address(address).map_err(|error| error.to_string())
                }),
            }),
            database: place.database.to_owned(),
            user: self.user,
            connect_timeout: place.connect_timeout,
            programs: place.programs,
        }
    }
}
