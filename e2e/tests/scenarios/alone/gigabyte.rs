//! What serving and drilling take beside the restore itself does not grow with the registry. Alone, for times are compared.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ActivatedState, ActivationPhase, ActivationStep, DrillOutcome};
use dataembassy_e2e::product::activation::{self, Activating, NAMESPACE, Wanted};
use dataembassy_e2e::product::drill::{self, Drilling};
use dataembassy_e2e::registries::{Registry, tpch};
use jiff::Timestamp;
use serde_json::json;

use crate::world::{PATIENCE, World, alone};

/// From the approval to serving, in times of the restore.
const MOST_OF_RESTORE: f64 = 1.2;
/// Between two steps nobody waits longer, in seconds: each is looked at every three.
const MOST_BETWEEN: f64 = 10.0;
/// A drill's restore against that of a local dump, in speed.
const LEAST_OF_LOCAL: f64 = 0.9;
/// What of a drill's steps `pg_restore` does too. It counts nothing and gathers no statistics, so that counting is a drill's own, and counts here.
const RESTORE: [&str; 4] = ["definitions", "rows", "comparison", "constraints"];
/// Dumps the registry into a folder of the database's own volume, restores it beside, and says how many milliseconds that took.
const LOCALLY: &str = r#"
    PATH=$PATH:/usr/lib/postgresql/17/bin PGHOST=/run/database PGUSER=$(cat /etc/database/username)
    export PATH PGHOST PGUSER
    rm -rf /database/local
    pg_dump --format=directory --compress=zstd:1 --jobs=2 --dbname="$1" --file=/database/local
    createdb --template=template0 local
    began=$(date +%s%3N)
    pg_restore --jobs=2 --exit-on-error --no-owner --dbname=local /database/local
    echo $(($(date +%s%3N) - began))
    dropdb local
    rm -r /database/local"#;

#[test]
#[ignore = "long: it makes a gigabyte and restores it three times"]
fn a_gigabyte_is_served_soon_after_its_restore_and_drilled_as_fast_as_from_a_local_dump() {
    alone(a_gigabyte);
}

#[expect(clippy::print_stdout, reason = "how long each step took is worth knowing")]
async fn a_gigabyte(world: &'static World) -> Result<()> {
    let product = &world.product;
    let ministry = world.ministry("soon").await?;
    let subject = ministry.empty("soon", Registry::Population, 17).await?;
    tpch::load(&subject.connect().await?, 1.0).await?;
    subject.mirrored().await?;
    let id = subject.id.as_str();
    let name = world.unique("soon");
    let wanted = Wanted {
        storage: "8Gi",
        ..Wanted::of(id)
    };
    let activating = Activating::begin(product, &name, "Activate", &[wanted], |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, PATIENCE * 2).await?;
    let state = &status.registries[0];
    let restore = took(state, "restore")?;
    let before = waited(state, &["fence", "database"], "restore")?;
    let after = ended(state, "serve")?
        .duration_since(ended(state, "restore")?)
        .as_secs_f64();
    let served = state.rto_seconds.context("it was not served in any time")?;
    let served = f64::from(u32::try_from(served)?);
    println!(
        "served {served} s after the approval, {restore} s of it the restore: {:.2} times it; {:?}",
        served / restore,
        state.steps
    );
    ensure!(
        before <= MOST_BETWEEN && after <= MOST_BETWEEN,
        "somebody only waited: {before} s before the restore, {after} s after it; {:?}",
        state.steps
    );
    let rows: i64 = activation::connect(product, state)
        .await?
        .query_one("SELECT count(*) FROM public.lineitem", &[])
        .await?
        .get(0);
    ensure!(rows > 1_000_000, "only {rows} rows are served");

    let pod = format!("{name}-{id}-db-0");
    let locally = ["sh", "-ceu", LOCALLY, "sh", id];
    let said = product.bed.embassy().exec(NAMESPACE, &pod, &locally).await?;
    let milliseconds: u32 = said.trim().parse().with_context(|| format!("it said {said:?}"))?;
    let local = f64::from(milliseconds) / 1000.0;
    let drilling = Drilling::begin(product, id, |spec| {
        spec["rto"] = json!("30m");
        spec["server"]["volumeSize"] = json!("8Gi");
    })
    .await?;
    let ended = drilling.answered("first", PATIENCE * 3).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    let report = drill::signed(product, id, &ended).await?.json;
    let steps = report["result"]["steps"].as_array().context("it has no steps")?;
    let restoring = steps
        .iter()
        .filter(|step| RESTORE.iter().any(|name| step["name"] == *name));
    let drilled: f64 = restoring.filter_map(|step| step["seconds"].as_f64()).sum();
    println!(
        "restored in {drilled:.1} s by a drill, in {local:.1} s by pg_restore -j2 of a local dump: {:.2} as fast; {steps:?}",
        local / drilled
    );
    ensure!(
        served <= MOST_OF_RESTORE * restore,
        "serving took more than {MOST_OF_RESTORE} times the restore"
    );
    ensure!(
        drilled > 0.0 && local / drilled >= LEAST_OF_LOCAL,
        "a drill's restore is slower than {LEAST_OF_LOCAL} of pg_restore"
    );
    activating.delete().await?;
    drilling.delete().await?;
    subject.delete().await
}

/// How long a step took, in seconds.
fn took(state: &ActivatedState, name: &str) -> Result<f64> {
    let took = ended(state, name)?.duration_since(began(state, name)?);
    Ok(took.as_secs_f64())
}

/// How long a step began after the last of those that it needs had ended, in seconds.
fn waited(state: &ActivatedState, needed: &[&str], name: &str) -> Result<f64> {
    let mut last = Timestamp::MIN;
    for step in needed {
        last = last.max(ended(state, step)?);
    }
    Ok(began(state, name)?.duration_since(last).as_secs_f64())
}

fn began(state: &ActivatedState, name: &str) -> Result<Timestamp> {
    Ok(step(state, name)?.started_at.parse()?)
}

fn ended(state: &ActivatedState, name: &str) -> Result<Timestamp> {
    let ended = step(state, name)?.ended_at.as_ref();
    Ok(ended.context("a step that did not end")?.parse()?)
}

fn step<'a>(state: &'a ActivatedState, name: &str) -> Result<&'a ActivationStep> {
    let step = state.steps.iter().find(|step| step.name == name);
    step.with_context(|| format!("there was no step {name}: {state:?}"))
}
