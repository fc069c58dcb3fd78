//! A store that is away for long while the schedule goes on: nothing is begun that cannot come to its end, few ask whether it is back, and one copy
//! makes up for all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bench::mirror::{MirrorBench, Sidecar, ended};
use dataembassy_contract::Reason;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_testkit::clock::Calendar;
use dataembassy_testkit::fault_proxy::{Fault, Seen};
use dataembassy_testkit::postgresql::Relay;
use hyper::Method;

use super::assert_no_panic;
use super::harm::watch::Watch;
use super::harm::work::Work;

/// Between two looks at a store that is away.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long the next look may be waited for.
const PATIENCE: Duration = MINUTE;
const MINUTE: Duration = Duration::from_mins(1);

/// A mirror whose store went away while it was idle.
struct Outage {
    bench: MirrorBench,
    sidecar: Sidecar,
    work: Work,
    watch: Watch,
    begun: Instant,
    /// Requests that the store had seen before.
    before: usize,
}

impl Outage {
    /// One copy by no schedule; then the store goes away, and there is a schedule.
    async fn begin(mut bench: MirrorBench, cron: &str) -> Self {
        let work = Work::begin(&bench.database).await;
        let sidecar = bench.sidecar();
        let at_rest = |report: &Report| report.run.is_none() && report.recent_runs.len() == 1;
        sidecar.until("the first copy", at_rest).await;
        bench.store.proxy.heal();
        bench.store.proxy.inject(usize::MAX, Fault::Refuse, |_, _| true);
        let (begun, before) = (Instant::now(), bench.store.proxy.asked());
        let watch = Watch::begin(&bench, &sidecar).await;
        bench.config.schedule.cron = cron.to_owned();
        bench.config.generation += 1;
        bench.write_config();
        let generation = bench.config.generation;
        let is_loaded = |report: &Report| {
            let loaded = report.loaded.as_ref().map(|loaded| loaded.generation);
            loaded == Some(generation)
        };
        sidecar.until("the schedule", is_loaded).await;
        let outage = Self {
            bench,
            sidecar,
            work,
            watch,
            begun,
            before,
        };
        // The first may still have gone by what was before.
        outage.is_looked_at(2).await;
        outage
    }

