//! A relay that remembers what the server before which it stands has copied out, and answers the same COPY from memory from then on: a source
//! that costs nothing.
//!
//! It ends TLS with the server's own certificate, so that a password that is bound to it passes. All but those COPYs is passed on: snapshots,
//! locks and catalogues are the server's own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Server;
use super::relay::Ends;

/// What is read at once.
const READ_AHEAD: usize = 256 * 1024;
/// A message's type and its length, which counts itself.
const HEADER: usize = 5;

/// A running relay; dropping it closes its port and forgets.
pub struct RememberingRelay {
    port: u16,
    memory: Arc<Memory>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Memory {
    /// What the server said to a statement, to the word that it is ready again.
    answers: Mutex<BTreeMap<Bytes, Bytes>>,
    /// COPYs that the server was asked for.
    passed_on: AtomicU64,
}

/// A COPY that the server answers.
struct Heard {
    statement: Bytes,
    answer: Vec<u8>,
    failed: bool,
}

/// Which side has said something, and how many bytes; none where it has hung up.
enum Read {
    Client(usize),
    Server(usize),
}

impl RememberingRelay {
    /// Stands before `server`, whose content must not change from now on.
    pub async fn start(server: &Server) -> Result<Self> {
        let ends = Arc::new(Ends::before(server, server.certificate())?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let memory = Arc::new(Memory::default());
        let shared = Arc::clone(&memory);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // How a connection ends is its client's business.
                connections.spawn(relay(client, Arc::clone(&ends), Arc::clone(&shared)));
            }
        });
        Ok(Self {
            port,
            memory,
            accepting,
        })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many COPYs were passed on to the server because nothing was remembered of them.
    #[must_use]
    pub fn passed_on(&self) -> u64 {
        self.memory.passed_on.load(Ordering::Relaxed)
    }

    /// The rows of all COPYs that are remembered, as text: one piece for each.
    #[must_use]
    pub fn rows(&self) -> Vec<Bytes> {
        let answers = self.memory.answers();
        answers.values().map(|answer| Bytes::from(rows(answer))).collect()
    }
}

impl Drop for RememberingRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Memory {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, statement: &Bytes) -> Option<Bytes> {
        self.answers().get(statement).cloned()
    }

    fn keep(&self, heard: Heard) {
        if !heard.failed {
            self.answers().insert(heard.statement, heard.answer.into());
        }
    }
}

async fn relay(client: TcpStream, ends: Arc<Ends>, memory: Arc<Memory>) -> Result<()> {
    let (mut client, mut server) = ends.join(client).await?;
    // The first message has no type.
    let length = client.read_u32().await?;
    let rest = usize::try_from(length)?.checked_sub(4).context("a length")?;
    let mut first = vec![0; rest];
    client.read_exact(&mut first).await?;
    server.write_u32(length).await?;
    server.write_all(&first).await?;
    server.flush().await?;

    let (mut asked, mut told) = (BytesMut::new(), BytesMut::new());
    let mut hearing: Option<Heard> = None;
    loop {
        asked.reserve(READ_AHEAD);
        told.reserve(READ_AHEAD);
        let read = tokio::select! {
            read = client.read_buf(&mut asked) => Read::Client(read?),
            read = server.read_buf(&mut told) => Read::Server(read?),
        };
        match read {
            Read::Client(0) | Read::Server(0) => return Ok(()),
            Read::Client(_) => {
                while let Some(message) = take_message(&mut asked) {
                    let copy = copy_statement(&message);
                    // A client that asks has heard all that was said before.
                    if let Some(answer) = copy.as_ref().and_then(|statement| memory.answer(statement)) {
                        client.write_all(&answer).await?;
                        client.flush().await?;
                        continue;
                    }
                    if let Some(statement) = copy {
                        memory.passed_on.fetch_add(1, Ordering::Relaxed);
                        hearing = Some(Heard {
                            statement,
                            answer: Vec::new(),
                            failed: false,
                        });
                    }
                    server.write_all(&message).await?;
                }
                server.flush().await?;
            }
            Read::Server(_) => {
                let whole = Whole::of(&told);
                client.write_all(&told[..whole.length]).await?;
                client.flush().await?;
                if let Some(heard) = &mut hearing {
                    heard.answer.extend_from_slice(&told[..whole.length]);
                    heard.failed |= whole.has_error;
                }
                if let Some(heard) = hearing.take_if(|_| whole.is_ready) {
                    memory.keep(heard);
                }
                told.advance(whole.length);
            }
        }
    }
}

