//! Stands between `pg_dump` and the server: everything passes but the data.
//!
//! `pg_dump` logs in to the proxy with nothing; the proxy has its own session. A `COPY … TO stdout` is kept and
//! answered with zero rows, reads of large objects with zero bytes, and the goodbye is swallowed, so that the locks
//! taken for the plan stay with the session. What the proxy does not know it refuses.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::postgresql::connection::{Connection, ConnectionError, ServerError, frames::Frames};

/// The longest statement taken from `pg_dump`: lists of some million tables.
const STATEMENT_LIMIT: usize = 32 * 1024 * 1024;
const ERROR_LIMIT: usize = 1024 * 1024;
const STARTUP_LIMIT: u32 = 10_000;
const PROTOCOL_3: u32 = 3;
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];
/// Gathers small messages to the planner.
const GATHERED: usize = 32 * 1024;

/// OIDs of the large-object functions: fixed since they exist, in every server.
const LO_OPEN: u32 = 952;
const LO_CLOSE: u32 = 953;
const LO_READ: u32 = 954;

/// Why the planner's session ended without a plan.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The session with the server failed.
    #[error(transparent)]
    Server(#[from] ConnectionError),
    /// The planner went away before it said goodbye.
    #[error("pg_dump ended its session in the middle: {0}")]
    PlannerGone(ConnectionError),
    /// Writing to the planner failed.
    #[error("pg_dump cannot be answered: {0}")]
    Answer(io::Error),
    /// The planner did something that the proxy does not know.
    #[error("pg_dump did what is not known of it: {0}")]
    Unknown(String),
}

/// What was kept from a planner's session.
#[derive(Debug, Default)]
pub struct Captured {
    /// The COPY statements, in their order, as bytes in the session's encoding.
    pub copies: Vec<Vec<u8>>,
    /// How many large objects were opened for reading.
    pub large_objects: u64,
}

/// Serves one `pg_dump` until it says goodbye.
///
/// The last error that the server gave the planner is left in `refusal`, with the code that the planner's own words
/// lack: those are in whatever language the server speaks.
pub(super) async fn serve(
    planner: UnixStream,
    server: &mut Connection,
    refusal: &Mutex<Option<ServerError>>,
) -> Result<Captured, ProxyError> {
    let (mut read, write) = planner.into_split();
    greet(&mut read).await?;
    let mut proxy = Proxy {
        planner: Frames::new(read),
        answer: Answer {
            stream: write,
            out: BytesMut::with_capacity(2 * GATHERED),
        },
        server,
        captured: Captured::default(),
        answered: &[],
        refusal,
    };
    proxy.welcome().await?;
    while proxy.exchange().await? {}
    Ok(proxy.captured)
}

/// Reads the startup message. Its user and database do not matter: the session is ours.
async fn greet(planner: &mut OwnedReadHalf) -> Result<(), ProxyError> {
    let lost = |error| ProxyError::PlannerGone(ConnectionError::Lost(error));
    let length = planner.read_u32().await.map_err(lost)?;
    let code = planner.read_u32().await.map_err(lost)?;
    if ENCRYPTION_REQUESTS.contains(&code) {
        return Err(ProxyError::Unknown("asks for encryption on a Unix socket".into()));
    }
    if code >> 16 != PROTOCOL_3 || !(8..=STARTUP_LIMIT).contains(&length) {
        return Err(ProxyError::Unknown(format!(
            "a startup message of {length} bytes for protocol {code:#x}"
        )));
    }
    let mut parameters = vec![0; length as usize - 8];
    planner.read_exact(&mut parameters).await.map_err(lost)?;
    Ok(())
}

struct Proxy<'a> {
    planner: Frames<OwnedReadHalf>,
    answer: Answer,
    server: &'a mut Connection,
    captured: Captured,
    /// Calls that were answered before they were made, in their order.
    answered: &'static [u32],
    refusal: &'a Mutex<Option<ServerError>>,
}

