//! Two sidecars for one mirror at once: both upload, one of them commits, and the ledger has one order.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dataembassy_contract::{
    Reason,
    report::{FinishedRun, Outcome, Report},
};
use dataembassy_e2e::{
    command::wait_for,
    product::sidecar::{Sidecar, Twin},
};
use dataembassy_ledger::{ObjectKey, entry::SourceBody};
use dataembassy_testkit::fault_proxy::Fault;
use tokio::sync::{Barrier, Notify};

use crate::{
    detour::ByDetour,
    ledger,
    world::{PATIENCE, Subject, World, together},
};

const ENTRY: &str = "/source/";

#[test]
fn of_two_sidecars_at_once_one_commits_and_the_other_says_superseded() {
    together(two_at_once);
}

async fn two_at_once(world: &'static World) -> Result<()> {
    let ministry = world.ministry("two").await?;
    let (subject, way) = tokio::try_join!(ministry.small_registry("two"), ByDetour::open(world, "two"))?;
    let (own, twin) = at_the_same_moment(world, &subject, &way).await?;
    the_own_one_too_late(world, &subject, &way, &own, &twin).await?;
    way.close(world, &subject).await
}

/// Both reach the store with their first entry before either has an answer.
async fn at_the_same_moment(world: &World, subject: &Subject, way: &ByDetour) -> Result<(Sidecar, Twin)> {
    let both = Arc::new(Barrier::new(2));
    let meet = Fault::before(move || {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
        }
    });
    way.inject(2, meet, ENTRY);
    way.apply(subject, "first").await?;
    let own = Sidecar::of(world.home(), &subject.namespace, &subject.id).await?;
    let twin = own.twin().await?;
    let ended = |report: &Report| !report.recent_runs.is_empty();
    let mut runs = Vec::new();
    for sidecar in [&own, &*twin] {
        let report = sidecar.until("the run's end", PATIENCE, ended).await?;
        runs.push(report.recent_runs[0].clone());
    }
    let copied = |run: &&FinishedRun| run.outcome == Outcome::Copied && run.sequence == Some(1);
    let superseded = |run: &&FinishedRun| run.outcome == Outcome::Failed && run.reason == Reason::Superseded;
    ensure!(
        runs.iter().filter(copied).count() == 1 && runs.iter().filter(superseded).count() == 1,
        "one was to commit and one to be superseded: {runs:?}"
    );
    in_one_order(world, subject, &["first"], 2).await?;
    Ok((own, twin))
}

/// The operator's own pod is held before its entry until the other has committed: its mirror's status says so.
async fn the_own_one_too_late(
    world: &World,
    subject: &Subject,
    way: &ByDetour,
    own: &Sidecar,
    twin: &Twin,
) -> Result<()> {
    let committed = Arc::new(Notify::new());
    let told = Arc::clone(&committed);
    let wait = Fault::before(move || {
        let told = Arc::clone(&told);
        async move { told.notified().await }
    });
    let before = way.puts(ENTRY);
    way.inject(1, wait, ENTRY);
    subject.mirror.trigger("second").await?;
    wait_for("the entry of the operator's own sidecar", PATIENCE, || async {
        Ok((way.puts(ENTRY) > before).then_some(()))
    })
    .await?;
    let held = own.report().await?;
    ensure!(
        held.run.is_some(),
        "not the operator's own sidecar is held: {held:?}"
    );
    twin.catch_up().await?;
    twin.until("its second copy", PATIENCE, |report| {
        report
            .recent_runs
            .first()
            .is_some_and(|run| run.sequence == Some(2))
    })
    .await?;
    committed.notify_one();
    let mirror = wait_for(
        "the mirror to show what its sidecar was told",
        PATIENCE,
        || async {
            let mirror = subject.mirror.get().await?;
            let superseded = mirror.status.as_ref().is_some_and(|status| {
                let run = status.recent_runs.first();
                run.is_some_and(|run| run.reason == "Superseded" && run.trigger.as_deref() == Some("second"))
            });
            Ok(superseded.then_some(mirror))
        },
    )
    .await?;
    let run = mirror
        .status
        .and_then(|status| status.recent_runs.into_iter().next())
        .context("the mirror shows no run")?;
    ensure!(
        run.sequence.is_none() && run.message.contains("this copy does not exist"),
        "{run:?}"
    );
    // It finds the answer in the ledger, and does not give another.
    own.until("the answer that is in the ledger", PATIENCE, |report| {
        report.last_trigger.as_deref() == Some("second")
    })
    .await?;
    in_one_order(world, subject, &["first", "second"], 4).await
}

/// The chain answers these triggers, once each; so many copies were uploaded, whether they exist or not.
async fn in_one_order(world: &World, subject: &Subject, triggers: &[&str], uploaded: usize) -> Result<()> {
    let entries = ledger::whole(world, subject).await?;
    let answered = ledger::triggers(&entries);
    let asked: Vec<_> = triggers.iter().copied().map(Some).collect();
    ensure!(
        answered == asked,
        "the ledger answers {answered:?}, not {asked:?}"
    );
    let store = world.product.bed.store().await?;
    let registry = subject.id.parse()?;
    let prefix = format!("{}copies/", ObjectKey::registry_prefix(&registry));
    let keys = ledger::keys(&store, &prefix).await?;
    let manifests = keys.iter().filter(|key| key.contains("/manifest-")).count();
    ensure!(
        manifests == uploaded,
        "{manifests} copies were uploaded: {keys:?}"
    );
    for entry in entries {
        let SourceBody::Copy(copy) = &entry.body;
        let own = ObjectKey::copy_prefix(&registry, copy.copy_id);
        ensure!(keys.iter().any(|key| key.starts_with(&own)), "{own} is not there");
    }
    Ok(())
}