/// The whole messages that a server's words begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Whole {
    length: usize,
    has_error: bool,
    /// Whether the last of them says that the server is ready for a query.
    is_ready: bool,
}

impl Whole {
    fn of(told: &[u8]) -> Self {
        let mut whole = Self::default();
        while let Some((header, _)) = told[whole.length..].split_first_chunk::<HEADER>() {
            let end = whole.length + length(*header);
            if end > told.len() {
                break;
            }
            whole = Self {
                length: end,
                has_error: whole.has_error || header[0] == b'E',
                is_ready: header[0] == b'Z',
            };
        }
        whole
    }
}

/// How long a message is, its header included.
fn length([_, length @ ..]: [u8; HEADER]) -> usize {
    // No message is shorter than its header, whatever it says.
    (u32::from_be_bytes(length) as usize + 1).max(HEADER)
}

/// A client's next message, if it has arrived whole.
fn take_message(asked: &mut BytesMut) -> Option<Bytes> {
    let (header, _) = asked.split_first_chunk::<HEADER>()?;
    let length = length(*header);
    (asked.len() >= length).then(|| asked.split_to(length).freeze())
}

/// The statement, where a message is a query that copies something.
fn copy_statement(message: &[u8]) -> Option<Bytes> {
    let (header, text) = message.split_first_chunk::<HEADER>()?;
    let statement = text.strip_suffix(&[0])?;
    let is_copy = header[0] == b'Q' && statement.starts_with(b"COPY ");
    is_copy.then(|| Bytes::copy_from_slice(statement))
}

/// What a COPY carries, without the messages around it.
fn rows(mut answer: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(answer.len());
    while let Some((header, _)) = answer.split_first_chunk::<HEADER>() {
        let (message, after) = answer.split_at(length(*header).min(answer.len()));
        if header[0] == b'd' {
            rows.extend_from_slice(&message[HEADER..]);
        }
        answer = after;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn what_has_arrived_in_part_is_not_whole() {
        let row = message(b'd', b"1\n");
        let told = [&row[..], &message(b'Z', b"T"), &row[..6]].concat();
        let whole = |length, is_ready| Whole {
            length,
            has_error: false,
            is_ready,
        };
        assert_eq!(Whole::of(&told[..4]), whole(0, false));
        assert_eq!(Whole::of(&told[..9]), whole(7, false));
        assert_eq!(Whole::of(&told), whole(13, true));
        assert!(Whole::of(&message(b'E', b"no\0")).has_error);
    }

    #[test]
    fn only_a_query_that_copies_is_a_copy_and_only_once_it_is_whole() {
        let copy = message(b'Q', b"COPY public.t (n) TO stdout\0");
        let other = message(b'Q', b"SELECT 1\0");
        let mut asked = BytesMut::from(&[&other[..], &copy[..copy.len() - 1]].concat()[..]);
        let first = take_message(&mut asked).unwrap();
        assert_eq!(copy_statement(&first), None);
        assert_eq!(take_message(&mut asked), None);
        asked.extend_from_slice(&[0]);
        let second = take_message(&mut asked).unwrap();
        assert_eq!(
            copy_statement(&second).unwrap(),
            Bytes::from_static(b"COPY public.t (n) TO stdout")
        );
        assert!(asked.is_empty());
    }

    #[test]
    fn rows_are_what_the_messages_of_a_copy_carry() {
        let answer = [
            message(b'H', &[0, 0, 1, 0, 0]),
            message(b'd', b"1\n"),
            message(b'N', b"a notice\0"),
            message(b'd', b"2\n"),
            message(b'c', b""),
            message(b'C', b"COPY 2\0"),
            message(b'Z', b"T"),
        ];
        assert_eq!(rows(&answer.concat()), b"1\n2\n");
    }
}
