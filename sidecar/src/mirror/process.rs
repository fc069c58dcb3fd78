//! The process: configuration in, copies out, until it is told to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::report::{FinishedRun, Outcome, Phase, Progress, Run};
use dataembassy_ledger::chain::Fence;
use dataembassy_ledger::entry::{EntryRef, SourceBody};
use jiff::Timestamp;
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Due, Standing};
use super::configuration::Configuration;
use super::drills;
use super::fence::{FenceWatch, Home};
use super::metrics::Metrics;
use super::proof::ProofWatch;
use super::report::Board;
use super::run::{self, Committed, Looked, RunError, Telling};
use crate::postgresql::{Connection, dump};
use crate::process::beginning::Beginning;
use crate::process::clock::Now;
use crate::store::ledger::{alarm_reason, told};
use crate::store::{Ledger, LedgerError, LedgerMemory, Requirements, Store, probe};

/// Between two looks at store and database while nothing runs: a fault is told within twice this.
const CHECK_PERIOD: Duration = Duration::from_secs(20);
/// After a look that failed: often the embassy is just about to accept the registry, or somebody is mending what was wrong.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Catch-ups of many mirrors are spread over at most this.
const SPREAD: Duration = Duration::from_secs(20);
/// Between two updates of a run's progress.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// One mirror at work.
pub struct Mirror {
    board: Board,
    metrics: Metrics,
    effective: watch::Receiver<Option<Arc<Configuration>>>,
    /// What was worked with last.
    current: Option<Arc<Configuration>>,
    ending: CancellationToken,
    beginning: Beginning,
    agenda: Agenda,
    /// The last head that this process has seen: nothing below it is believed.
    head: Option<EntryRef>,
    /// What is known of the ledger with the configuration in effect.
    memory: LedgerMemory,
    /// What is known of the embassy's proofs with the configuration in effect.
    proofs: ProofWatch,
    /// What is known of the entry that fences us.
    fence: FenceWatch,
    /// Why the store takes nothing, which no look finds out: it stands until a copy arrives.
    refused: Option<(Reason, String)>,
    /// Why the source cannot be copied, which no look finds out either: it stands as long.
    unfit: Option<(Reason, String)>,
    /// Whether the ledger was read with the configuration in effect.
    oriented: bool,
    /// Whether this process may still have to catch up with what its predecessor left.
    catching_up: bool,
}

impl Mirror {
    /// A mirror that has not begun.
    #[must_use]
    pub fn new(
        board: Board,
        metrics: Metrics,
        effective: watch::Receiver<Option<Arc<Configuration>>>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            board,
            metrics,
            effective,
            current: None,
            ending,
            beginning: Beginning::now(),
            agenda: Agenda::default(),
            head: None,
            memory: LedgerMemory::of_the_writer(),
            proofs: ProofWatch::default(),
            fence: FenceWatch::default(),
            refused: None,
            unfit: None,
            oriented: false,
            catching_up: true,
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        while !self.ending.is_cancelled() {
            let configuration = self.effective.borrow_and_update().clone();
            let Some(configuration) = configuration else {
                self.measure();
                self.rest(CHECK_PERIOD).await;
                continue;
            };
            self.take_up(&configuration);
            self.work(&configuration).await;
        }
    }

    /// Begins anew with a configuration that is not the one that was worked with last: nothing is believed that was read with another.
    fn take_up(&mut self, configuration: &Arc<Configuration>) {
        self.metrics.configured(configuration.rpo, configuration.suspend);
        let before = self.current.replace(Arc::clone(configuration));
        if before.is_none_or(|before| !Arc::ptr_eq(&before, configuration)) {
            self.agenda.hurry();
            self.oriented = false;
            self.memory = LedgerMemory::of_the_writer();
            self.proofs = ProofWatch::default();
            self.fence = FenceWatch::default();
            self.refused = None;
            self.unfit = None;
        }
    }

    /// Does what is due with one configuration, and waits for what comes next.
    async fn work(&mut self, configuration: &Configuration) {
        self.agenda.expect(&standing(configuration), Now::read().time);
        // A ledger may be long, and a store slow: nobody waits for that who wants something else.
        let (ending, mut newer) = (self.ending.clone(), self.effective.clone());
        let looked = tokio::select! {
            looked = Box::pin(self.look(configuration)) => looked,
            () = ending.cancelled() => return,
            Ok(()) = newer.changed() => return,
        };
        let period = if let Some((store, ledger)) = looked {
            if let Some(due) = self.agenda.due(&standing(configuration), Now::read()) {
                Box::pin(self.copy(configuration, store, ledger, due)).await;
            }
            CHECK_PERIOD
        } else {
            self.check_source(configuration).await;
            LOOK_AGAIN
        };
        let now = Now::read();
        let wait = self.agenda.wait(&standing(configuration), now);
        self.board.write(|report| {
            report.next_schedule_time = if configuration.suspend {
                None
            } else {
                configuration.schedule.next_after(now.time)
            };
        });
        self.measure();
        let wait = wait.map_or(period, |wait| wait.min(period));
        self.rest(wait.max(Duration::from_millis(50))).await;
    }