    /// Waits until the store was asked for so many times more.
    async fn is_looked_at(&self, times: usize) {
        let (begun, before) = (Instant::now(), self.bench.store.proxy.asked());
        while self.bench.store.proxy.asked() < before + times {
            assert!(
                begun.elapsed() < PATIENCE,
                "nobody looks whether the store is back"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The store is back, after a time by the calendar in which slots came at this distance.
    async fn ends(self, by_the_calendar: Duration, distance: Duration) {
        let slots = by_the_calendar.as_secs() / distance.as_secs();
        let asked = (self.bench.store.proxy.asked() - self.before) as u64;
        let looks = self.begun.elapsed().as_secs() / LOOK_AGAIN.as_secs() + slots;
        assert!(
            asked <= 2 * looks + 8,
            "{asked} requests in {:?}",
            self.begun.elapsed()
        );
        let report = self.sidecar.report().await.unwrap();
        assert_eq!(
            (report.store.state, report.store.reason),
            (CheckState::False, Reason::StoreUnreachable),
            "{report:#?}"
        );
        assert!(report.run.is_none(), "{report:#?}");
        assert_eq!(report.recent_runs.len(), 1, "{report:#?}");
        let watched = self.watch.end().await;
        watched.assert_harmless("the outage", &self.bench);
        // Whether it is there, and no more: a run would have several sessions at once. A question may take seconds on a busy machine.
        assert!(
            watched.sessions <= 1 && watched.snapshot_age < 20.0,
            "{watched:#?}"
        );
        self.work.end().await;

        let healed = slots_until_now(distance);
        self.bench.store.proxy.heal();
        let caught_up = |report: &Report| report.recent_runs.len() > 1;
        let report = self.sidecar.until("the catch-up", caught_up).await;
        // The newest comes first, and the first of all is the one that the store was still there for.
        let mut runs = report.recent_runs.iter().rev().skip(1);
        let run = runs.next().unwrap();
        assert_eq!(run.outcome, Outcome::Copied, "{report:#?}");
        assert!(run.slot.is_some(), "{report:#?}");
        let proxy = &self.bench.store.proxy;
        let is_entry = |seen: &Seen| seen.method == Method::PUT && seen.target.contains("/source/");
        let entries = proxy.asked_for(is_entry) as u64;
        let copies = self.bench.whole_copies().await;
        // Each slot that has come since the store is back has a copy of its own, however long it took to look.
        let since = slots_until_now(distance) - healed;
        // Each but the one that was answered, which may be one that came due by now.
        let missed = u64::from(report.missed_runs);
        assert!(
            missed + 2 >= slots && missed <= slots + since + 1,
            "of {slots} slots and {since}: {report:#?}"
        );
        for (what, count) in [
            ("runs", report.recent_runs.len() as u64),
            ("entries", entries),
            ("copies", copies),
        ] {
            assert!(
                (2..=2 + since).contains(&count),
                "{count} {what}, and {since} slots since the store is back: {report:#?}"
            );
        }
        assert_no_panic(&self.bench.log());
    }
}

/// How many slots have come since the beginning of all time, which begins with one.
fn slots_until_now(distance: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() / distance.as_secs()
}

/// Eight minutes by a calendar that is behind by as much at first, so that store and mirror agree on the time when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_many_slots_costs_one_copy_and_few_requests() {
    const BEHIND: i64 = 480;
    const STEP: i64 = 120;
    let calendar = Calendar::new().unwrap();
    calendar.set(-BEHIND).unwrap();
    let mut bench = MirrorBench::start(17).await;
    bench.environment = calendar.environment();
    // The store's own clock is as far behind until then, for all that it says.
    let behind = Fault::ShiftClock(-BEHIND);
    bench.store.proxy.inject(usize::MAX, behind, |_, _| true);
    let outage = Box::pin(Outage::begin(bench, "* * * * *")).await;
    let mut ahead = -BEHIND;
    while ahead < 0 {
        ahead += STEP;
        calendar.set(ahead).unwrap();
        outage.is_looked_at(1).await;
    }
    let by_the_calendar = outage.begun.elapsed() + Duration::from_secs(BEHIND.unsigned_abs());
    Box::pin(outage.ends(by_the_calendar, MINUTE)).await;
}

async fn away_for_an_hour(minutes: u32) {
    let bench = MirrorBench::start(17).await;
    let outage = Box::pin(Outage::begin(bench, &format!("*/{minutes} * * * *"))).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let by_the_calendar = outage.begun.elapsed();
    Box::pin(outage.ends(by_the_calendar, MINUTE * minutes)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes the hour that its name says"]
async fn a_store_that_is_away_for_an_hour_costs_one_copy_and_few_requests() {
    let schedules = [1, 5, 20].map(|minutes| Box::pin(away_for_an_hour(minutes)));
    futures::future::join_all(schedules).await;
}

/// How many looks at the store find it alive; whoever comes after the last of them finds nobody.
#[derive(Default)]
struct Looks(Mutex<(usize, bool)>);

impl Looks {
    fn allow(&self, times: usize) {
        self.0.lock().unwrap().0 = times;
    }

    /// Whether this request finds nobody.
    fn refuse(&self, target: &str) -> bool {
        let mut state = self.0.lock().unwrap();
        let (left, alive) = &mut *state;
        // What each look asks first.
        if target.contains("versioning") {
            *alive = *left > 0;
            *left = left.saturating_sub(1);
        }
        !*alive
    }
}

/// Whether the store is dead before anybody looks at it, or dies between the look and the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_for_while_the_store_is_dead_takes_no_snapshot_of_the_source() {
    let mut bench = MirrorBench::start(17).await;
    let server = bench.database.server;
    // Each transaction that is begun by a statement: a snapshot's is.
    let transactions = Arc::new(AtomicUsize::new(0));
    let begun = Arc::clone(&transactions);
    let relay = Relay::start(server, server.certificate(), move |tag, body| {
        if tag == b'C' && body.starts_with(b"BEGIN") {
            begun.fetch_add(1, Ordering::SeqCst);
        }
        Some(body)
    })
    .await
    .unwrap();
    bench.config.source.postgresql.as_mut().unwrap().port = relay.port();
    bench.config.suspend = true;
    bench.config.trigger = Some("alive".into());
    bench.write_config();
    let sidecar = bench.sidecar();
    let has_ended = |trigger: &'static str| move |report: &Report| ended(report, trigger).is_some();
    sidecar.until("the first copy", has_ended("alive")).await;
    let before = transactions.load(Ordering::SeqCst);
    assert!(before > 1, "a copy takes a snapshot and is read in it: {before}");

    let looks = Arc::new(Looks::default());
    let refusing = Arc::clone(&looks);
    let proxy = &bench.store.proxy;
    proxy.inject(usize::MAX, Fault::Refuse, move |_, target| {
        refusing.refuse(target)
    });
    bench.config.trigger = Some("dead".into());
    bench.config.generation += 1;
    bench.write_config();
    let generation = bench.config.generation;
    let is_missed = |report: &Report| {
        let loaded = report.loaded.as_ref().map(|loaded| loaded.generation);
        loaded == Some(generation) && report.store.reason == Reason::StoreUnreachable
    };
    let report = sidecar.until("the store to be missed", is_missed).await;
    assert!(report.run.is_none(), "{report:#?}");
    let met = bench.store.proxy.faults_met();
    let waiting = Instant::now();
    while bench.store.proxy.faults_met() < met + 2 {
        assert!(
            waiting.elapsed() < PATIENCE,
            "nobody looks whether the store is back"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(transactions.load(Ordering::SeqCst), before);

    // The look that lets the run begin is the last that finds the store.
    looks.allow(1);
    let report = sidecar.until("the run's end", has_ended("dead")).await;
    let expected = Some((Outcome::Failed, Reason::StoreUnreachable));
    assert_eq!(ended(&report, "dead"), expected, "{report:#?}");
    assert_eq!(transactions.load(Ordering::SeqCst), before);

    looks.allow(usize::MAX);
    bench.config.trigger = Some("back".into());
    bench.config.generation += 1;
    bench.write_config();
    let report = sidecar.until("the next copy", has_ended("back")).await;
    let copied = Some((Outcome::Copied, Reason::Copied));
    assert_eq!(ended(&report, "back"), copied, "{report:#?}");
    assert!(transactions.load(Ordering::SeqCst) > before);
    assert_eq!(bench.whole_copies().await, 2);
}
