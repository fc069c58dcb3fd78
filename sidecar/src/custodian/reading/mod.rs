//! Level 2: every byte of every living copy is read back within the verification period and compared with the ledger, one copy at a time,
//! a few objects in flight, never faster than allowed. A reading that is interrupted goes on where it stopped.

mod copy;
pub mod object;
pub mod pace;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_ledger::RegistryId;
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::configuration::Configuration;
use super::office::Office;
use super::registry::Holdings;
use super::registry::holdings::Held;
use crate::store::Store;
use copy::Ended;
use pace::Pace;

/// Between two looks for something to read while nothing is due.
const REST: Duration = Duration::from_secs(5);
/// How long to wait for a store that does not answer.
const OUTAGE: Duration = Duration::from_secs(10);

/// What there is to read.
#[derive(Clone)]
pub struct Library {
    /// The store.
    pub store: Store,
    /// How hard it may be used.
    pub configuration: Arc<Configuration>,
    /// Each registry's copies.
    pub shelves: Vec<(RegistryId, Arc<Holdings>)>,
}

/// Reads copies back, one after the other.
pub struct Reader {
    office: Arc<Office>,
    library: watch::Receiver<Option<Arc<Library>>>,
    ending: CancellationToken,
    pace: Pace,
}

/// A copy that is to be read.
#[derive(Clone)]
struct Chosen {
    registry: RegistryId,
    holdings: Arc<Holdings>,
    sequence: Sequence,
}

impl Reader {
    /// A reader that has not begun.
    #[must_use]
    pub fn new(
        office: Arc<Office>,
        library: watch::Receiver<Option<Arc<Library>>>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            office,
            library,
            ending,
            pace: Pace::new(1),
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        while !self.ending.is_cancelled() {
            let library = self.library.borrow_and_update().clone();
            let rest = match library {
                Some(library) => self.work(&library).await,
                None => REST,
            };
            if rest.is_zero() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.office.to_read.notified() => {}
                () = self.ending.cancelled() => {}
                changed = self.library.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Does the most urgent thing; returns how long to rest after it.
    async fn work(&self, library: &Library) -> Duration {
        self.pace.set(library.configuration.bytes_per_second);
        let now = Timestamp::now();
        let damaged = choose(library, |held| plan::is_to_recheck(held, now).then_some(()));
        let ended = match (damaged, most_urgent(library)) {
            (Some(chosen), _) => copy::recheck(library, &chosen, &self.pace).await,
            (None, Some(chosen)) => self.read(library, &chosen).await,
            (None, None) => return REST,
        };
        match ended {
            Ended::Read | Ended::Interrupted => Duration::ZERO,
            Ended::StoreAway => OUTAGE,
        }
    }

    /// Reads a copy until something is more urgent; then this one waits where it stopped.
    async fn read(&self, library: &Library, chosen: &Chosen) -> Ended {
        let is_outdone = || {
            let next = most_urgent(library);
            next.is_none_or(|next| next.registry != chosen.registry || next.sequence != chosen.sequence)
        };
        let is_over = || self.ending.is_cancelled() || self.library.has_changed().unwrap_or(true);
        tokio::select! {
            ended = copy::read(library, chosen, &self.pace, is_over, is_outdone) => ended,
            () = self.ending.cancelled() => Ended::Interrupted,
        }
    }
}

fn most_urgent(library: &Library) -> Option<Chosen> {
    let (now, period) = (Timestamp::now(), library.configuration.period);
    choose(library, |held| plan::urgency(held, now, period))
}

/// The copy with the least rank among those that have one.
fn choose<R: Ord>(library: &Library, rank: impl Fn(&Held) -> Option<R>) -> Option<Chosen> {
    let mut best: Option<(R, Chosen)> = None;
    for (registry, holdings) in &library.shelves {
        let state = holdings.lock();
        // What earlier proofs say of these copies is not known yet.
        if !state.history_known {
            continue;
        }
        for held in state.copies.values() {
            let Some(rank) = rank(held) else { continue };
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                let chosen = Chosen {
                    registry: registry.clone(),
                    holdings: Arc::clone(holdings),
                    sequence: held.reference.sequence,
                };
                best = Some((rank, chosen));
            }
        }
    }
    best.map(|(_, chosen)| chosen)
}
