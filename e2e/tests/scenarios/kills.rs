//! The sidecar is killed, and a reply is lost, at each moment that matters: the ledger holds whole copies only, the next run succeeds, and
//! nothing is counted twice.

use anyhow::{Result, ensure};
use dataembassy_contract::report::{Outcome, Phase, Report};
use dataembassy_e2e::{command::wait_for, product::sidecar::Sidecar};
use dataembassy_ledger::ObjectKey;
use dataembassy_testkit::fault_proxy::Fault;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use rand::RngCore as _;
use tokio_postgres::Client;

use crate::{
    detour::ByDetour,
    ledger,
    world::{PATIENCE, Subject, World, together},
};

/// Keys of entries.
const ENTRY: &str = "/source/";
const FIRST_SEGMENT: &str = "/00000001";
const SECOND_SEGMENT: &str = "/00000002";
/// What the first copy answers, and the one after it.
const TRIGGERS: [&str; 2] = ["first", "second"];

#[test]
fn a_sidecar_killed_while_it_plans_leaves_no_copy_and_the_next_run_makes_one() {
    together(killed_while_it_plans);
}

#[test]
fn a_sidecar_killed_in_the_middle_of_a_segment_leaves_no_copy_and_the_next_run_makes_one() {
    together(killed_in_a_segment);
}

#[test]
fn a_sidecar_killed_between_the_last_segment_and_the_entry_leaves_no_copy_and_the_next_run_makes_one() {
    together(killed_before_the_entry);
}

#[test]
fn a_sidecar_killed_after_the_entry_leaves_a_copy_that_its_successor_recognises() {
    together(killed_after_the_entry);
}

#[test]
fn a_sidecar_that_is_evicted_in_the_middle_of_a_segment_leaves_no_copy_and_its_successor_makes_one() {
    together(evicted_in_a_segment);
}

#[test]
fn a_mirror_that_is_deleted_and_made_again_in_mid_run_goes_on_with_its_key_and_its_ledger() {
    together(made_again_in_mid_run);
}

#[test]
fn a_lost_reply_to_the_entry_is_a_copy_and_no_second_entry() {
    together(reply_to_the_entry_lost);
}

async fn killed_while_it_plans(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "kill-planning").await?;
    let holder = scene.subject.connect().await?;
    holder
        .batch_execute("BEGIN; LOCK TABLE public.person IN ACCESS EXCLUSIVE MODE")
        .await?;
    let sidecar = scene.begin().await?;
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND wait_event_type = 'Lock'";
    let client = scene.subject.connect().await?;
    wait_for("pg_dump to wait for a lock", PATIENCE, || async {
        Ok(client.query_opt(waiting, &[]).await?)
    })
    .await?;
    let planning = |report: &Report| {
        let run = report.run.as_ref();
        run.is_some_and(|run| run.progress.phase == Phase::Planning)
    };
    sidecar.until("the planning", PATIENCE, planning).await?;
    let left = sessions(&client).await?;
    ensure!(left.len() > 1, "the run has no sessions: {left:?}");
    sidecar.kill().await?;
    ensure!(scene.entries().await? == 0, "a copy exists that was only planned");
    holder.batch_execute("COMMIT").await?;
    let_go(&client, &left).await?;
    scene.ends_with(&sidecar, 1).await
}

async fn killed_in_a_segment(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "kill-segment").await?;
    // Two segments' worth that no compression makes smaller.
    let client = scene.subject.connect().await?;
    client
        .batch_execute("CREATE TABLE public.scan (image bytea STORAGE EXTERNAL)")
        .await?;
    for _ in 0..20 {
        let mut image = vec![0_u8; 1 << 20];
        rand::rng().fill_bytes(&mut image);
        client
            .execute("INSERT INTO public.scan VALUES ($1)", &[&image])
            .await?;
    }
    scene.way.inject(usize::MAX, Fault::StallMidway, SECOND_SEGMENT);
    let sidecar = scene.begin().await?;
    scene.until_put(SECOND_SEGMENT, 1).await?;
    wait_for("the first segment in the store", PATIENCE, || async {
        let keys = scene.uploaded().await?;
        Ok(keys.iter().any(|key| key.ends_with(FIRST_SEGMENT)).then_some(()))
    })
    .await?;
    sidecar.kill().await?;
    ensure!(scene.entries().await? == 0, "a copy exists that is not whole");
    let keys = scene.uploaded().await?;
    ensure!(
        !keys.iter().any(|key| key.ends_with(SECOND_SEGMENT)),
        "half a segment is in the store: {keys:?}"
    );
    scene.way.detour.heal();
    scene.ends_with(&sidecar, 1).await
}

