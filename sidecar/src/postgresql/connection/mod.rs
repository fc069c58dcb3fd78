//! One session with a `PostgreSQL` server: simple queries with text rows, COPY in both directions, cancel.
//!
//! Only the simple query protocol is spoken, but for a statement that somebody else wrote. Statements are bytes, because a name in a LATIN1 database is no UTF-8.
//! A conversation that is dropped half-way leaves its connection unusable, and every later call says so.

mod cancel;
mod copy;
mod error;
pub(crate) mod frames;
mod rows;
mod server_error;
mod single;
mod startup;
mod tls;
mod transport;

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{io::AsyncWriteExt, time::timeout};

pub use cancel::CancelKey;
pub(crate) use cancel::CancelOnDrop;
pub use copy::{CopyIn, CopyOut};
pub use error::ConnectionError;
use frames::{Frame, Frames};
pub use rows::{Row, Rows};
pub use server_error::ServerError;
pub(crate) use server_error::withhold_values;
pub use single::FirstRows;
pub use transport::Peer;
pub(crate) use transport::{Stream, USER_TIMEOUT};

use super::source::Source;

/// What an error, a notice, a parameter or a row description may weigh.
const CONTROL_LIMIT: usize = 1024 * 1024;

/// A session with a server.
pub struct Connection {
    frames: Frames<Stream>,
    out: BytesMut,
    peer: Peer,
    process_id: i32,
    secret_key: i32,
    parameters: BTreeMap<String, String>,
    transaction: u8,
    busy: bool,
}

impl Connection {
    /// Connects and authenticates within the source's `connect_timeout`.
    pub async fn open(source: &Source) -> Result<Self, ConnectionError> {
        Self::open_at(source, None).await
    }

    /// As [`open`](Self::open), to the one address that the first connection of a run went to, so that a name with
    /// several addresses cannot lead to several servers.
    pub async fn open_at(source: &Source, peer: Option<Peer>) -> Result<Self, ConnectionError> {
        let opening = async {
            let (stream, peer) = transport::connect(source, peer).await?;
            let mut connection = Self {
                frames: Frames::new(stream),
                out: BytesMut::new(),
                peer,
                process_id: 0,
                secret_key: 0,
                parameters: BTreeMap::new(),
                transaction: b'I',
                busy: false,
            };
            connection.start(source).await?;
            Ok(connection)
        };
        timeout(source.connect_timeout, opening)
            .await
            .unwrap_or_else(|_| {
                Err(ConnectionError::ConnectTimeout {
                    place: source.way.to_string(),
                    seconds: source.connect_timeout.as_secs(),
                })
            })
    }

    /// The server that is connected to.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The server process that it said serves us.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// What the server last reported of this parameter, such as `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// All parameters that the server reported.
    #[must_use]
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// What it takes to cancel this session's statement from outside.
    #[must_use]
    pub fn cancel_key(&self) -> CancelKey {
        CancelKey {
            peer: self.peer,
            process_id: self.process_id,
            secret_key: self.secret_key,
        }
    }

    /// Runs statements and gives their rows, together at most `limit` bytes.
    pub async fn query_within(
        &mut self,
        statements: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, ConnectionError> {
        let mut rows = self.rows(statements, limit).await?;
        let mut all = Vec::new();
        let mut left = limit;
        while let Some(row) = rows.next().await? {
            left = left
                .checked_sub(row.len())
                .ok_or(ConnectionError::AnswerTooLarge { limit })?;
            all.push(row);
        }
        Ok(all)
    }

    /// Runs statements and gives their rows, together at most 4 MiB.
    pub async fn query(&mut self, statements: impl AsRef<[u8]>) -> Result<Vec<Row>, ConnectionError> {
        self.query_within(statements, 4 * 1024 * 1024).await
    }

    /// Runs statements for their effect.
    pub async fn execute(&mut self, statements: impl AsRef<[u8]>) -> Result<(), ConnectionError> {
        let mut rows = self.rows(statements, CONTROL_LIMIT).await?;
        while rows.next().await?.is_some() {}
        Ok(())
    }

    /// Runs statements and gives the rows of all results one by one, each at most `limit` bytes.
    pub async fn rows(
        &mut self,
        statements: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Rows<'_>, ConnectionError> {
        self.send_query(statements.as_ref()).await?;
        Ok(Rows::new(self, limit))
    }

    /// Runs one `COPY … TO stdout`.
    pub async fn copy_out(&mut self, statement: impl AsRef<[u8]>) -> Result<CopyOut<'_>, ConnectionError> {
        self.send_query(statement.as_ref()).await?;
        self.begin_copy(b'H').await?;
        Ok(CopyOut::new(self))
    }

