//! One registry, kept: its chains are followed, its copies examined, counted and proven, and what is wrong is told.
//!
//! A keeper works in turns. A turn is short, whatever there is to do: keepers of many registries share a few slots, so that every head is
//! known before anybody reads what is old.

pub mod activations;
pub mod census;
pub mod chain;
pub mod comparison;
pub mod custody;
pub mod documents;
pub mod drills;
pub mod examination;
pub mod history;
pub mod holdings;
pub mod judgement;
pub mod ledger;
pub mod listing;
#[cfg(test)]
pub(crate) mod made_up;
pub mod orders;
mod places;
pub mod presence;
pub mod proof;
mod report;
pub mod retention;
pub mod source;
pub mod tally;
pub mod terms;
pub mod witness;
mod writing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

pub use census::{Census, Unnamed};
pub use custody::Identity;
pub use examination::{ObjectError, read_entry, read_part};
pub use holdings::Holdings;
pub use tally::TallyKey;

use super::configuration::{Configuration, RegistrySettings};
use super::finding::{Finding, Loss, Watchbook};
use super::office::Office;
use crate::store::{Store, StoreError};
use ledger::LedgerState;
use orders::Answers;
use presence::Presence;
use retention::Retention;

/// After so many turns at once that each had more to do, a keeper rests for a moment nevertheless.
const MOMENT: Duration = Duration::from_millis(20);
/// How long one turn goes on with what takes its time before others have theirs.
const TURN: Duration = Duration::from_secs(1);

/// What a keeper works with; another one comes when the configuration changes.
#[derive(Clone)]
pub struct Assignment {
    /// The store.
    pub store: Store,
    /// Whose chains these are.
    pub identity: Identity,
    /// The registry's own settings.
    pub settings: Arc<RegistrySettings>,
    /// The custodian's.
    pub configuration: Arc<Configuration>,
}

/// Keeps one registry.
pub struct Keeper {
    registry: RegistryId,
    office: Arc<Office>,
    holdings: Arc<Holdings>,
    assignments: watch::Receiver<Option<Arc<Assignment>>>,
    ending: CancellationToken,
    ledger: Option<LedgerState>,
    presence: Presence,
    retention: Retention,
    orders: Answers,
    /// Why the last turn could not do its work.
    trouble: Option<(Reason, String)>,
    /// Why the store takes no entry of ours, though it lets us read.
    unwritten: Option<(Reason, String)>,
    watchbook: Watchbook,
    report: report::Told,
    /// Faults that were logged.
    logged: BTreeSet<(Reason, Option<Sequence>)>,
    /// The slot for what takes memory, for the next turn.
    permit: Option<OwnedSemaphorePermit>,
    /// When the chains are looked at next.
    next_look: Instant,
    /// From when on reading back is owed.
    watched_since: Timestamp,
}

/// What a turn leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Nothing before the next look.
    Nothing,
    /// Something that takes memory, as soon as there is a slot for that.
    Heavy,
    /// More, as soon as a slot is free.
    More,
}

