//! Level 2: every byte of every living copy is read back within the verification period and compared with the ledger, one copy at a time,
//! a few objects in flight, never faster than allowed. A reading that is interrupted goes on where it stopped.

mod copy;
pub mod object;
pub mod pace;
pub mod plan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use plan::{Due, Turn, Turns};

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
    turns: Mutex<Turns>,
}

/// What one registry has due.
struct Candidate {
    turn: Turn,
    chosen: Chosen,
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
            turns: Mutex::default(),
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
        let rank = |held: &Held| {
            let rechecks = plan::is_to_recheck(held, now).then_some(Due::Recheck);
            rechecks.or_else(|| due(library, held, now))
        };
        let next = self
            .candidates(library, rank)
            .into_iter()
            .min_by_key(|next| next.turn);
        let Some(next) = next else {
            let mut turns = self.turns();
            for (registry, holdings) in &library.shelves {
                turns.rest(registry, holdings.lock().read_cost);
            }
            return REST;
        };
        self.turns().serve(&next.turn);
        let ended = match next.turn.due {
            Due::Recheck => copy::recheck(library, &next.chosen, &self.pace).await,
            Due::Read(_) => self.read(library, &next.chosen).await,
        };
        match ended {
            Ended::Read | Ended::Interrupted => Duration::ZERO,
            Ended::StoreAway => OUTAGE,
        }
    }

    /// Reads a copy until it is another's turn; then this one waits where it stopped.
    async fn read(&self, library: &Library, chosen: &Chosen) -> Ended {
        let is_outdone = || {
            let now = Timestamp::now();
            let all = self.candidates(library, |held| due(library, held, now));
            let (ours, others): (Vec<_>, Vec<_>) =
                all.iter().partition(|one| one.chosen.registry == chosen.registry);
            let ours = ours
                .first()
                .filter(|ours| ours.chosen.sequence == chosen.sequence);
            if let Some(ours) = ours.filter(|_| others.is_empty()) {
                self.turns().serve(&ours.turn);
            }
            ours.is_none_or(|ours| others.iter().any(|other| ours.turn.gives_way(&other.turn)))
        };
        let is_over = || self.ending.is_cancelled() || self.library.has_changed().unwrap_or(true);
        tokio::select! {
            ended = copy::read(library, chosen, &self.pace, is_over, is_outdone) => ended,
            () = self.ending.cancelled() => Ended::Interrupted,
        }
    }

    /// The most urgent copy of each registry that has one due.
    fn candidates(&self, library: &Library, rank: impl Fn(&Held) -> Option<Due>) -> Vec<Candidate> {
        let mut turns = self.turns();
        let mut candidates = Vec::new();
        for (registry, holdings) in &library.shelves {
            let state = holdings.lock();
            // What earlier proofs say of these copies is not known yet.
            if !state.history_known {
                continue;
            }
            let due = state.copies.values().filter_map(|held| Some((rank(held)?, held)));
            let Some((due, held)) = due.min_by_key(|(due, _)| *due) else {
                continue;
            };
            candidates.push(Candidate {
                turn: turns.of(registry, state.read_cost, due),
                chosen: Chosen {
                    registry: registry.clone(),
                    holdings: Arc::clone(holdings),
                    sequence: held.reference.sequence,
                },
            });
        }
        candidates
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn due(library: &Library, held: &Held, now: Timestamp) -> Option<Due> {
    plan::urgency(held, now, library.configuration.period).map(Due::Read)
}