    /// Brings the report's faults into the metrics.
    fn measure(&self) {
        self.board.look(|report| self.metrics.stands(report));
    }

    /// Waits, unless something happens first.
    async fn rest(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.ending.cancelled() => {}
            changed = self.effective.changed() => {
                if changed.is_err() {
                    self.ending.cancel();
                }
            }
        }
    }

    /// Looks at the store and reads the ledger; what is wrong with it is reported.
    async fn look(&mut self, configuration: &Configuration) -> Option<(Store, Ledger)> {
        let looked = self.read_ledger(configuration).await;
        self.board.store(match &looked {
            Ok(_) => self.refused.clone().map_or(Ok(()), Err),
            Err(error) => Err((error.reason(), error.to_string())),
        });
        // Whatever is wrong with the source chain: who was fenced in the middle of a commit may well have left something there.
        self.judge_fence(configuration).await;
        let (store, ledger) = looked
            .inspect_err(|error| {
                self.beginning
                    .tell(error.reason(), error, "the store cannot be used");
            })
            .ok()?;
        self.take_over(&ledger);
        self.judge_proofs(configuration, &store, &ledger).await;
        if !self.oriented && !self.orient(configuration, &store, &ledger).await {
            return None;
        }
        self.check_source(configuration).await;
        Some((store, ledger))
    }

    async fn read_ledger(&mut self, configuration: &Configuration) -> Result<(Store, Ledger), LedgerError> {
        let store = Store::connect(&configuration.store, &configuration.keys)?;
        probe(&store, configuration.requirements).await?;
        let mut settings = configuration.ledger.clone();
        settings.floor = configuration.floor(self.head, self.memory.said().map(|(_, view)| view));
        let ledger = Ledger::read_on(&store, &settings, &mut self.memory).await?;
        Ok((store, ledger))
    }

    /// Reports whether the custody chain, as it was read last, fences us, and by whose order.
    async fn judge_fence(&mut self, configuration: &Configuration) -> Option<String> {
        let (store_id, view) = self.memory.said()?;
        let told = match configuration.fence(view) {
            Some(fence) => {
                let home = Home {
                    store_id,
                    registry: &configuration.registry,
                    approvers: configuration.approvers.as_ref(),
                    view,
                };
                let store = Store::connect(&configuration.store, &configuration.keys).ok();
                Some(self.fence.tell(store.as_ref(), home, &fence).await)
            }
            None => None,
        };
        let message = told.as_ref().map(|(_, message)| message.clone());
        self.board.fenced(told);
        message
    }

    /// Reports what the embassy has drilled and proven. Where that cannot be read now, the last word stands.
    async fn judge_proofs(&mut self, configuration: &Configuration, store: &Store, ledger: &Ledger) {
        let trusting = !configuration.ledger.custodians.is_empty();
        let registry = &configuration.registry;
        self.board
            .drilled(drills::judge(registry, &ledger.view, trusting));
        let now = Timestamp::now();
        match self.proofs.look(store, registry, ledger, trusting, now).await {
            Ok(judged) => self.board.proven(judged),
            Err(error) => {
                tracing::warn!(reason = %error.reason(), %error, "the copies that the embassy has proven cannot be read");
            }
        }
    }

    /// Reports what the ledger says and remembers its head.
    fn take_over(&mut self, ledger: &Ledger) {
        if let Some(head) = &ledger.head {
            let SourceBody::Copy(copy) = &head.entry.entry.body;
            let reference = head.entry.reference();
            // A copy that this process does not know: the commit whose answer was lost, or another sidecar's. It may answer the trigger.
            if self.head != Some(reference) {
                self.oriented = false;
                self.refused = None;
                self.unfit = None;
            }
            self.board.copy(reference, copy, head.entry.entry.header.at);
            self.metrics
                .copy_seen(copy.taken_at.as_jiff().as_second(), copy.totals.sealed_bytes);
            self.head = Some(reference);
            self.agenda.follow(
                copy.slot
                    .or(Some(copy.started_at))
                    .map(dataembassy_ledger::Timestamp::as_jiff),
            );
        }
        if let Some(alarm) = ledger.alarms.first() {
            tracing::error!(reason = %alarm_reason(alarm), %alarm, "something in the ledger must not be there");
            self.board.suspicious(Some((alarm_reason(alarm), told(alarm))));
        }
    }

    /// Finds out, once for each configuration, whether its trigger was answered before this process began.
    async fn orient(&mut self, configuration: &Configuration, store: &Store, ledger: &Ledger) -> bool {
        if let Some(trigger) = &configuration.trigger
            && self.agenda.answered_trigger() != Some(trigger)
        {
            match ledger.answers(store, &configuration.registry, trigger).await {
                Ok(true) => {
                    self.agenda.answer_trigger(trigger.clone());
                    let answered = trigger.to_string();
                    self.board.write(|report| report.last_trigger = Some(answered));
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(reason = %error.reason(), %error, "the ledger cannot be read back");
                    self.board.store(Err((error.reason(), error.to_string())));
                    return false;
                }
            }
        }
        let now = Now::read();
        let catches_up = std::mem::take(&mut self.catching_up)
            && self.head.is_some()
            && configuration.trigger.as_ref() == self.agenda.answered_trigger()
            && self.agenda.due(&standing(configuration), now).is_some();
        if catches_up {
            let spread = SPREAD.mul_f64(rand::rng().random::<f64>());
            self.agenda.hold_until(now.moment + spread);
        }
        self.oriented = true;
        true
    }

    async fn check_source(&mut self, configuration: &Configuration) {
        let found = match Connection::open(&configuration.source).await {
            Ok(connection) => {
                connection.close().await;
                self.unfit.clone().map_or(Ok(()), Err)
            }
            Err(error) => {
                let reason = error.reason();
                // A look does find this out, and when it is over.
                self.unfit.take_if(|(unfit, _)| *unfit == reason);
                Err((reason, error.to_string()))
            }
        };
        self.board.source(found);
    }

    /// Makes one copy and reports what came of it.
    async fn copy(&mut self, configuration: &Configuration, store: Store, ledger: Ledger, due: Due) {
        self.measure();
        let began = Now::read();
        self.agenda.begin(&configuration.schedule, &due);
        self.begin_report(configuration, &due, began.time);
        let (dump, progress) = watch::channel(dump::Progress::default());
        let (committing, is_committing) = watch::channel(false);
        let telling = Telling { dump, committing };
        let following = follow_progress(self.board.clone(), progress, is_committing);
        let following = tokio::spawn(following);
        let living = tokio::spawn(show_life(store.clone(), configuration.requirements));
        let cancel = self.ending.child_token();
        let looked = Looked {
            store,
            ledger,
            memory: &mut self.memory,
        };
        // Boxed: a run's future is large, and ours would carry it along.
        let newest = self.effective.clone();
        let run = run::run(configuration, looked, due.clone(), &telling, newest, cancel);
        let done = Box::pin(run).await;
        following.abort();
        living.abort();
        let ended = Now::read();
        let fenced = match &done {
            Err(RunError::Fenced(_)) => self.judge_fence(configuration).await,
            _ => None,
        };
        self.finish(&done, fenced, &due, [began, ended]);
    }

    fn begin_report(&self, configuration: &Configuration, due: &Due, started_at: Timestamp) {
        tracing::info!(slot = ?due.slot, trigger = ?due.trigger, "a run begins");
        self.board.write(|report| {
            report.missed_runs = self.agenda.missed();
            report.run = Some(Run {
                started_at,
                deadline_at: started_at
                    .checked_add(configuration.deadline)
                    .unwrap_or(started_at),
                slot: due.slot,
                trigger: due.trigger.as_ref().map(ToString::to_string),
                progress: Progress::default(),
            });
        });
    }

    fn finish(
        &mut self,
        done: &Result<Committed, RunError>,
        fenced: Option<String>,
        due: &Due,
        [began, ended]: [Now; 2],
    ) {
        let mut run = FinishedRun {
            started_at: began.time,
            ended_at: ended.time.max(began.time),
            outcome: Outcome::Failed,
            reason: Reason::Copied,
            message: String::new(),
            slot: due.slot,
            trigger: due.trigger.as_ref().map(ToString::to_string),
            sequence: None,
            bytes: 0,
        };
        match done {
            Ok(committed) => {
                run.outcome = Outcome::Copied;
                run.sequence = Some(committed.reference.sequence.get());
                run.bytes = committed.copy.totals.sealed_bytes;
                self.succeeded(committed, due, began.time);
            }
            Err(error @ (RunError::Interrupted | RunError::Elsewhere)) => {
                run.outcome = Outcome::Interrupted;
                run.reason = Reason::Interrupted;
                run.message = error.to_string();
                tracing::info!("the run was interrupted");
            }
            Err(error) => {
                run.reason = error.reason();
                run.message = fenced.unwrap_or_else(|| error.to_string());
                self.failed(error, ended.moment);
            }
        }
        let seconds = ended.moment.duration_since(began.moment).as_secs_f64();
        self.metrics.run_ended(run.outcome, run.reason, seconds);
        self.board.finished(run);
        self.board.write(|report| {
            report.consecutive_failures = self.agenda.failures();
            report.last_trigger = self.agenda.answered_trigger().map(ToString::to_string);
        });
    }

    fn succeeded(&mut self, committed: &Committed, due: &Due, started_at: Timestamp) {
        tracing::info!(
            sequence = committed.reference.sequence.get(),
            digest = %committed.reference.digest,
            bytes = committed.copy.totals.sealed_bytes,
            "a copy was committed"
        );
        self.head = Some(committed.reference);
        self.agenda.succeed(due, started_at);
        self.board
            .copy(committed.reference, &committed.copy, committed.at);
        self.unfit = None;
        self.board.source(Ok(()));
        if self.refused.take().is_some() {
            self.board.store(Ok(()));
        }
        let alarm = committed
            .alarms
            .first()
            .map(|alarm| (alarm_reason(alarm), told(alarm)));
        self.board
            .suspicious(alarm.or_else(|| committed.suspicious.clone()));
        self.metrics.copy_seen(
            committed.copy.taken_at.as_jiff().as_second(),
            committed.copy.totals.sealed_bytes,
        );
    }

    fn failed(&mut self, error: &RunError, now: Instant) {
        tracing::error!(reason = %error.reason(), %error, "the run failed");
        self.agenda.fail(now);
        let found = (error.reason(), error.to_string());
        if error.is_refused_put() {
            self.refused = Some(found.clone());
        }
        if error.is_unfit_source() {
            self.unfit = Some(found.clone());
        }
        match error {
            RunError::Fenced(Fence::NotASigner { .. }) => self.board.store(Err(found)),
            error if error.is_of_the_source() => self.board.source(Err(found)),
            error if error.is_of_the_store() => self.board.store(Err(found)),
            _ => {}
        }
    }
}

