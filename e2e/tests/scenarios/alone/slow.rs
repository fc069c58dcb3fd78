//! The link is slow: a copy takes its time, and nobody calls the store silent.

use std::time::Instant;

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use dataembassy_e2e::{
    bed::link::{Fault, break_link, mend_link},
    command::wait_for,
};

use crate::{
    ledger,
    world::{MINUTE, PATIENCE, Subject, World, alone},
};

/// What the link carries, in kilobits a second. A segment takes longer than a store may be silent.
const KILOBITS: u32 = 2_000;
/// What the registry holds, in pages of 10 KiB that cannot be compressed: a segment, and the beginning of another.
const PAGES: u32 = 1_750;

#[test]
fn a_copy_over_a_slow_link_takes_its_time_and_needs_no_second_try() {
    alone(slow);
}

async fn slow(world: &'static World) -> Result<()> {
    let ministry = world.ministry("slow").await?;
    let subject = ministry.small_registry("scanned").await?;
    subject.mirrored().await?;
    let scans = format!(
        "CREATE TABLE public.scan AS SELECT i, (SELECT string_agg(decode(md5(random()::text || i || j), 'hex'), '')
           FROM generate_series(1, 640) j) AS page FROM generate_series(1, {PAGES}) i;
         GRANT SELECT ON public.scan TO PUBLIC"
    );
    subject.connect().await?.batch_execute(&scans).await?;
    break_link(Fault::Slow(KILOBITS)).await?;
    let outcome = copied(&subject).await;
    // Whatever came of it, the others need the link.
    mend_link().await?;
    outcome?;
    ensure!(
        ledger::whole(world, &subject).await?.len() == 2,
        "there are other copies than two"
    );
    subject.delete().await
}

async fn copied(subject: &Subject) -> Result<()> {
    let began = Instant::now();
    subject.mirror.trigger("over the slow link").await?;
    let underway = |mirror: &RegistryMirror| {
        let run = mirror.status.as_ref().and_then(|status| status.run.as_ref());
        run.is_some_and(|run| run.phase == "Copying")
    };
    wait_for("the run", MINUTE, || async {
        Ok(underway(&subject.mirror.get().await?).then_some(()))
    })
    .await?;
    let mirror = subject.mirror.copied(2, PATIENCE).await?;
    let taken = began.elapsed();
    ensure!(taken > MINUTE, "the link was not slow: {taken:?}");
    let runs = mirror.status.map(|status| status.recent_runs).unwrap_or_default();
    ensure!(runs.len() == 2, "it was tried again: {runs:?}");
    subject
        .mirror
        .condition("StoreReachable", ConditionStatus::True, None, MINUTE)
        .await
        .map(drop)
}