    /// Runs one `COPY … FROM stdin`.
    pub async fn copy_in(&mut self, statement: impl AsRef<[u8]>) -> Result<CopyIn<'_>, ConnectionError> {
        self.send_query(statement.as_ref()).await?;
        self.begin_copy(b'G').await?;
        Ok(CopyIn::new(self))
    }

    /// Waits while nothing is asked: returns only when the server ends the session. Safe to abandon between messages.
    pub async fn closed(&mut self) -> ConnectionError {
        loop {
            if let Err(error) = self.idle_message().await {
                return error;
            }
        }
    }

    async fn idle_message(&mut self) -> Result<(), ConnectionError> {
        self.begin()?;
        self.busy = false;
        // Until a header is complete nothing is consumed; bodies of what an idle server sends are small and follow at
        // once, and if this is abandoned between the two, `busy` says so.
        let frame = self.frames.next().await?;
        self.busy = true;
        self.asynchronous(frame).await?;
        self.busy = false;
        Ok(())
    }

    /// Says goodbye. Without it the server notices the closed socket just as well, and logs it.
    pub async fn close(mut self) {
        let mut goodbye = BytesMut::with_capacity(5);
        postgres_protocol::message::frontend::terminate(&mut goodbye);
        // Nothing depends on it: the session ends either way.
        let _ = self.frames.stream.write_all(&goodbye).await;
        let _ = self.frames.stream.shutdown().await;
    }

    /// Gives the stream away, authenticated and ready for queries, for somebody else to speak on.
    pub(crate) fn into_stream(self) -> Stream {
        debug_assert_eq!(self.frames.buffered(), 0, "an idle session has nothing unread");
        self.frames.stream
    }

    /// Sends one simple query.
    pub(crate) async fn send_query(&mut self, statements: &[u8]) -> Result<(), ConnectionError> {
        self.begin()?;
        if statements.contains(&0) {
            self.busy = false;
            return Err(ConnectionError::Protocol(
                "a statement with a zero byte cannot be sent".into(),
            ));
        }
        let length = i32::try_from(statements.len() + 5)
            .map_err(|_| ConnectionError::Protocol("a statement beyond 2 GiB cannot be sent".into()))?;
        self.out.put_u8(b'Q');
        self.out.put_i32(length);
        self.out.put_slice(statements);
        self.out.put_u8(0);
        self.flush().await
    }

    fn begin(&mut self) -> Result<(), ConnectionError> {
        if std::mem::replace(&mut self.busy, true) {
            Err(ConnectionError::Abandoned)
        } else {
            Ok(())
        }
    }

    async fn begin_copy(&mut self, expected: u8) -> Result<(), ConnectionError> {
        loop {
            let frame = self.frames.next().await?;
            match frame.tag {
                tag if tag == expected => {
                    self.frames.body(CONTROL_LIMIT).await?;
                    return Ok(());
                }
                b'Z' => {
                    self.ready().await?;
                    return Err(ConnectionError::Protocol("the statement was no COPY".into()));
                }
                _ => self.asynchronous(frame).await?,
            }
        }
    }

    /// Handles what may arrive at any time, and errors: those are read to the end of the exchange and returned.
    pub(crate) async fn asynchronous(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match frame.tag {
            // Nobody has asked for what a notice says.
            b'N' => self.frames.body(CONTROL_LIMIT).await.map(drop),
            b'S' => {
                let body = self.frames.body(CONTROL_LIMIT).await?;
                self.note_parameter(&body);
                Ok(())
            }
            b'A' => Ok(()),
            b'E' => {
                let error = ServerError::from_body(&self.frames.body(CONTROL_LIMIT).await?);
                self.recover(error).await
            }
            tag => Err(ConnectionError::Protocol(format!(
                "unexpected message {:?}",
                char::from(tag)
            ))),
        }
    }

    /// After an error of a simple query the server skips the rest and says that it is ready; after a fatal one it is
    /// gone, and the error says more than the closed socket.
    async fn recover(&mut self, error: ServerError) -> Result<(), ConnectionError> {
        if error.severity == "ERROR" {
            loop {
                let Ok(frame) = self.frames.next().await else {
                    break;
                };
                if frame.tag == b'Z' {
                    self.ready().await?;
                    break;
                }
            }
        }
        Err(ConnectionError::Server(Box::new(error)))
    }

    pub(crate) async fn ready(&mut self) -> Result<(), ConnectionError> {
        let body = self.frames.body(1).await?;
        self.note_ready(&body);
        Ok(())
    }

    fn note_ready(&mut self, body: &[u8]) {
        self.transaction = body.first().copied().unwrap_or(b'E');
        self.busy = false;
    }

    fn note_parameter(&mut self, body: &[u8]) {
        let mut parts = body
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned());
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.insert(name, value);
        }
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        let stream = &mut self.frames.stream;
        stream.write_all(&self.out).await.map_err(ConnectionError::Lost)?;
        self.out.clear();
        stream.flush().await.map_err(ConnectionError::Lost)
    }
}

/// What the proxy needs to pass a server's answer on without reading it.
impl Connection {
    /// The reader.
    pub(crate) fn frames(&mut self) -> &mut Frames<Stream> {
        &mut self.frames
    }

    /// Whether the session is in a transaction: `I`, `T` or `E`.
    pub(crate) fn transaction(&self) -> u8 {
        self.transaction
    }
}

/// The number in a `CommandComplete` such as `COPY 17` or `INSERT 0 1`.
fn affected_rows(tag: &Bytes) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?.trim_end_matches('\0');
    text.rsplit(' ').next()?.parse().ok()
}
