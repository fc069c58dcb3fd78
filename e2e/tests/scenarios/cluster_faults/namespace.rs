//! A mirror's namespace is deleted while it makes a copy.

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_e2e::command::wait_for;

use super::clear;
use crate::{
    deletion::{stored, untouched},
    requests::Requests,
    world::{PATIENCE, World, together},
};

/// Within this time it is gone: a pod has half a minute to end, and nothing else waits for anybody.
const GONE: Duration = Duration::from_mins(2);
/// The most that the operator asks in a minute about a namespace that goes. While its objects vanish one by one, it makes them again, and is refused: each
/// time a few requests, and a time or two for each object.
const ASKED: usize = 60;
/// What somebody in a hurry would not wait for.
const RENEWALS: usize = 3;

#[test]
fn a_namespace_that_is_deleted_in_mid_run_is_soon_gone_and_every_copy_stays() {
    together(deleted);
}

async fn deleted(world: &'static World) -> Result<()> {
    let subject = world.mirrored("namespace-gone").await?;
    let (holder, client) = (subject.connect().await?, subject.connect().await?);
    holder
        .batch_execute("BEGIN; LOCK TABLE public.person IN ACCESS EXCLUSIVE MODE")
        .await?;
    subject.mirror.trigger("as the namespace goes").await?;
    wait_for("the run", PATIENCE, || async {
        let status = subject.mirror.get().await?.status;
        Ok(status.and_then(|status| status.run).map(drop))
    })
    .await?;
    let held = stored(world, &subject).await?;
    ensure!(!held.is_empty(), "nothing was copied");

    let requests = Requests::since_now(world)?;
    clear(world, &subject.namespace).await?;
    world
        .home()
        .wait_until("namespace", &subject.namespace, None, "delete", GONE)
        .await?;
    let asked = requests.about(&subject.namespace)?;
    ensure!(
        asked.len() <= ASKED * requests.spans_of(Duration::from_mins(1))?,
        "the operator asked {} times: {asked:#?}",
        asked.len()
    );
    // The run has not outlived its pod: it holds nothing in the registry any more.
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump'";
    wait_for("the end of the run's sessions", PATIENCE, || async {
        let left: i64 = client.query_one(sessions, &[]).await?.get(0);
        Ok((left == 0).then_some(()))
    })
    .await?;
    holder.batch_execute("COMMIT").await?;

    let requests = Requests::since_now(world)?;
    requests.until_renewed(RENEWALS).await?;
    let asked = requests.about(&subject.namespace)?;
    ensure!(
        asked.is_empty(),
        "the operator asks about what is gone: {asked:#?}"
    );
    untouched(world, &subject, &held).await
}
