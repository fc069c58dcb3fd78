//! What can go wrong between the sidecar and a server, named by what one can do about it.

use std::{io, net::IpAddr};

use super::ServerError;

/// Why a connection could not be made or was lost.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The host's name has no address.
    #[error(
        "cannot resolve the database host {host}: {error}; check spec.source.postgresql.host and the cluster's DNS"
    )]
    Resolve {
        /// The name asked for.
        host: String,
        /// The resolver's answer.
        error: io::Error,
    },
    /// The guard refuses the address.
    #[error("the address {address} of {host} may not be connected to: {reason}")]
    AddressRefused {
        /// The host.
        host: String,
        /// The address it resolved to.
        address: IpAddr,
        /// The guard's reason.
        reason: String,
    },
    /// No address answers.
    #[error("cannot connect to {place}: {error}; check host, port and network policies")]
    Unreachable {
        /// Host and port, or a socket.
        place: String,
        /// The last address's error.
        error: io::Error,
    },
    /// Connecting took too long.
    #[error("{place} did not complete a connection in {seconds} s; check host, port and network policies")]
    ConnectTimeout {
        /// Host and port, or a socket.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// The server is there but does not accept sessions now.
    #[error("the server does not accept sessions now: {0}")]
    NotAccepting(Box<ServerError>),
    /// The server has no TLS.
    #[error(
        "the server refuses TLS; set ssl = on and give it a certificate, a database is never read in the clear"
    )]
    TlsRefused,
    /// The TLS material of the configuration cannot be used.
    #[error("the {what} cannot be used: {why}")]
    TlsMaterial {
        /// Which part of the configuration.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The TLS handshake failed.
    #[error(
        "TLS with {host} failed: {error}; check the authority in tls.caRef and the name in the server's certificate"
    )]
    TlsFailed {
        /// The host.
        host: String,
        /// What rustls says.
        error: io::Error,
    },
    /// The server wants the password in the clear.
    #[error(
        "the server asks for the password in clear text, which is refused; use scram-sha-256 in pg_hba.conf and password_encryption"
    )]
    CleartextRefused,
    /// The server wants an md5 hash of the password.
    #[error(
        "the server asks for an md5 password, which is refused; use scram-sha-256 in pg_hba.conf and set the role's password again"
    )]
    Md5Refused,
    /// The server wants something else (GSSAPI, SSPI, …).
    #[error(
        "the server asks for authentication method {0}, which is not supported; use scram-sha-256 or cert in pg_hba.conf"
    )]
    AuthenticationUnsupported(i32),
    /// The server let us in without any proof.
    #[error(
        "the server asks for no authentication (trust), so it did not prove that it knows the role; use scram-sha-256 or cert in pg_hba.conf"
    )]
    AuthenticationMissing,
    /// SCRAM is asked for and there is no password.
    #[error("the server asks for a password and the credentials Secret has none; add the key password")]
    PasswordMissing,
    /// Wrong role or password.
    #[error("the server refuses the role: {0}; check username and password in the credentials Secret")]
    AuthenticationFailed(Box<ServerError>),
    /// The server could not prove that it knows the password.
    #[error("the server's own proof in SCRAM is wrong ({0}): it does not know the role's password")]
    ServerNotAuthentic(io::Error),
    /// There is no such database.
    #[error("{0}; check spec.source.postgresql.database")]
    DatabaseMissing(Box<ServerError>),
    /// All connections are taken.
    #[error("the server has no connection left for us: {0}")]
    ConnectionsExhausted(Box<ServerError>),
    /// The server answered a statement with an error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The server sent what the protocol does not allow.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// An answer is larger than what its reader allows.
    #[error("the server's answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The reader's limit.
        limit: usize,
    },
    /// The connection was closed or broke.
    #[error("the connection to the server was lost: {0}")]
    Lost(io::Error),
    /// An earlier conversation on this connection was dropped half-way.
    #[error("an earlier statement on this connection was abandoned half-way")]
    Abandoned,
}

impl ConnectionError {
    /// The server's own words, when the server answered.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error)
            | Self::NotAccepting(error)
            | Self::AuthenticationFailed(error)
            | Self::DatabaseMissing(error)
            | Self::ConnectionsExhausted(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the server answered with this SQLSTATE.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.server().is_some_and(|error| error.code == code)
    }

    /// Sorts an error that ends the startup of a session.
    pub(super) fn at_startup(error: ServerError) -> Self {
        let error = Box::new(error);
        match error.code.as_str() {
            "28000" | "28P01" => Self::AuthenticationFailed(error),
            "3D000" => Self::DatabaseMissing(error),
            "53300" => Self::ConnectionsExhausted(error),
            "57P03" | "57P01" | "57P02" => Self::NotAccepting(error),
            _ => Self::Server(error),
        }
    }
}