async fn killed_before_the_entry(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "kill-entry").await?;
    scene.way.inject(usize::MAX, Fault::Stall, ENTRY);
    let sidecar = scene.begin().await?;
    scene.until_put(ENTRY, 1).await?;
    ensure!(
        scene.way.puts("/manifest-") == 1,
        "the entry came before the manifest"
    );
    sidecar.kill().await?;
    ensure!(scene.entries().await? == 0, "a copy exists without its entry");
    scene.way.detour.heal();
    scene.ends_with(&sidecar, 1).await
}

async fn killed_after_the_entry(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "kill-after").await?;
    scene.way.inject(1, Fault::WithholdReply, ENTRY);
    let sidecar = scene.begin().await?;
    wait_for("the entry in the store", PATIENCE, || async {
        Ok((scene.entries().await? == 1).then_some(()))
    })
    .await?;
    sidecar.kill().await?;
    // Its successor has looked what there is to do, and found nothing.
    let idle = |report: &Report| report.next_schedule_time.is_some() && report.run.is_none();
    let report = sidecar.until("the rest", PATIENCE, idle).await?;
    ensure!(
        report.last_copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "its own copy is not recognised: {report:?}"
    );
    ensure!(
        report.last_trigger.as_deref() == Some(TRIGGERS[0]) && report.consecutive_failures == 0,
        "its own answer is not recognised: {report:?}"
    );
    ensure!(
        scene.way.puts("/manifest-") == 1 && scene.way.puts(ENTRY) == 1,
        "it was copied again"
    );
    scene.subject.mirror.trigger(TRIGGERS[1]).await?;
    scene.ends_with(&sidecar, 2).await
}

async fn evicted_in_a_segment(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "evicted").await?;
    scene.way.inject(usize::MAX, Fault::StallMidway, FIRST_SEGMENT);
    let sidecar = scene.begin().await?;
    scene.until_put(FIRST_SEGMENT, 1).await?;
    scene.way.detour.heal();
    let sidecar = sidecar.evict(&scene.subject.id).await?;
    scene.ends_with(&sidecar, 1).await
}

async fn made_again_in_mid_run(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "made-again").await?;
    scene.way.inject(usize::MAX, Fault::Stall, ENTRY);
    scene.begin().await?;
    scene.until_put(ENTRY, 1).await?;
    let signer = scene.subject.mirror.signer().await?;
    scene.subject.delete().await?;
    scene.way.detour.heal();
    let client = world.home().client().clone();
    let pods: Api<Pod> = Api::namespaced(client, &scene.subject.namespace);
    wait_for("the end of its sidecar", PATIENCE, || async {
        let left = pods.list(&ListParams::default()).await?.items;
        Ok(left.is_empty().then_some(()))
    })
    .await?;
    let prefix = ObjectKey::source_prefix(&scene.subject.id.parse()?);
    let entries = ledger::keys(&world.product.bed.store().await?, &prefix).await?;
    ensure!(
        entries.is_empty(),
        "a copy exists whose mirror was deleted: {entries:?}"
    );
    let sidecar = scene.begin().await?;
    ensure!(
        scene.subject.mirror.signer().await? == signer,
        "it was given another key"
    );
    scene.ends_with(&sidecar, 1).await
}

