//! What every session of a run has in common: settings that decide how values are written, and the server they are on.
//!
//! Each setting below was once a loss without an error: a database or role may set any of them to something else.

use std::time::Duration;

use super::{Connection, ConnectionError, connection::Peer};

/// Settings that make all sessions write and read values alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TextSettings {
    /// Encoding of the archive: what its `toc.dat` says.
    pub client_encoding: String,
    /// The source's `lc_monetary`: `money` is written with it.
    pub lc_monetary: String,
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A setting did not take.
    #[error("the session's {name} is {found:?} after it was set to {wanted:?}")]
    SettingRefused {
        /// The setting.
        name: &'static str,
        /// What was asked for.
        wanted: String,
        /// What the server reads back.
        found: String,
    },
    /// The process that answers is not the one that we logged in to.
    #[error(
        "a connection pooler stands between us and the database (process {told} was announced, {found} answers); connect to the server itself"
    )]
    Pooler {
        /// The process announced at login.
        told: i32,
        /// The process that answered.
        found: i32,
    },
    /// Two connections led to two servers.
    #[error(
        "two connections led to two servers: {first} and {second}; the host must lead to one server, no pooler and no load balancer"
    )]
    NotOneServer {
        /// Where the first connection is.
        first: Box<ServerIdentity>,
        /// Where this one is.
        second: Box<ServerIdentity>,
    },
}

/// Which server this is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerIdentity {
    /// `pg_control_system().system_identifier`: made by initdb, shared with physical standbys.
    pub system_identifier: String,
    /// When the server process started, in microseconds since 1970: differs between a primary and its standbys.
    pub started: i64,
    /// The address and port on which the server sees us.
    pub address: String,
}

impl std::fmt::Display for ServerIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "system {} at {} started {} µs",
            self.system_identifier, self.address, self.started
        )
    }
}

/// Reads which server the session is on, and that nobody stands in between.
pub async fn identify(connection: &mut Connection) -> Result<ServerIdentity, SessionError> {
    let rows = connection
        .query(
            "SELECT s.system_identifier, \
             (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8, \
             coalesce(pg_catalog.host(pg_catalog.inet_server_addr()) || ':' || pg_catalog.inet_server_port(), 'local'), \
             pg_catalog.pg_backend_pid() FROM pg_catalog.pg_control_system() s",
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| ConnectionError::Protocol("the server does not identify itself".into()))?;
    let (told, found) = (connection.process_id(), row.value(3)?);
    if told != found {
        return Err(SessionError::Pooler { told, found });
    }
    Ok(ServerIdentity {
        system_identifier: row.text(0)?.to_owned(),
        started: row.value(1)?,
        address: row.text(2)?.to_owned(),
    })
}

/// Checks that the session is on the server that the run began with.
pub async fn expect_server(connection: &mut Connection, first: &ServerIdentity) -> Result<(), SessionError> {
    let second = identify(connection).await?;
    if &second == first {
        Ok(())
    } else {
        Err(SessionError::NotOneServer {
            first: Box::new(first.clone()),
            second: Box::new(second),
        })
    }
}

/// Sets what decides how values are written and what a session may cost, and reads it back.
pub async fn settle(connection: &mut Connection, text: &TextSettings) -> Result<(), SessionError> {
    let wanted = settings(connection, text);
    apply(connection, wanted).await
}

/// What a session in a transaction may have to wait for before it is spoken to, or read from, again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// Only for us, who have a heartbeat.
    Us,
    /// For a store behind a narrow line: rows that were read wait for a place in memory, and one comes free when a segment is stored. At the
    /// slowest rate that is no stall, all that are in memory take 18 minutes.
    Store,
}

/// Has the server end a session that is left alone for longer than it may have to wait; one that is settled awaits us.
pub async fn wait_for(connection: &mut Connection, whom: Awaits) -> Result<(), SessionError> {
    let wanted = patience(connection, whom);
    apply(connection, wanted).await
}

/// How long the server bears a session that is not spoken to, and one that is not read from: to it a reader that waits acknowledges nothing.
fn patience(connection: &Connection, whom: Awaits) -> Vec<(&'static str, String)> {
    // A sidecar that vanished with its node must not hold locks and the snapshot for long. A heartbeat keeps living sessions below the minute.
    let (idle, unread) = match whom {
        Awaits::Us => ("1min", super::connection::USER_TIMEOUT),
        Awaits::Store => ("20min", Duration::from_mins(20)),
    };
    let mut settings = vec![("idle_in_transaction_session_timeout", idle.to_owned())];
    // Where there is no TCP the server reads it back as 0, whatever it was set to.
    if connection.peer() != Peer::Cell {
        settings.push(("tcp_user_timeout", unread.as_millis().to_string()));
        // While pg_dump plans it lets its session idle without an end. The system's own keepalive would miss a node that vanished then for hours.
        settings.push(("tcp_keepalives_idle", "30".to_owned()));
        settings.push(("tcp_keepalives_interval", "10".to_owned()));
    }
    settings
}

async fn apply(connection: &mut Connection, wanted: Vec<(&'static str, String)>) -> Result<(), SessionError> {
    let calls: Vec<_> = wanted
        .iter()
        .map(|(name, value)| format!("pg_catalog.set_config('{name}', {}, false)", literal(value)))
        .collect();
    connection.execute(format!("SELECT {}", calls.join(", "))).await?;
    let names: Vec<_> = wanted
        .iter()
        .map(|(name, _)| format!("pg_catalog.current_setting('{name}')"))
        .collect();
    let rows = connection.query(format!("SELECT {}", names.join(", "))).await?;
    let row = rows
        .first()
        .ok_or_else(|| ConnectionError::Protocol("no settings were read back".into()))?;
    for (column, (name, wanted)) in wanted.into_iter().enumerate() {
        let found = row.text(column)?;
        if found != wanted {
            return Err(SessionError::SettingRefused {
                name,
                wanted,
                found: found.to_owned(),
            });
        }
    }
    Ok(())
}

fn settings(connection: &Connection, text: &TextSettings) -> Vec<(&'static str, String)> {
    let mut settings: Vec<(&'static str, String)> = [
        ("row_security", "off"),
        ("search_path", ""),
        ("datestyle", "ISO, MDY"),
        ("intervalstyle", "postgres"),
        ("extra_float_digits", "3"),
        ("synchronize_seqscans", "off"),
        ("timezone", "UTC"),
        ("bytea_output", "hex"),
        ("xmlbinary", "base64"),
        ("quote_all_identifiers", "off"),
        ("standard_conforming_strings", "on"),
        ("max_parallel_workers_per_gather", "0"),
        ("jit", "off"),
        ("enable_tidscan", "on"),
        ("statement_timeout", "0"),
        // What the plan has locked nobody waits for; configuration tables of extensions are not among that.
        ("lock_timeout", "2min"),
        ("idle_session_timeout", "0"),
        ("client_connection_check_interval", "10s"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect();
    settings.push(("client_encoding", text.client_encoding.clone()));
    settings.push(("lc_monetary", text.lc_monetary.clone()));
    settings.extend(patience(connection, Awaits::Us));
    if major_version(connection).is_some_and(|major| major >= 17) {
        settings.push(("transaction_timeout", "0".into()));
    }
    settings
}

/// The server's major version, from what it reported at login.
#[must_use]
pub fn major_version(connection: &Connection) -> Option<u32> {
    connection
        .parameter("server_version")?
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// A string as an SQL literal, whatever `standard_conforming_strings` is.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A name as a quoted SQL identifier.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