impl Proxy<'_> {
    /// Lets the planner in and tells it what the server told us.
    async fn welcome(&mut self) -> Result<(), ProxyError> {
        self.answer.message(b'R', &0_u32.to_be_bytes());
        for (name, value) in self.server.parameters() {
            self.answer
                .message(b'S', &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        // A key that cancels nothing: the run cancels its own sessions.
        self.answer.message(b'K', &[0; 8]);
        self.answer.ready(self.server.transaction());
        self.answer.flush().await
    }

    /// One message of the planner and the answer to it. Returns whether there are more.
    async fn exchange(&mut self) -> Result<bool, ProxyError> {
        let frame = self.planner.next().await.map_err(ProxyError::PlannerGone)?;
        let body = self
            .planner
            .body(STATEMENT_LIMIT)
            .await
            .map_err(ProxyError::PlannerGone)?;
        match frame.tag {
            b'F' => self.large_object(&body).await?,
            _ if !self.answered.is_empty() => {
                return Err(ProxyError::Unknown("leaves a large object open".into()));
            }
            b'Q' => {
                let statement = body.strip_suffix(b"\0").unwrap_or(&body);
                if super::CapturedCopy::is_copy(statement) {
                    self.keep(statement).await?;
                } else {
                    self.server.send_query(statement).await?;
                    self.relay().await?;
                }
            }
            b'X' => return Ok(false),
            tag => return Err(ProxyError::Unknown(format!("message type {:?}", char::from(tag)))),
        }
        Ok(true)
    }

    async fn keep(&mut self, statement: &[u8]) -> Result<(), ProxyError> {
        self.captured.copies.push(statement.to_vec());
        // Text format, no columns: nothing follows that would have any.
        self.answer.message(b'H', &[0, 0, 0]);
        self.answer.message(b'c', &[]);
        self.answer.message(b'C', b"COPY 0\0");
        self.answer.ready(self.server.transaction());
        self.answer.flush().await
    }

    /// A call of a server function by OID: how libpq reads large objects.
    ///
    /// What `pg_dump` does with an object that it has opened is certain: it reads until it gets nothing, and closes. Both
    /// are answered together with the opening, so that each object costs it one wait instead of three.
    async fn large_object(&mut self, mut call: &[u8]) -> Result<(), ProxyError> {
        let function = call
            .try_get_u32()
            .map_err(|_| ProxyError::Unknown("a call without a function".into()))?;
        if let Some((expected, later)) = self.answered.split_first() {
            self.answered = later;
            return if function == *expected {
                Ok(())
            } else {
                Err(ProxyError::Unknown(format!(
                    "a call of function {function} where {expected} was expected"
                )))
            };
        }
        if function != LO_OPEN {
            return Err(ProxyError::Unknown(format!("a call of function {function}")));
        }
        self.captured.large_objects += 1;
        let transaction = self.server.transaction();
        let done = 0_u32.to_be_bytes();
        for result in [&done[..], &[], &done[..]] {
            self.answer.result(result);
            self.answer.ready(transaction);
        }
        self.answered = &[LO_READ, LO_CLOSE];
        self.answer.flush().await
    }

    /// Passes the server's answer on, bodies as they arrive.
    async fn relay(&mut self) -> Result<(), ProxyError> {
        loop {
            let frame = tokio::select! {
                frame = self.server.frames().next() => frame?,
                // A planner that waits for an answer has nothing to say: either it is gone, or it breaks the protocol.
                said = self.planner.fill() => {
                    return Err(match said {
                        Err(gone) => ProxyError::PlannerGone(gone),
                        Ok(()) => ProxyError::Unknown("speaks before it was answered".into()),
                    });
                }
            };
            match frame.tag {
                b'Z' => {
                    self.server.ready().await?;
                    self.answer.ready(self.server.transaction());
                    return self.answer.flush().await;
                }
                b'E' => {
                    let body = self.server.frames().body(ERROR_LIMIT).await?;
                    *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(ServerError::from_body(&body));
                    self.answer.message(b'E', &body);
                    continue;
                }
                b'T' | b'D' | b'C' | b'I' | b'N' | b'S' => {}
                tag => {
                    return Err(ProxyError::Unknown(format!(
                        "lets the server answer with {:?}",
                        char::from(tag)
                    )));
                }
            }
            self.answer.header(frame.tag, frame.length);
            loop {
                let length = self.server.frames().available().await?;
                if length == 0 {
                    break;
                }
                self.answer.out.put_slice(self.server.frames().take(length));
                self.answer.flush_if_large().await?;
            }
        }
    }
}

/// What goes to the planner.
struct Answer {
    stream: OwnedWriteHalf,
    out: BytesMut,
}

impl Answer {
    fn header(&mut self, tag: u8, length: usize) {
        self.out.put_u8(tag);
        // It was an i32 on its way in, or is one of ours of a few bytes.
        self.out.put_u32(u32::try_from(length + 4).unwrap_or(u32::MAX));
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        self.header(tag, body.len());
        self.out.put_slice(body);
    }

    /// The result of a function call.
    fn result(&mut self, value: &[u8]) {
        self.header(b'V', value.len() + 4);
        self.out.put_u32(u32::try_from(value.len()).unwrap_or_default());
        self.out.put_slice(value);
    }

    fn ready(&mut self, transaction: u8) {
        self.message(b'Z', &[transaction]);
    }

    async fn flush_if_large(&mut self) -> Result<(), ProxyError> {
        if self.out.len() >= GATHERED {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), ProxyError> {
        self.stream
            .write_all_buf(&mut self.out)
            .await
            .map_err(ProxyError::Answer)
    }
}
