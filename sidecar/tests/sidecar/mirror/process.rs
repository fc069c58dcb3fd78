//! The sidecar as a program: copies by schedule and by trigger, live configuration, faults told in time, and a graceful end.

use crate::bench;
use crate::bench::mirror::MirrorBench;
use dataembassy_contract::Reason;
use dataembassy_contract::report::CheckState;
use dataembassy_testkit::postgresql::scripted_pg_dump;

#[tokio::test]
async fn a_new_mirror_of_postgresql_17_makes_its_first_copy_at_once_and_another_for_each_trigger() {
    copies_at_once_and_for_each_trigger(17).await;
}

#[tokio::test]
async fn a_new_mirror_of_postgresql_15_makes_its_first_copy_at_once_and_another_for_each_trigger() {
    copies_at_once_and_for_each_trigger(15).await;
}

async fn copies_at_once_and_for_each_trigger(major: u32) {
    let mut bench = MirrorBench::start(major).await;
    let sidecar = bench.sidecar();
    let report = sidecar.until_copy(1).await;
    assert_eq!(
        (report.store.state, report.source.state),
        (CheckState::True, CheckState::True)
    );
    bench.config.trigger = Some("before the upgrade".into());
    bench.config.generation = 2;
    bench.write_config();
    let report = sidecar.until_copy(2).await;
    assert_eq!(report.loaded.unwrap().generation, 2);
    let report = sidecar
        .until("the trigger", |report| report.last_trigger.is_some())
        .await;
    assert_eq!(report.recent_runs.len(), 2);
    assert_eq!(bench.whole_copies().await, 2);
    bench::assert_gate_lets_through(&bench.store.proxy.seen(), bench::REGISTRY);
    assert_eq!(sidecar.terminate().await, 0);
    bench::assert_calm(&bench.log());
    let again = bench.sidecar();
    let report = again
        .until("the trigger to be known again", |report| {
            report.last_copy.is_some()
        })
        .await;
    assert_eq!(report.last_copy.unwrap().sequence, 2);
    assert_eq!(bench.whole_copies().await, 2);
    bench::assert_calm(&bench.log());
}

#[tokio::test]
async fn a_copy_with_an_unknown_warning_is_committed_and_suspicious() {
    let mut bench = MirrorBench::start(17).await;
    let script = "echo 'pg_dump: warning: the moon is full' >&2; exec \"$real\" \"$@\"";
    let programs = scripted_pg_dump(17, script).unwrap();
    programs.path().clone_into(&mut bench.programs);
    let sidecar = bench.sidecar();
    let report = sidecar
        .until("the suspicion", |report| report.suspicious.is_some())
        .await;
    let fault = report.suspicious.unwrap();
    assert_eq!(fault.reason, Reason::UnknownWarning);
    assert!(fault.message.contains("the moon is full"), "{}", fault.message);
    sidecar
        .until_metric(r#"dataembassy_mirror_faults{about="copy",reason="UnknownWarning"} 1"#)
        .await;
    let rpo = bench.config.objectives.rpo.as_secs();
    sidecar
        .until_metric(&format!("dataembassy_mirror_expected_interval_seconds {rpo}"))
        .await;
    assert_eq!(report.last_copy.unwrap().sequence, 1);
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn a_copy_of_implausible_size_is_committed_and_suspicious_until_the_next() {
    let mut bench = MirrorBench::start(17).await;
    let fill = "CREATE TABLE filling AS SELECT md5(i::text) AS a, md5((-i)::text) AS b FROM generate_series(1, 60000) i";
    bench.database.execute(fill).await.unwrap();
    let sidecar = bench.sidecar();
    let before = sidecar.until_copy(1).await;
    assert!(before.suspicious.is_none());
    bench.database.execute("TRUNCATE filling, person").await.unwrap();
    bench.config.trigger = Some("after the loss".into());
    bench.write_config();
    let report = sidecar
        .until("the suspicion", |report| report.suspicious.is_some())
        .await;
    let (fault, copy) = (report.suspicious.unwrap(), report.last_copy.unwrap());
    assert_eq!(fault.reason, Reason::SizeImplausible);
    assert_eq!(copy.sequence, 2);
    for bytes in [copy.bytes, before.last_copy.unwrap().bytes] {
        assert!(fault.message.contains(&bytes.to_string()), "{}", fault.message);
    }
    assert_eq!(bench.whole_copies().await, 2);

    bench.config.trigger = Some("it was meant".into());
    bench.write_config();
    let report = sidecar.until_copy(3).await;
    assert!(report.suspicious.is_none(), "{report:#?}");
}
