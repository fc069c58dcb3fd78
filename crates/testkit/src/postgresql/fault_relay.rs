//! A relay in front of a real server that is slow, stalls, cuts, refuses and talks nonsense on demand. It ends TLS with the server's own
//! certificate, so that a password that is bound to it passes, and counts what the server says by its plain bytes.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Server;
use super::relay::Ends;
use crate::seed::Dice;

/// What can be wrong with a database, or with the way to it, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseToxic {
    /// What the server says takes a while.
    Latency,
    /// What the server says comes so many bytes a second.
    Bandwidth,
    /// After some bytes the server says nothing more.
    StallAfterBytes,
    /// After some bytes the connection is cut.
    ResetAfterBytes,
    /// The server has done what it was asked, and nobody hears of it: from the end of a `COPY` or of a transaction on it says nothing more.
    LoseReply,
    /// Connections are refused.
    Refuse,
    /// After some bytes the server says what no server says, and hangs up.
    Garbage,
    /// After some bytes the server announces a message as long as there can be, and sends it without an end.
    EndlessMessage,
}

impl DatabaseToxic {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Latency,
        Self::Bandwidth,
        Self::StallAfterBytes,
        Self::ResetAfterBytes,
        Self::LoseReply,
        Self::Refuse,
        Self::Garbage,
        Self::EndlessMessage,
    ];

    /// Whether what is asked comes right all the same, only later.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Latency | Self::Bandwidth)
    }

    /// Whether nothing is heard any more, on a connection that stays.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::StallAfterBytes | Self::LoseReply)
    }
}

/// How far on a toxic may act: before which of the connections, and before which of the bytes, or of the replies, of one.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    connections: u64,
    bytes: u64,
    replies: u64,
}

impl Place {
    /// Among all that a short run says. It may lie beyond, and then the toxic does not act.
    pub const ANYWHERE: Self = Self {
        connections: 4,
        bytes: 20_000,
        replies: 2,
    };
    /// At the beginning of the first connection, which nobody misses.
    pub const FIRST: Self = Self {
        connections: 1,
        bytes: 64,
        replies: 1,
    };
}

/// A toxic at its place.
#[derive(Clone, Debug)]
struct Dose {
    toxic: DatabaseToxic,
    /// Connections that it spares.
    spared: u64,
    /// Bytes of the server's that pass before it acts; milliseconds of delay; bytes a second; replies that pass before one is lost.
    after: u64,
    seed: u64,
    /// On how many connections it has acted.
    struck: Arc<AtomicU64>,
}

impl Dose {
    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }
}

/// A running relay; dropping it closes its port.
pub struct FaultRelay {
    port: u16,
    dose: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    dose: Option<Dose>,
    /// What the latest dose has struck, also after it was taken back.
    struck: Arc<AtomicU64>,
    healed: watch::Sender<u64>,
}

impl FaultRelay {
    /// Stands before `server`.
    pub async fn start(server: &Server) -> Result<Self> {
        let ends = Arc::new(Ends::before(server, server.certificate())?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let dose = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&dose);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (dose, mut healed) = (next_dose(&shared), lock(&shared).healed.subscribe());
                let ends = Arc::clone(&ends);
                connections.spawn(async move {
                    let poisoned = dose.as_ref().is_some_and(|dose| !dose.toxic.is_harmless());
                    // How a connection ends is its client's business.
                    tokio::select! {
                        ended = relay(client, ends, dose) => drop(ended),
                        _ = healed.changed(), if poisoned => {}
                    }
                });
            }
        });
        Ok(Self {
            port,
            dose,
            accepting,
        })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Poisons what comes from now on, at a place that the dice say.
    pub fn poison(&self, toxic: DatabaseToxic, dice: &mut Dice) {
        self.poison_within(toxic, dice, Place::ANYWHERE);
    }

    /// The same, not farther on than `farthest`.
    pub fn poison_within(&self, toxic: DatabaseToxic, dice: &mut Dice, farthest: Place) {
        let after = match toxic {
            DatabaseToxic::Latency => 1 + dice.below(20),
            DatabaseToxic::Bandwidth => (256 + dice.below(768)) * 1024,
            DatabaseToxic::LoseReply => dice.below(farthest.replies),
            _ => dice.below(farthest.bytes),
        };
        let spared = if toxic.is_harmless() {
            0
        } else {
            dice.below(farthest.connections)
        };
        self.give(toxic, spared, after, dice.throw());
    }

    /// Poisons each connection that comes from now on in the same way, after so many bytes of the server's; for [`DatabaseToxic::Latency`] these
    /// are milliseconds, for [`DatabaseToxic::Bandwidth`] bytes a second, for [`DatabaseToxic::LoseReply`] replies.
    pub fn poison_all(&self, toxic: DatabaseToxic, after: u64) {
        self.give(toxic, 0, after, 0);
    }

    fn give(&self, toxic: DatabaseToxic, spared: u64, after: u64, seed: u64) {
        let struck = Arc::<AtomicU64>::default();
        let mut state = lock(&self.dose);
        state.struck = Arc::clone(&struck);
        state.dose = Some(Dose {
            toxic,
            spared,
            after,
            seed,
            struck,
        });
    }

    /// Passes on what comes from now on, and cuts what stalls.
    pub fn heal(&self) {
        let mut state = lock(&self.dose);
        state.dose = None;
        state.healed.send_modify(|times| *times += 1);
    }

    /// On how many connections the latest toxic has acted: a connection that ends before the toxic's place has met none.
    #[must_use]
    pub fn met(&self) -> u64 {
        lock(&self.dose).struck.load(Ordering::Relaxed)
    }
}

