//! A mirror whose store, gate or database has each fault there is, one after the other, while it is asked for copies.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, Sidecar};
use crate::gate::bench::{GateBench, peak_kib};
use crate::restore::embassy::age_keygen;
use crate::support::plain_copy;
use dataembassy_contract::Reason;
use dataembassy_contract::report::{Check, CheckState, FinishedRun, Outcome, Report};
use dataembassy_sidecar::restore::copy::Choice;
use dataembassy_testkit::fault_proxy::{FaultProxy, Toxic};
use dataembassy_testkit::minio::BUCKET;
use dataembassy_testkit::postgresql::{DatabaseToxic, FaultRelay, Place};
use dataembassy_testkit::seed::Dice;

use super::{MOST_MEMORY, PLACES, assert_no_panic, assert_patient, poison, restored, sealed_to};

/// A run's deadline amid a fault: what stalls ends by it.
const SHORT: Duration = Duration::from_secs(8);
/// A run's deadline where nothing but time is wanting.
const LONG: Duration = Duration::from_mins(1);
/// How much later than its deadline a run may be seen to end, where a process may not be let run for ten seconds.
const SLACK: Duration = Duration::from_secs(20);
/// Within which time of a fault its reason can be read.
const TOLD: Duration = Duration::from_mins(1);

/// Where the proxy stands that is poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Between the mirror and the store.
    Direct,
    /// Between a gate and the store.
    BehindGate,
    /// Between the mirror and a gate.
    BeforeGate,
}

/// A mirror at work, and what was seen of its copies.
struct Subject {
    bench: MirrorBench,
    gate: Option<GateBench>,
    before_gate: Option<FaultProxy>,
    relay: FaultRelay,
    sidecar: Sidecar,
    identity: String,
    /// Digests of the copies that were reported as committed.
    committed: BTreeMap<u64, String>,
}

impl Subject {
    async fn start(way: Way) -> Self {
        let mut bench = MirrorBench::start(17).await;
        let identity = age_keygen();
        bench.config.embassy.recipients = sealed_to(&identity);
        let relay = FaultRelay::start(bench.database.server).await.unwrap();
        bench.config.source.postgresql.as_mut().unwrap().port = relay.port();
        let (mut gate, mut before_gate) = (None, None);
        if way != Way::Direct {
            let started = GateBench::between(&mut bench).await;
            if way == Way::BeforeGate {
                let proxy = FaultProxy::start(started.gate.to_string(), &started.authority);
                let proxy = proxy.await.unwrap();
                bench.config.embassy.store.endpoint = proxy.endpoint();
                before_gate = Some(proxy);
            }
            gate = Some(started);
        }
        bench.write_config();
        let sidecar = bench.sidecar();
        let mut subject = Self {
            bench,
            gate,
            before_gate,
            relay,
            sidecar,
            identity,
            committed: BTreeMap::new(),
        };
        subject.sidecar.until_copy(1).await;
        subject.note_committed().await;
        subject
    }

    fn proxy(&self) -> &FaultProxy {
        self.before_gate.as_ref().unwrap_or(&self.bench.store.proxy)
    }

    fn ask(&mut self, trigger: &str, deadline: Duration) {
        self.bench.config.schedule.deadline = format!("{}s", deadline.as_secs()).parse().unwrap();
        self.bench.config.trigger = Some(trigger.to_owned());
        self.bench.config.generation += 1;
        self.bench.write_config();
    }

