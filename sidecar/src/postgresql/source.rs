//! Which database, and how it is reached: values only, no I/O.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::resolver::Resolver;

/// A database and everything needed to reach it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where its server is.
    pub way: Way,
    /// The database to connect to.
    pub database: String,
    /// The role to log in as.
    pub user: String,
    /// Time for resolving, connecting, TLS and authentication together.
    pub connect_timeout: Duration,
    /// Holds `<major>/bin/pg_dump` and `<major>/bin/pg_restore` for each major version that is served.
    pub programs: PathBuf,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Way {
    /// At an address. There is no mode without TLS.
    Network(Network),
    /// In the same pod: the throw-away server of a drill.
    Cell(CellSocket),
}

/// A server at an address.
#[derive(Clone, Debug)]
pub struct Network {
    /// DNS name or IP address of the server.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the role proves itself.
    pub credentials: Credentials,
    /// How the server proves itself.
    pub tls: Tls,
    /// Asked for the host's addresses, once for each connection.
    pub resolver: Resolver,
    /// Asked about every address before it is connected to.
    pub address_guard: AddressGuard,
}

/// The socket of a drill's cell. Whoever reaches it is let in as any role that may log in, and nobody proves anything: its folder is shared by
/// the two containers of one pod and lives as long as that. Only a drill makes one.
#[derive(Clone, Debug)]
pub struct CellSocket(PathBuf);

impl CellSocket {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(".s.PGSQL.5432"))
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(formatter, "{}:{}", network.host, network.port),
            Self::Cell(socket) => write!(formatter, "{}", socket.0.display()),
        }
    }
}

impl Way {
    /// What the role proves itself with; nobody does in a cell.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Network(network) => Some(&network.credentials),
            Self::Cell(_) => None,
        }
    }
}

/// How the role proves itself: SCRAM with the password, a client certificate, or both.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Password for SCRAM-SHA-256. Never sent: cleartext and md5 are refused.
    pub password: Option<String>,
    /// PEM of certificate chain and private key.
    pub client_certificate: Option<ClientCertificate>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field(
                "client_certificate",
                &self.client_certificate.as_ref().map(|_| "…"),
            )
            .finish()
    }
}

/// A client certificate, both parts as PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate and its intermediates.
    pub chain: Vec<u8>,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key: Vec<u8>,
}

/// How the server proves itself.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What is checked of the server's certificate.
    pub mode: TlsMode,
    /// PEM of the authorities that may have issued it. System authorities are never used: a registry's database is
    /// not a public web site.
    pub authorities: Vec<u8>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsMode {
    /// It leads to an authority and names the host.
    VerifyFull,
    /// It leads to an authority; its name does not matter.
    VerifyCa,
}

/// Says whether an address may be connected to; the error is the reason why not.
#[derive(Clone)]
pub struct AddressGuard(Arc<dyn Fn(IpAddr) -> Result<(), String> + Send + Sync>);

impl AddressGuard {
    /// A guard that asks `judge`.
    pub fn new(judge: impl Fn(IpAddr) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// A guard that lets every address through.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Ok(()))
    }

    /// Judges one address.
    ///
    /// # Errors
    /// The reason why it may not be connected to.
    pub fn judge(&self, address: IpAddr) -> Result<(), String> {
        (self.0)(address)
    }
}

impl fmt::Debug for AddressGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AddressGuard")
    }
}
