//! The sidecar as a program: copies by schedule and by trigger, live configuration, faults told in time, and a graceful end.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod bench;

use bench::mirror::MirrorBench;
use dataembassy_contract::report::CheckState;

#[tokio::test]
async fn a_new_mirror_makes_its_first_copy_at_once_and_another_for_each_trigger() {
    let mut bench = MirrorBench::start(17).await;
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
    let again = bench.sidecar();
    let report = again
        .until("the trigger to be known again", |report| {
            report.last_copy.is_some()
        })
        .await;
    assert_eq!(report.last_copy.unwrap().sequence, 2);
    assert_eq!(bench.whole_copies().await, 2);
}
