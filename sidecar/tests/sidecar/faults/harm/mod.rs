//! The registry itself while its mirror is in trouble: whatever the store does, nobody waits for us, and a run leaves nothing behind. How fast the
//! registry is meanwhile, the bench measures: `cargo e2e bench --only harm`.

pub(crate) mod watch;
pub(crate) mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, Sidecar, ended};
use crate::support::until;
use dataembassy_contract::Reason;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;

use super::{assert_no_panic, assert_patient, reads_by_itself};
use watch::Watch;
use work::Work;

/// A run's deadline: long enough to come to the first put on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much later a run may be seen to end, and its sessions to be gone, where a process may not be let run for ten seconds.
const SLACK: Duration = Duration::from_secs(20);
/// How long a look at the store may be waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// More than a run keeps in memory, and nothing that can be compressed: a part of it stays behind in the database while the store takes nothing.
const SCANS: &str = "CREATE EXTENSION pgcrypto; \
    CREATE UNLOGGED TABLE scan AS SELECT generate_series(1, 100000) AS id, gen_random_bytes(1024) AS page";
/// No session of ours, and so no snapshot and no lock.
const LEFT_ALONE: &str =
    "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump')";
/// What our sessions have put into the server's temporary files; each has told by the time it is gone.
const TEMPORARY: &str =
    "SELECT temp_files + temp_bytes FROM pg_stat_database WHERE datname = current_database()";
/// What would keep the write-ahead log of days.
const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";

/// What becomes of the store with the first put of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Away,
    /// Two kilobytes a second.
    Slow,
    Full,
}

impl Trouble {
    fn fault(self) -> Fault {
        match self {
            Self::Away => Fault::Refuse,
            Self::Slow => Fault::Pace(2_000),
            Self::Full => Fault::full(),
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::Away | Self::Slow => Reason::DeadlineExceeded,
            Self::Full => Reason::StoreFull,
        }
    }

    /// Whether the run, and its snapshot, last until the deadline.
    fn lasts(self) -> bool {
        self.reason() == Reason::DeadlineExceeded
    }

    fn befalls(self, bench: &MirrorBench) {
        let has_begun = AtomicBool::new(false);
        let proxy = &bench.store.proxy;
        proxy.inject(usize::MAX, self.fault(), move |method, _| {
            let is_put = *method == Method::PUT;
            has_begun.fetch_or(is_put, Ordering::Relaxed);
            is_put || (self == Self::Away && has_begun.load(Ordering::Relaxed))
        });
    }
}

fn ask(bench: &mut MirrorBench, trigger: &str) {
    bench.config.trigger = Some(trigger.to_owned());
    bench.config.generation += 1;
    bench.write_config();
}

async fn until_ended(sidecar: &Sidecar, trigger: &str) -> Report {
    let is_over = |report: &Report| ended(report, trigger).is_some();
    sidecar.until(&format!("the end of {trigger}"), is_over).await
}