    /// Waits until a run by this trigger has ended, or something is told to be wrong; then the toxic has done what it can. One of both must be
    /// within a minute, whatever the toxic is.
    async fn until_felt(&self, trigger: &str, deadline: Duration) -> (Option<FinishedRun>, Report) {
        let (begun, patience) = (Instant::now(), deadline.max(TOLD) + SLACK);
        loop {
            let report = self.sidecar.report().await;
            if let Some(report) = &report {
                let run = run_of(report, trigger);
                let loaded = report.loaded.as_ref().map(|loaded| loaded.generation);
                let is_told = loaded == Some(self.bench.config.generation)
                    && wrong(report).is_some()
                    && report.run.is_none();
                if run.is_some() || is_told {
                    return (run, report.clone());
                }
            }
            assert!(
                begun.elapsed() < patience,
                "{trigger}: nothing is told of it: {report:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for a copy while something is wrong, and for another one when it is not any more.
    async fn suffers(&mut self, name: &str, is_harmless: bool, heal: impl FnOnce(&Self)) {
        let (begun, before) = (Instant::now(), self.proxy().asked());
        let deadline = if is_harmless { LONG } else { SHORT };
        self.ask(name, deadline);
        let (run, told) = self.until_felt(name, deadline).await;
        assert_patient(name, self.proxy().asked() - before, begun);
        heal(self);
        if let Some(run) = &run {
            let is_copied = run.outcome == Outcome::Copied;
            assert!(is_copied || !is_harmless, "{name}: {run:#?}");
            assert!(is_copied || !run.message.is_empty(), "{name}: {run:#?}");
            let took = run.ended_at.duration_since(run.started_at).as_secs_f64();
            assert!(took < (deadline + SLACK).as_secs_f64(), "{name}: {run:#?}");
        } else {
            let message = wrong(&told).map(|check| check.message.as_str());
            assert!(
                message.is_some_and(|message| !message.is_empty()),
                "{name}: {told:#?}"
            );
            assert!(!is_harmless, "{name}: {told:#?}");
        }
        let reasons = [
            run.map(|run| run.reason),
            Some(told.store.reason),
            Some(told.source.reason),
        ];
        for reason in reasons.into_iter().flatten() {
            // Nobody else writes here, and nobody has fenced or changed anything: whoever says so has believed a lie.
            let believed = [
                Reason::InternalError,
                Reason::SecondVersion,
                Reason::Superseded,
                Reason::Fenced,
                Reason::SourceChanged,
            ];
            assert!(!believed.contains(&reason), "{name}: {reason}: {told:#?}");
        }
        let after = format!("{name}-after");
        self.ask(&after, LONG);
        let copied =
            |report: &Report| run_of(report, &after).is_some_and(|run| run.outcome == Outcome::Copied);
        let what = format!("a copy when {name} was over");
        let report = self.sidecar.until(&what, copied).await;
        assert!(report.suspicious.is_none(), "{name}: {report:#?}");
        self.note_committed().await;
        let peak = peak_kib(self.sidecar.process_id());
        assert!(peak < MOST_MEMORY, "{name}: the mirror took {peak} KiB");
        if let Some(gate) = &self.gate {
            let peak = peak_kib(gate.process_id());
            assert!(peak < MOST_MEMORY, "{name}: the gate took {peak} KiB");
        }
    }

    async fn note_committed(&mut self) {
        let copy = self.sidecar.report().await.unwrap().last_copy.unwrap();
        self.committed.insert(copy.sequence, copy.digest);
    }

    /// One whole chain, without anything beside it, in which everything is that was ever called committed, and whose last copy restores.
    async fn ends_whole(self) {
        assert_no_panic(&self.bench.log());
        if let Some(gate) = &self.gate {
            assert_no_panic(&gate.log());
        }
        let ledger = self.bench.ledger().await;
        assert!(ledger.alarms.is_empty(), "{:#?}", ledger.alarms);
        let minio = &self.bench.store.minio;
        let entries = minio.keys(BUCKET, "registries/population/source/").await.unwrap();
        assert_eq!(self.bench.whole_copies().await, entries.len() as u64);
        for (sequence, digest) in &self.committed {
            let key = crate::bench::entry(*sequence).to_string();
            let bytes = minio.get(BUCKET, &key).await.unwrap();
            assert_eq!(crate::bench::sha256(&bytes).to_string(), *digest, "{key}");
        }
        let target = restored(&self.bench, &self.identity, Choice::Latest).await;
        let rows = "SELECT * FROM person ORDER BY id";
        assert_eq!(plain_copy(&self.bench.database, rows), plain_copy(&target, rows));
    }
}

fn run_of(report: &Report, trigger: &str) -> Option<FinishedRun> {
    let mut runs = report.recent_runs.iter();
    runs.find(|run| run.trigger.as_deref() == Some(trigger)).cloned()
}

/// What is told to be wrong with the store or the source.
fn wrong(report: &Report) -> Option<&Check> {
    let mut checks = [&report.store, &report.source].into_iter();
    checks.find(|check| check.state == CheckState::False)
}

fn name_of(toxic: impl Debug, round: u64) -> String {
    format!("{toxic:?}-{round}").to_lowercase()
}

async fn a_mirror_suffers(way: Way, rounds: u64) {
    let dice = Dice::of_the_environment(&format!("the mirror's matrix, {way:?}"));
    let mut subject = Subject::start(way).await;
    for round in 0..rounds {
        for toxic in Toxic::ALL {
            let mut has_struck = false;
            for (place, farthest) in PLACES.into_iter().enumerate() {
                if has_struck {
                    break;
                }
                let name = format!("{}-{place}", name_of(toxic, round));
                let mut dice = dice.part(&format!("{way:?} {name}"));
                poison(subject.proxy(), toxic, &mut dice, farthest, |_, _| true);
                let heal = |subject: &Subject| {
                    has_struck = subject.proxy().faults_met() > 0;
                    subject.proxy().heal();
                };
                subject.suffers(&name, toxic.is_harmless(), heal).await;
            }
            assert!(has_struck, "{toxic:?} has struck nothing in round {round}");
        }
    }
    Box::pin(subject.ends_whole()).await;
}

async fn a_mirror_of_a_bad_database_suffers(rounds: u64) {
    let dice = Dice::of_the_environment("the mirror's matrix, database");
    let mut subject = Subject::start(Way::Direct).await;
    for round in 0..rounds {
        for toxic in DatabaseToxic::ALL {
            let mut has_struck = false;
            let places = [Place::ANYWHERE, Place::FIRST, Place::FIRST];
            for (place, farthest) in places.into_iter().enumerate() {
                if has_struck {
                    break;
                }
                let name = format!("{}-{place}", name_of(toxic, round));
                let mut dice = dice.part(&name);
                subject.relay.poison_within(toxic, &mut dice, farthest);
                let heal = |subject: &Subject| {
                    has_struck = subject.relay.met() > 0;
                    subject.relay.heal();
                };
                subject.suffers(&name, toxic.is_harmless(), heal).await;
            }
            assert!(has_struck, "{toxic:?} has struck nothing in round {round}");
        }
    }
    Box::pin(subject.ends_whole()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_outlives_each_fault_of_its_store() {
    Box::pin(a_mirror_suffers(Way::Direct, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_and_its_gate_outlive_each_fault_of_the_store() {
    Box::pin(a_mirror_suffers(Way::BehindGate, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_outlives_each_fault_of_its_database() {
    Box::pin(a_mirror_of_a_bad_database_suffers(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: each fault at five places on three ways, which takes a quarter of an hour"]
async fn a_mirror_outlives_each_fault_at_many_places() {
    for way in [Way::Direct, Way::BehindGate, Way::BeforeGate] {
        Box::pin(a_mirror_suffers(way, 5)).await;
    }
    Box::pin(a_mirror_of_a_bad_database_suffers(20)).await;
}