impl Keeper {
    /// A keeper that has not begun.
    #[must_use]
    pub fn new(
        registry: RegistryId,
        office: Arc<Office>,
        holdings: Arc<Holdings>,
        assignments: watch::Receiver<Option<Arc<Assignment>>>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            registry,
            office,
            holdings,
            assignments,
            ending,
            ledger: None,
            presence: Presence::default(),
            retention: Retention::default(),
            orders: Answers::default(),
            trouble: None,
            unwritten: None,
            watchbook: Watchbook::default(),
            report: report::Told::default(),
            logged: BTreeSet::new(),
            permit: None,
            next_look: Instant::now(),
            watched_since: Timestamp::now(),
        }
    }

    /// Works until it is told to end, or until nobody assigns it any more.
    pub async fn run(mut self) {
        let ending = self.ending.clone();
        while !self.ending.is_cancelled() {
            let assignment = self.assignments.borrow_and_update().clone();
            let left = match assignment {
                // Whatever is cut off, an entry's put included, the ledger tells of it to whoever comes next.
                Some(assignment) => tokio::select! {
                    left = self.take_turn(&assignment) => left,
                    () = ending.cancelled() => return,
                },
                None => Left::Nothing,
            };
            if !self.rest(left).await {
                return;
            }
        }
    }

    /// Waits for what comes next; false where nobody will assign anything any more.
    async fn rest(&mut self, left: Left) -> bool {
        let until = match left {
            Left::More => MOMENT,
            Left::Heavy | Left::Nothing => self
                .next_look
                .saturating_duration_since(Instant::now())
                .max(MOMENT),
        };
        let heavy = Arc::clone(&self.office.heavy);
        tokio::select! {
            () = tokio::time::sleep(until) => true,
            permit = heavy.acquire_owned(), if left == Left::Heavy => {
                self.permit = permit.ok();
                true
            }
            () = self.holdings.news.notified() => true,
            () = self.ending.cancelled() => true,
            changed = self.assignments.changed() => changed.is_ok(),
        }
    }

    async fn take_turn(&mut self, assignment: &Assignment) -> Left {
        let office = Arc::clone(&self.office);
        let Ok(_slot) = office.slots.acquire().await else {
            return Left::Nothing;
        };
        let looks = self.ledger.is_none() || self.next_look <= Instant::now();
        let done = self.work(assignment, looks).await;
        // Whoever did not come to it lets others.
        self.permit = None;
        let left = match done {
            Ok(left) => {
                self.trouble = None;
                left
            }
            Err(error) => {
                tracing::warn!(registry = %self.registry, reason = %error.reason(), %error, "a registry cannot be looked at");
                let why = format!("the ledger of registry {} cannot be read: {error}", self.registry);
                self.orders
                    .all_wait(&assignment.settings.orders, error.reason(), &why);
                self.trouble = Some((error.reason(), error.to_string()));
                self.set_next_look();
                Left::Nothing
            }
        };
        self.tell(assignment);
        left
    }

    /// A slot for what takes memory, if one is free.
    fn heavy(&mut self) -> Option<OwnedSemaphorePermit> {
        let waited_for = self.permit.take();
        waited_for.or_else(|| Arc::clone(&self.office.heavy).try_acquire_owned().ok())
    }

    fn set_next_look(&mut self) {
        // Not all at the same moment.
        let cycle = self
            .office
            .timing
            .cycle
            .mul_f64(rand::rng().random_range(0.9..1.1));
        self.next_look = Instant::now() + cycle;
    }

    /// One turn: the chains first, then the terms that somebody has ordered to be opened, then what is new in the chains, then what is old,
    /// then the count, then what is to be said about it, then the other orders, and last what stays and what goes.
    async fn work(&mut self, assignment: &Assignment, looks: bool) -> Result<Left, StoreError> {
        let is_same = self.ledger.as_ref().is_some_and(|ledger| ledger.fits(assignment));
        if !is_same {
            self.start_over(assignment).await?;
        }
        let Some(ledger) = &mut self.ledger else {
            return Ok(Left::Nothing);
        };
        let looks = looks || ledger.has_more();
        if looks {
            let was_read = ledger.is_read();
            ledger.look(assignment, &self.holdings).await?;
            if ledger.has_more() {
                return Ok(Left::More);
            }
            self.set_next_look();
            if !was_read {
                // The others' heads before what is old in this one.
                return Ok(Left::More);
            }
        }
        // A registry whose home is lost waits for nothing that takes its time.
        if self.carry_out(assignment, true).await == Left::More {
            return Ok(Left::More);
        }
        let Some(ledger) = &mut self.ledger else {
            return Ok(Left::Nothing);
        };
        if ledger.fill_in(assignment, &self.holdings).await? == Left::More {
            return Ok(Left::More);
        }
        let examined = self.examine(assignment).await?;
        let compared = self.compare_if_due(assignment).await?;
        let counted = self.count_if_due(assignment).await?;
        let left = examined.max(compared).max(counted);
        if left != Left::Nothing {
            return Ok(left);
        }
        match self.write_if_due(assignment).await {
            Ok(()) => self.unwritten = None,
            Err(error) if takes_no_entry(&error) => {
                tracing::warn!(registry = %self.registry, reason = %error.reason(), %error, "a custody entry cannot be written");
                self.unwritten = Some((error.reason(), error.to_string()));
            }
            Err(error) => return Err(error),
        }
        if self.carry_out(assignment, false).await == Left::More {
            return Ok(Left::More);
        }
        // What was found is told before anything is done that may take its time.
        self.tell(assignment);
        self.retain(assignment).await
    }

    /// Begins anew: at the start, and when others may write from now on.
    async fn start_over(&mut self, assignment: &Assignment) -> Result<(), StoreError> {
        self.ledger = None;
        self.presence = Presence::default();
        self.retention = self.retention.renewed();
        self.orders = self.orders.renewed();
        self.holdings.lock().forget();
        self.ledger = Some(LedgerState::open(assignment).await?);
        Ok(())
    }

    /// A store that takes no entry, for want of room or of a right: what is due to be proven or let go cannot be recorded.
    fn unrecorded(&self) -> Option<Finding> {
        let (reason, why) = self.unwritten.as_ref().or(self.retention.unrecorded())?;
        Some(Finding {
            reason: *reason,
            sequence: None,
            what: format!("nothing can be written into its custody chain: {why}"),
            lost: Loss::Nothing,
        })
    }

    /// Whether something that stood in the ledger when the process began is not taken in yet, of the copies or of what is known of them.
    fn is_reading(&self) -> bool {
        let is_complete = self.ledger.as_ref().is_some_and(LedgerState::is_complete);
        !is_complete || !self.holdings.lock().history_known
    }

    /// Everything that is wrong now.
    fn findings(&self, assignment: &Assignment, now: Timestamp) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        if let Some(ledger) = &self.ledger {
            findings.extend(ledger.findings(assignment));
        }
        findings.extend(self.presence.findings().cloned());
        findings.extend(self.retention.finding());
        findings.extend(self.unrecorded());
        let holdings = self.holdings.lock();
        findings.extend(holdings.copies.values().flat_map(holdings::Held::findings));
        let measures = judgement::Measures {
            rpo: assignment.settings.rpo,
            quota_bytes: assignment.settings.quota_bytes,
            used_bytes: self.presence.used_bytes(),
            period: assignment.configuration.period,
            // The calendar may have been wrong when this began.
            watched_since: self.watched_since.min(now),
            now,
        };
        // Before all copies are known, the newest of them says nothing yet about what is late.
        if self.ledger.as_ref().is_some_and(LedgerState::is_complete) {
            findings.extend(judgement::measure(&holdings, &measures));
        }
        if let Some(ledger) = self.ledger.as_ref().filter(|ledger| ledger.is_complete()) {
            let every = assignment.settings.drill_every;
            findings.extend(drills::findings::findings(ledger.view(), &holdings, every, now));
        }
        dedup(findings)
    }
}

/// Whether it is only that the store takes no entry of ours. The ledger was read, and what it says holds: who needs a copy now must hear of it, and
/// what may go must go on going, since nothing else makes room in a full store.
fn takes_no_entry(error: &StoreError) -> bool {
    matches!(error.reason(), Reason::StoreAccessDenied | Reason::StoreFull)
}

/// One place and reason is told once, by who found it first.
fn dedup(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    let mut seen = BTreeSet::new();
    for finding in findings {
        if seen.insert((finding.reason, finding.sequence)) {
            kept.push(finding);
        }
    }
    kept
}