impl Drop for FaultRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn next_dose(state: &Mutex<State>) -> Option<Dose> {
    let mut state = lock(state);
    let dose = state.dose.as_mut()?;
    if dose.spared > 0 {
        dose.spared -= 1;
        return None;
    }
    Some(dose.clone())
}

async fn relay(client: TcpStream, ends: Arc<Ends>, dose: Option<Dose>) -> Result<()> {
    if let Some(dose) = dose.as_ref().filter(|dose| dose.toxic == DatabaseToxic::Refuse) {
        dose.strike();
        bail!("refused");
    }
    let (client, server) = ends.join(client).await?;
    let (mut from_client, to_client) = io::split(client);
    let (from_server, mut to_server) = io::split(server);
    let answered = async {
        match dose {
            Some(dose) if dose.toxic == DatabaseToxic::LoseReply => {
                lose_reply(from_server, to_client, &dose).await
            }
            dose => answer(from_server, to_client, dose).await,
        }
    };
    tokio::select! {
        asked = io::copy(&mut from_client, &mut to_server) => drop(asked?),
        answered = answered => answered?,
    }
    Ok(())
}

/// Passes on what the server says, until the toxic acts.
async fn answer(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    dose: Option<Dose>,
) -> Result<()> {
    let mut left = match &dose {
        Some(dose) if !dose.toxic.is_harmless() => dose.after,
        _ => u64::MAX,
    };
    let mut is_first = true;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            break;
        }
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Ok(());
        }
        let pause = match &dose {
            Some(dose) if dose.toxic == DatabaseToxic::Latency => Duration::from_millis(dose.after),
            Some(dose) if dose.toxic == DatabaseToxic::Bandwidth => {
                Duration::from_micros(1_000_000 * read as u64 / dose.after.max(1))
            }
            _ => Duration::ZERO,
        };
        if !pause.is_zero() {
            if let Some(dose) = dose.as_ref().filter(|_| std::mem::take(&mut is_first)) {
                dose.strike();
            }
            tokio::time::sleep(pause).await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        left -= read as u64;
    }
    let Some(dose) = dose else { return Ok(()) };
    dose.strike();
    match dose.toxic {
        DatabaseToxic::StallAfterBytes => std::future::pending().await,
        DatabaseToxic::Garbage => {
            let mut dice = Dice::new(dose.seed, "garbage");
            let noise: Vec<u8> = (0..64 * 1024).map(|_| dice.throw().to_le_bytes()[0]).collect();
            to.write_all(&noise).await?;
            to.flush().await?;
            bail!("nothing that anybody understands")
        }
        DatabaseToxic::EndlessMessage => {
            let announced = u32::try_from(i32::MAX)?.to_be_bytes();
            to.write_all(&[&[b'D'][..], &announced].concat()).await?;
            let nothing = vec![0; 64 * 1024];
            loop {
                to.write_all(&nothing).await?;
                to.flush().await?;
            }
        }
        _ => bail!("reset"),
    }
}

/// Passes on whole messages, and none any more from the one on that says that a `COPY` or a transaction has ended, as many of those apart as the dose
/// spares.
async fn lose_reply(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    dose: &Dose,
) -> Result<()> {
    let mut spared = dose.after;
    loop {
        let tag = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; usize::try_from(length.checked_sub(4).context("a length")?)?];
        from.read_exact(&mut body).await?;
        if tag == b'C' && (body.starts_with(b"COPY ") || body.starts_with(b"COMMIT")) {
            let Some(left) = spared.checked_sub(1) else {
                dose.strike();
                return std::future::pending().await;
            };
            spared = left;
        }
        to.write_all(&[&[tag][..], &length.to_be_bytes(), &body].concat())
            .await?;
        to.flush().await?;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
