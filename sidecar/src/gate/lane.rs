//! What the gate keeps of one registry while it runs: who is in, what it may still put, and what is counted. It outlives configurations.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataembassy_contract::gate::{LaneConfig, LaneReport, RefusedRequests};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::door::{self, Action, Passage, Refusal};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::allowance::{Allowance, Put};
use super::metrics::Metrics;
use crate::process::clock::{Happened, Now};

/// The most requests of one registry that are answered at once.
const SLOTS: usize = 24;
/// The most of those that may come from addresses which never showed that they hold the registry's keys. Anybody can claim to be a
/// registry, and only the store can tell.
const STRANGERS: usize = SLOTS / 2;
/// The most requests of one registry that wait for their turn.
const MAX_WAITING: usize = 64;
/// How long a request waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// How many addresses of a registry are remembered.
const MAX_FAMILIAR: usize = 32;
/// For how long.
const FAMILIAR_FOR: Duration = Duration::from_hours(1);

/// One registry.
#[derive(Debug)]
pub(super) struct Lane {
    registry: RegistryId,
    metrics: Metrics,
    slots: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// A turn that no other registry can take, however many requests it sends.
    own: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Whoever is nobody's home waits in a line of its own, however long that is.
    strangers_waiting: AtomicUsize,
    familiar: Mutex<BTreeMap<IpAddr, Instant>>,
    allowance: Mutex<Allowance>,
    rules: Mutex<Rules>,
    seen: Mutex<Seen>,
    /// Set when the registry has left the configuration: requests under way must not bring its metrics back.
    closed: AtomicBool,
}

/// What puts under way were let in by; another one cuts them.
#[derive(Debug)]
struct Rules {
    term: u32,
    fenced: bool,
    putting: CancellationToken,
}

/// What was counted.
#[derive(Debug, Default)]
struct Seen {
    heard: Option<Happened>,
    retrieved: Option<Happened>,
    bytes_put: u64,
    passed: u64,
    refused: Refused,
}

/// Requests that were refused, by word.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<&'static str, Counted>);

/// Refusals by one word.
#[derive(Clone, Copy, Debug)]
struct Counted {
    count: u64,
    last: Happened,
    /// The last one that had a line in the log.
    logged: Happened,
}

impl Refused {
    /// Counts one; whether it is worth a line in the log, which is so once a minute.
    pub(super) fn count(&mut self, word: &'static str, now: Now) -> bool {
        let happened = Happened::at(now);
        let before = self.0.get(word).copied();
        let recent = before.filter(|before| before.logged.ago(now) < Duration::from_mins(1));
        let counted = Counted {
            count: before.map_or(0, |before| before.count) + 1,
            last: happened,
            logged: recent.map_or(happened, |recent| recent.logged),
        };
        self.0.insert(word, counted);
        recent.is_none()
    }

    pub(super) fn report(&self, now: Now) -> Vec<RefusedRequests> {
        let rows = self.0.iter().map(|(word, counted)| RefusedRequests {
            refusal: (*word).to_owned(),
            count: counted.count,
            last_at: counted.last.when(now),
        });
        rows.collect()
    }
}