/// One run amid the trouble, with the registry at work beside it.
async fn suffers(bench: &mut MirrorBench, sidecar: &Sidecar, work: &Work, trouble: Trouble) {
    let name = format!("{trouble:?}").to_lowercase();
    trouble.befalls(bench);
    let (begun, asked, written) = (Instant::now(), bench.store.proxy.asked(), work.done());
    let watch = Watch::begin(bench, sidecar).await;
    ask(bench, &name);
    let report = until_ended(sidecar, &name).await;
    let expected = Some((Outcome::Failed, trouble.reason()));
    assert_eq!(ended(&report, &name), expected, "{report:#?}");
    let run = &report.recent_runs[0];
    let took = run.ended_at.duration_since(run.started_at).as_secs_f64();
    assert!(took < (DEADLINE + SLACK).as_secs_f64(), "{run:#?}");
    let left = tokio::time::timeout(SLACK, until(&bench.database, LEFT_ALONE)).await;
    assert!(left.is_ok(), "{name}: sessions of ours outlast their run");

    let watched = watch.end().await;
    watched.assert_harmless(&name, bench);
    assert!(
        watched.snapshot_age < (DEADLINE + SLACK).as_secs_f64(),
        "{name}: {watched:#?}"
    );
    // Else the trouble came when everything was read, and nothing was shown.
    assert!(
        watched.snapshot_age > 5.0 || !trouble.lasts(),
        "{name}: {watched:#?}"
    );
    assert!(watched.sessions > 1, "{name}: {watched:#?}");
    assert!(work.done() > written, "{name}: the registry stood still");
    assert!(bench.store.proxy.faults_met() > 0, "{name} has struck nothing");
    assert_patient(&name, bench.store.proxy.asked() - asked, begun);
    bench.store.proxy.heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_waits_for_nothing_while_its_store_is_away_slow_or_full() {
    let mut bench = MirrorBench::start(17).await;
    bench.database.execute(SCANS).await.unwrap();
    bench.config.schedule.deadline = format!("{}s", DEADLINE.as_secs()).parse().unwrap();
    // Nothing begins but what is asked for.
    bench.config.suspend = true;
    bench.write_config();
    let work = Work::begin(&bench.database).await;
    let sidecar = bench.sidecar();
    for trouble in [Trouble::Away, Trouble::Slow, Trouble::Full] {
        Box::pin(suffers(&mut bench, &sidecar, &work, trouble)).await;
    }
    for nothing in [TEMPORARY, SLOTS] {
        assert_eq!(bench.database.value(nothing).await.unwrap(), "0", "{nothing}");
    }

    bench.database.execute("DROP TABLE scan").await.unwrap();
    bench.config.schedule.deadline = "1m".parse().unwrap();
    ask(&mut bench, "over");
    let report = until_ended(&sidecar, "over").await;
    let copied = Some((Outcome::Copied, Reason::Copied));
    assert_eq!(ended(&report, "over"), copied, "{report:#?}");
    work.end().await;
    assert_eq!(bench.whole_copies().await, 1);
    assert_no_panic(&bench.log());
}

/// A source in which a look, that only connects, finds nothing wrong.
#[tokio::test]
async fn a_source_that_cannot_be_copied_is_told_until_it_gives_a_copy_again() {
    let mut bench = MirrorBench::start(17).await;
    let role = reads_by_itself(&mut bench).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let begun = Instant::now();
    let hide = format!("ALTER TABLE person ENABLE ROW LEVEL SECURITY; ALTER ROLE {role} NOBYPASSRLS");
    bench.database.execute(&hide).await.unwrap();
    ask(&mut bench, "hidden");
    let report = until_ended(&sidecar, "hidden").await;
    let failed = Some((Outcome::Failed, Reason::SourcePrivilegesMissing));
    assert_eq!(ended(&report, "hidden"), failed, "{report:#?}");
    // The second look begins when the first has said what it finds.
    let before = looks(&bench);
    while looks(&bench) < before + 2 {
        let source = sidecar.report().await.unwrap().source;
        assert_eq!(
            (source.state, source.reason),
            (CheckState::False, Reason::SourcePrivilegesMissing),
            "{source:#?}"
        );
        assert!(source.message.contains("person"), "{source:#?}");
        assert!(begun.elapsed() < PATIENCE, "nobody looks at the source");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // What another configuration meets is not known yet, and with this one nothing is due.
    bench.config.trigger = None;
    bench.config.generation += 1;
    bench.write_config();
    let is_reached = |report: &Report| report.source.state == CheckState::True;
    sidecar.until("another look", is_reached).await;

    ask(&mut bench, "still-hidden");
    let report = until_ended(&sidecar, "still-hidden").await;
    assert_eq!(ended(&report, "still-hidden"), failed, "{report:#?}");
    assert_eq!(
        report.source.reason,
        Reason::SourcePrivilegesMissing,
        "{report:#?}"
    );
    let show = format!("ALTER ROLE {role} BYPASSRLS");
    bench.database.execute(&show).await.unwrap();
    ask(&mut bench, "shown");
    let report = until_ended(&sidecar, "shown").await;
    let copied = Some((Outcome::Copied, Reason::Copied));
    assert_eq!(ended(&report, "shown"), copied, "{report:#?}");
    assert_eq!(report.source.state, CheckState::True, "{report:#?}");
    // What failed may have been tried once more before.
    assert!(bench.whole_copies().await >= 2);
}

/// How often the store was looked at.
fn looks(bench: &MirrorBench) -> usize {
    let proxy = &bench.store.proxy;
    proxy.asked_for(|seen| seen.target.contains("versioning"))
}

#[tokio::test]
async fn a_full_store_is_told_until_it_takes_a_copy_again() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let begun = Instant::now();
    Trouble::Full.befalls(&bench);
    ask(&mut bench, "full");
    let report = until_ended(&sidecar, "full").await;
    let failed = Some((Outcome::Failed, Reason::StoreFull));
    assert_eq!(ended(&report, "full"), failed, "{report:#?}");
    // What only reads finds nothing wrong with it, and must not say so.
    let before = looks(&bench);
    while looks(&bench) < before + 2 {
        let store = sidecar.report().await.unwrap().store;
        assert_eq!(
            (store.state, store.reason),
            (CheckState::False, Reason::StoreFull),
            "{store:#?}"
        );
        let message = "the store takes no more data (XMinioStorageFull): add space, or raise the quota";
        assert_eq!(store.message, message);
        assert!(begun.elapsed() < PATIENCE, "nobody looks at the store");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fault = r#"dataembassy_mirror_faults{about="store",reason="StoreFull"}"#;
    sidecar.until_metric(&format!("{fault} 1")).await;
    assert_patient("full", bench.store.proxy.asked(), begun);

    bench.store.proxy.heal();
    ask(&mut bench, "room-again");
    let report = until_ended(&sidecar, "room-again").await;
    let copied = Some((Outcome::Copied, Reason::Copied));
    assert_eq!(ended(&report, "room-again"), copied, "{report:#?}");
    assert_eq!(report.store.state, CheckState::True, "{report:#?}");
    sidecar.until_metric(&format!("{fault} 0")).await;
    // What failed may have been tried once more before.
    assert!(bench.whole_copies().await >= 2);
}
