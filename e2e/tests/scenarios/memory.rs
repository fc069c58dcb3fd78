//! The default memory limit, in its real cgroup, holds whatever is mirrored and restored.

use anyhow::{Context as _, Result, ensure};
use dataembassy_e2e::{
    cluster::container::Memory,
    product::{
        restore::{self, NAMESPACE},
        sidecar::Sidecar,
    },
    registries::{Amount, Registry, small_tables, tpch},
};

use k8s_openapi::api::batch::v1::Job;
use kube::Api;

use crate::world::{PATIENCE, Subject, World, together};

/// What a sidecar, and the Job of a restore, get if nobody says anything.
const LIMIT: u64 = 192 << 20;
/// The same as the Job says it.
const LIMIT_OF_A_RESTORE: &str = "192Mi";

#[test]
fn the_default_limit_holds_for_a_value_of_100_mb() {
    together(a_large_value);
}

#[test]
#[ignore = "long: it makes a gigabyte and copies it"]
fn the_default_limit_holds_for_a_gigabyte() {
    together(a_gigabyte);
}

#[test]
#[ignore = "long: it makes ten thousand tables and copies them"]
fn the_default_limit_holds_for_10_000_tables() {
    together(many_tables);
}

async fn a_large_value(world: &'static World) -> Result<()> {
    let amount = Amount {
        large_values: true,
        ..Amount::of_scale(0.05)
    };
    let ministry = world.ministry("memory-value").await?;
    let subject = ministry
        .registry("large-value", Registry::Health, 15, &amount)
        .await?;
    within_the_limit(world, &subject, 100 << 20).await
}

async fn a_gigabyte(world: &'static World) -> Result<()> {
    let ministry = world.ministry("memory-gigabyte").await?;
    let subject = ministry.empty("gigabyte", Registry::Population, 17).await?;
    tpch::load(&subject.connect().await?, 1.0).await?;
    within_the_limit(world, &subject, 900 << 20).await
}

async fn many_tables(world: &'static World) -> Result<()> {
    let ministry = world.ministry("memory-tables").await?;
    let subject = ministry.empty("many-tables", Registry::Population, 17).await?;
    small_tables(&subject.connect().await?, "public", 10_000).await?;
    within_the_limit(world, &subject, 0).await
}

/// Mirrors a registry of at least so many bytes and looks at what the kernel has counted.
#[expect(clippy::print_stdout, reason = "how near the limit it came is worth knowing")]
async fn within_the_limit(world: &World, subject: &Subject, bytes: i64) -> Result<()> {
    let size = "SELECT pg_database_size(current_database())";
    let found: i64 = subject.connect().await?.query_one(size, &[]).await?.get(0);
    ensure!(found >= bytes, "the registry has only {found} bytes");
    subject.mirrored().await?;
    let sidecar = Sidecar::of(world.home(), &subject.namespace, &subject.id).await?;
    ensure!(
        sidecar.restarts().await? == 0,
        "the sidecar was killed and started again"
    );
    let memory = sidecar.container().await?.memory()?;
    let Memory { limit, kills, .. } = memory;
    ensure!(limit == LIMIT && kills == 0, "{memory:?}");
    println!("{}: {found} bytes at home, {memory:?}", subject.id);
    restored_within_the_limit(world, subject).await?;
    // What is large is not left lying about on a server that others use.
    subject.delete().await?;
    let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", subject.id);
    let admin = subject.server.connect("postgres").await?;
    Ok(admin.batch_execute(&drop).await?)
}

/// Restores the copy; a Job that was killed at its limit would not have ended well.
async fn restored_within_the_limit(world: &World, subject: &Subject) -> Result<()> {
    let signer = subject.mirror.signer().await?;
    let restoring = restore::begin(&world.product, &subject.wanted(&signer, &subject.id), |_| ()).await?;
    let status = restoring.ended(2 * PATIENCE).await?.status.unwrap_or_default();
    ensure!(status.restored.is_some(), "{:?}", status.conditions);
    let jobs: Api<Job> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let job = jobs.get(&format!("{}-restore", subject.id)).await?;
    let template = job
        .spec
        .and_then(|spec| spec.template.spec)
        .context("a Job without a pod")?;
    let limits = template
        .containers
        .into_iter()
        .next()
        .and_then(|container| container.resources?.limits);
    let limit = limits
        .and_then(|mut limits| limits.remove("memory"))
        .context("no limit")?;
    ensure!(
        limit.0 == LIMIT_OF_A_RESTORE,
        "the restore's limit is {}",
        limit.0
    );
    restoring.delete().await?;
    let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", subject.id);
    let admin = restore::server(&world.product).await?.connect("postgres").await?;
    Ok(admin.batch_execute(&drop).await?)
}