fn standing(configuration: &Configuration) -> Standing<'_> {
    Standing {
        schedule: &configuration.schedule,
        suspend: configuration.suspend,
        trigger: configuration.trigger.as_ref(),
    }
}

/// Lets the embassy hear of us while a run asks nothing of the store, as when it plans: its gate calls home silent after a minute.
async fn show_life(store: Store, requirements: Requirements) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + CHECK_PERIOD, CHECK_PERIOD);
    loop {
        ticks.tick().await;
        // What is wrong with the store the run itself finds out, and says.
        drop(probe(&store, requirements).await);
    }
}

/// Brings the dump's progress into the report, with the rate of late.
async fn follow_progress(
    board: Board,
    dump: watch::Receiver<dump::Progress>,
    committing: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(PROGRESS_PERIOD);
    let (mut rate, mut before) = (0.0, 0);
    loop {
        ticks.tick().await;
        let now = *dump.borrow();
        #[expect(clippy::cast_precision_loss, reason = "rates and shares need no more digits")]
        let (step, done, expected) = (
            now.bytes.saturating_sub(before) as f64,
            now.bytes as f64,
            now.bytes_expected as f64,
        );
        rate = 0.7 * rate + 0.3 * step / PROGRESS_PERIOD.as_secs_f64();
        before = now.bytes;
        let share = (expected > 0.0).then(|| (done / expected).min(1.0));
        let left = (expected - done).max(0.0) / rate;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within bounds"
        )]
        let eta_seconds = (expected > 0.0 && left.is_finite() && left < 1e9).then_some(left as u64);
        let phase = match now.phase {
            _ if *committing.borrow() => Phase::Committing,
            dump::Phase::Starting => Phase::Preparing,
            dump::Phase::Planning => Phase::Planning,
            dump::Phase::Copying | dump::Phase::Checking => Phase::Copying,
        };
        board.write(|report| {
            if let Some(run) = &mut report.run {
                run.progress = Progress {
                    phase,
                    bytes: now.bytes,
                    rows: now.rows,
                    share,
                    rate,
                    eta_seconds,
                };
            }
        });
    }
}