async fn reply_to_the_entry_lost(world: &'static World) -> Result<()> {
    let scene = Scene::set(world, "lost-reply").await?;
    scene.way.inject(1, Fault::LoseReply, ENTRY);
    let sidecar = scene.begin().await?;
    let ended = |report: &Report| !report.recent_runs.is_empty();
    let report = sidecar.until("the run's end", PATIENCE, ended).await?;
    let [run] = report.recent_runs.as_slice() else {
        anyhow::bail!("there was more than one run: {report:?}");
    };
    ensure!(
        run.outcome == Outcome::Copied && run.sequence == Some(1),
        "its own commit is not recognised: {run:?}"
    );
    ensure!(
        scene.way.detour.faults_left() == 0 && scene.way.puts(ENTRY) == 2,
        "no reply was lost: {} puts",
        scene.way.puts(ENTRY)
    );
    ensure!(scene.entries().await? == 1, "there is a second entry");
    scene.subject.mirror.trigger(TRIGGERS[1]).await?;
    scene.ends_with(&sidecar, 2).await
}

/// A small registry whose copies go by a detour.
struct Scene {
    world: &'static World,
    subject: Subject,
    way: ByDetour,
}

impl Scene {
    async fn set(world: &'static World, stem: &str) -> Result<Self> {
        let ministry = world.ministry(stem).await?;
        let (subject, way) = tokio::try_join!(ministry.small_registry(stem), ByDetour::open(world, stem))?;
        Ok(Self { world, subject, way })
    }

    /// Applies the mirror and finds its sidecar, which begins its first run.
    async fn begin(&self) -> Result<Sidecar> {
        self.way.apply(&self.subject, TRIGGERS[0]).await?;
        Sidecar::of(self.world.home(), &self.subject.namespace, &self.subject.id).await
    }

    async fn until_put(&self, part: &str, times: usize) -> Result<()> {
        wait_for(&format!("a put of {part}"), PATIENCE, || async {
            Ok((self.way.puts(part) >= times).then_some(()))
        })
        .await
    }

    /// The keys of all copies' objects, whether the copies exist or not.
    async fn uploaded(&self) -> Result<Vec<String>> {
        let store = self.world.product.bed.store().await?;
        let prefix = ObjectKey::registry_prefix(&self.subject.id.parse()?);
        ledger::keys(&store, &format!("{prefix}copies/")).await
    }

    /// How many entries the ledger has; each names a whole copy.
    async fn entries(&self) -> Result<usize> {
        Ok(ledger::whole(self.world, &self.subject).await?.len())
    }

    /// Waits for the last of so many copies and holds the ledger against the triggers: each was answered once. Then all is taken away.
    async fn ends_with(self, sidecar: &Sidecar, wanted: usize) -> Result<()> {
        let sequence = u64::try_from(wanted)?;
        let done = |report: &Report| {
            let last = report.last_copy.as_ref();
            report.run.is_none() && last.is_some_and(|copy| copy.sequence >= sequence)
        };
        let report = sidecar.until("the last copy", PATIENCE, done).await?;
        ensure!(
            report.consecutive_failures == 0 && report.suspicious.is_none(),
            "something is not well: {report:?}"
        );
        let entries = ledger::whole(self.world, &self.subject).await?;
        let answered = ledger::triggers(&entries);
        let asked: Vec<_> = TRIGGERS[..wanted].iter().copied().map(Some).collect();
        ensure!(
            answered == asked,
            "the ledger answers {answered:?}, not {asked:?}"
        );
        let mirror = self
            .subject
            .mirror
            .copied(i64::try_from(wanted)?, PATIENCE)
            .await?;
        let status = mirror.status.unwrap_or_default();
        ensure!(
            status.last_trigger.as_deref() == TRIGGERS[..wanted].last().copied()
                && status.consecutive_failures == Some(0),
            "the mirror's status tells otherwise: {status:?}"
        );
        self.way.close(self.world, &self.subject).await
    }
}

/// The processes that serve the dump role in this database.
async fn sessions(client: &Client) -> Result<Vec<i32>> {
    let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND xact_start IS NOT NULL";
    Ok(client
        .query(query, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

/// Waits until none of these sessions of a dead sidecar holds anything in the registry any more.
async fn let_go(client: &Client, of: &[i32]) -> Result<()> {
    wait_for("the end of a dead sidecar's sessions", PATIENCE, || async {
        let left = sessions(client).await?;
        Ok(left.iter().all(|process| !of.contains(process)).then_some(()))
    })
    .await
}