/// A request's turn. Dropping it gives the next one its.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Counts a request that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Result<Self, Refusal> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(Refusal::Busy);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    pub(super) fn new(registry: RegistryId, config: &LaneConfig, metrics: Metrics) -> Self {
        let lane = Self {
            registry,
            metrics,
            slots: Arc::new(Semaphore::new(SLOTS)),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            own: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            strangers_waiting: AtomicUsize::new(0),
            familiar: Mutex::default(),
            allowance: Mutex::new(Allowance::new(config, Instant::now())),
            rules: Mutex::new(Rules {
                term: config.term,
                fenced: config.fenced,
                putting: CancellationToken::new(),
            }),
            seen: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        lane.show(config);
        lane
    }

    pub(super) const fn registry(&self) -> &RegistryId {
        &self.registry
    }

    /// Takes a new configuration. Puts that would not be let in any more are cut.
    pub(super) fn configure(&self, config: &LaneConfig) {
        lock(&self.allowance).configure(config, Instant::now());
        let mut rules = lock(&self.rules);
        if config.fenced && !rules.fenced || config.term != rules.term {
            std::mem::take(&mut rules.putting).cancel();
        }
        rules.term = config.term;
        rules.fenced = config.fenced;
        drop(rules);
        self.show(config);
    }

    /// Whether anybody may put.
    pub(super) fn is_open(&self) -> bool {
        !lock(&self.rules).fenced
    }

    /// The registry passes no more: puts under way are cut, and its metrics end.
    pub(super) fn close(&self) {
        lock(&self.rules).putting.cancel();
        self.closed.store(true, Ordering::Relaxed);
        self.metrics.forget(self.registry.as_str());
    }

    /// Counts in the metrics of this registry.
    fn measure(&self, count: impl FnOnce(&Metrics, &str)) {
        if !self.closed.load(Ordering::Relaxed) {
            count(&self.metrics, self.registry.as_str());
        }
    }

    fn show(&self, config: &LaneConfig) {
        self.metrics.configured(config, lock(&self.allowance).used());
    }

    /// Cancelled when a put that was judged by `judged` must end; the refusal where other rules are in effect by now.
    pub(super) fn putting(&self, judged: &door::Lane) -> Result<CancellationToken, Refusal> {
        let rules = lock(&self.rules);
        if rules.fenced {
            Err(Refusal::Fenced)
        } else if rules.term != judged.term.get() {
            Err(Refusal::OtherTerm)
        } else {
            Ok(rules.putting.clone())
        }
    }

    /// Waits for a request's turn. `common` holds the turns that all registries share.
    pub(super) async fn turn(&self, peer: IpAddr, common: &Arc<Semaphore>) -> Result<Turn, Refusal> {
        let is_known = self.knows(peer);
        let line = if is_known {
            &self.waiting
        } else {
            &self.strangers_waiting
        };
        let _waiting = Waiting::begin(line)?;
        let take = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).acquire_owned();
        let entering = async {
            let stranger = if is_known {
                None
            } else {
                take(&self.strangers).await.ok()
            };
            let slot = take(&self.slots).await.ok();
            let share = tokio::select! {
                biased;
                own = take(&self.own) => own.ok(),
                shared = take(common) => shared.ok(),
            };
            [stranger, slot, share]
        };
        tokio::time::timeout(TURN_PATIENCE, entering)
            .await
            .map(|permits| Turn { _permits: permits })
            .map_err(|_| Refusal::Busy)
    }

    fn knows(&self, peer: IpAddr) -> bool {
        lock(&self.familiar)
            .get(&peer)
            .is_some_and(|last| last.elapsed() < FAMILIAR_FOR)
    }

    fn remember(&self, peer: IpAddr) {
        let mut familiar = lock(&self.familiar);
        familiar.insert(peer, Instant::now());
        if familiar.len() > MAX_FAMILIAR
            && let Some(oldest) = familiar
                .iter()
                .min_by_key(|(_, last)| **last)
                .map(|(peer, _)| *peer)
        {
            familiar.remove(&oldest);
        }
    }

    /// Takes a put in.
    pub(super) fn reserve(&self, put: Put) -> Result<(), Refusal> {
        lock(&self.allowance).reserve(put, Instant::now())
    }

    /// Lets bytes of a put pass; the next may follow after this time.
    pub(super) fn pass(&self, bytes: u64, now: Instant) -> Duration {
        lock(&self.allowance).pass(bytes, now)
    }

    /// A put that was taken in is over.
    pub(super) fn settle(&self, put: Put, came: u64, stored: bool) {
        let mut allowance = lock(&self.allowance);
        allowance.settle(put, came, stored);
        self.measure(|metrics, id| metrics.used(id, allowance.used()));
    }

    /// The store has answered a request that passed.
    pub(super) fn answered(&self, passage: &Passage, status: u16, peer: IpAddr) {
        let now = Timestamp::now();
        let succeeded = (200..300).contains(&status);
        if succeeded {
            self.remember(peer);
        }
        self.measure(|metrics, id| metrics.answered(id, status));
        let mut seen = lock(&self.seen);
        seen.passed += 1;
        if !succeeded {
            return;
        }
        if passage.user.is_retrieval() {
            if matches!(passage.action, Action::Read(_)) {
                seen.retrieved = Some(Happened::now());
            }
            return;
        }
        seen.heard = Some(Happened::now());
        self.measure(|metrics, id| metrics.heard(id, now.as_second()));
        if let Action::Put { length, .. } = passage.action {
            seen.bytes_put = seen.bytes_put.saturating_add(length);
            self.measure(|metrics, id| metrics.put(id, length));
        }
    }

    /// A request that claimed to be this registry's was refused.
    pub(super) fn refused(&self, refusal: &Refusal) {
        self.measure(|metrics, id| metrics.refused(id, refusal.word()));
        let worth_a_line = lock(&self.seen).refused.count(refusal.word(), Now::read());
        if worth_a_line {
            tracing::warn!(registry = %self.registry, refusal = refusal.word(), why = %refusal, "a request was refused");
        }
    }

    /// What the report says of it; `None` while nothing came.
    pub(super) fn report(&self) -> Option<LaneReport> {
        let seen = lock(&self.seen);
        let now = Now::read();
        let refused = seen.refused.report(now);
        let silent = seen.passed == 0 && refused.is_empty();
        (!silent).then(|| LaneReport {
            registry: self.registry.to_string(),
            heard_at: seen.heard.map(|heard| heard.when(now)),
            retrieved_at: seen.retrieved.map(|retrieved| retrieved.when(now)),
            bytes_put: seen.bytes_put,
            passed: seen.passed,
            refused,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::Term;

    use super::*;

    fn config() -> LaneConfig {
        LaneConfig {
            registry: "population".into(),
            term: 1,
            fenced: false,
            home_may_retrieve: false,
            quota_bytes: None,
            used_bytes: 0,
            bytes_per_second: None,
        }
    }

    fn lane() -> Lane {
        Lane::new("population".parse().unwrap(), &config(), Metrics::new())
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_was_refused_while_the_calendar_was_wrong_is_told_by_the_right_one() {
        let then = std::time::Instant::now();
        let at = |second, passed| Now {
            time: Timestamp::from_second(second).unwrap(),
            moment: then + Duration::from_secs(passed),
        };
        let told = |refused: &Refused, now| {
            let rows = refused.report(now);
            (rows[0].count, rows[0].last_at.as_second())
        };
        let mut refused = Refused::default();
        assert!(refused.count("Method", at(900_000, 0)));
        assert!(!refused.count("Method", at(900_001, 1)));
        assert_eq!(told(&refused, at(900_031, 31)), (2, 900_001));
        // It was set back: nobody waits for a line in the log until it is there again.
        assert_eq!(told(&refused, at(130, 31)), (2, 100));
        assert!(refused.count("Method", at(160, 61)));
        assert_eq!(told(&refused, at(170, 71)), (3, 160));
    }

    #[test]
    fn what_is_refused_without_a_pause_has_a_line_a_minute() {
        let begun = Now::read();
        let mut refused = Refused::default();
        let lines = (0..10).filter(|half_minutes| {
            let now = Now {
                moment: begun.moment + Duration::from_secs(30) * *half_minutes,
                ..begun
            };
            refused.count("Method", now)
        });
        assert_eq!(lines.count(), 5);
    }

    #[tokio::test]
    async fn a_registry_has_a_turn_of_its_own_when_others_have_taken_all_that_are_shared() {
        let (flood, quiet) = (lane(), lane());
        let common = Arc::new(Semaphore::new(4));
        let mut turns = Vec::new();
        for _ in 0..5 {
            turns.push(flood.turn(address(1), &common).await.unwrap());
        }
        assert_eq!(common.available_permits(), 0);
        quiet.turn(address(2), &common).await.unwrap();
    }

    #[tokio::test]
    async fn strangers_who_claim_to_be_a_registry_leave_turns_to_who_has_shown_its_keys() {
        let lane = lane();
        let common = Arc::new(Semaphore::new(100));
        lane.remember(address(1));
        let mut turns = Vec::new();
        for _ in 0..STRANGERS {
            turns.push(lane.turn(address(2), &common).await.unwrap());
        }
        for _ in 0..SLOTS - STRANGERS {
            turns.push(lane.turn(address(1), &common).await.unwrap());
        }
        let waiting = lane.turn(address(1), &common);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        turns.pop();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn more_than_may_wait_are_sent_away_at_once() {
        let lane = lane();
        let common = Arc::new(Semaphore::new(0));
        let _own = lane.turn(address(1), &common).await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| Box::pin(lane.turn(address(1), &common)))
            .collect();
        for turn in &mut waiting {
            assert!(futures::poll!(turn).is_pending());
        }
        assert_eq!(lane.turn(address(1), &common).await.unwrap_err(), Refusal::Busy);
        waiting.pop();
        assert!(futures::poll!(Box::pin(lane.turn(address(1), &common))).is_pending());
    }

    #[tokio::test]
    async fn as_many_strangers_as_may_wait_keep_nobody_out_who_has_shown_its_keys() {
        let lane = lane();
        let common = Arc::new(Semaphore::new(100));
        lane.remember(address(1));
        let mut turns = Vec::new();
        for _ in 0..STRANGERS {
            turns.push(lane.turn(address(2), &common).await.unwrap());
        }
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| Box::pin(lane.turn(address(2), &common)))
            .collect();
        for turn in &mut waiting {
            assert!(futures::poll!(turn).is_pending());
        }
        assert_eq!(lane.turn(address(3), &common).await.unwrap_err(), Refusal::Busy);
        lane.turn(address(1), &common).await.unwrap();
    }

    #[tokio::test]
    async fn only_so_many_addresses_are_remembered() {
        let lane = lane();
        for last in 0..=200 {
            lane.remember(address(last));
        }
        assert!(!lane.knows(address(0)) && lane.knows(address(200)));
        assert_eq!(lock(&lane.familiar).len(), MAX_FAMILIAR);
    }

    #[tokio::test]
    async fn a_fence_and_another_term_cut_puts_under_way_and_nothing_else_does() {
        let lane = lane();
        let judged = |term: u64| door::Lane {
            term: Term::new(term).unwrap(),
            fenced: false,
            home_may_retrieve: false,
        };
        let putting = lane.putting(&judged(1)).unwrap();
        lane.configure(&LaneConfig {
            used_bytes: 5,
            home_may_retrieve: true,
            ..config()
        });
        assert!(!putting.is_cancelled());
        lane.configure(&LaneConfig { term: 2, ..config() });
        assert!(putting.is_cancelled());
        // One that was judged before, and asks only now.
        assert_eq!(lane.putting(&judged(1)).unwrap_err(), Refusal::OtherTerm);
        let putting = lane.putting(&judged(2)).unwrap();
        let fenced = LaneConfig {
            term: 2,
            fenced: true,
            ..config()
        };
        lane.configure(&fenced);
        assert!(putting.is_cancelled());
        assert_eq!(lane.putting(&judged(2)).unwrap_err(), Refusal::Fenced);
    }
}
