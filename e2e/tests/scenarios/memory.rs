//! The sidecar's default memory limit, in its real cgroup, holds whatever is mirrored.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    cluster::container::Memory,
    product::sidecar::Sidecar,
    registries::{Amount, Registry, small_tables, tpch},
};

use crate::world::{Subject, World, together};

/// What a sidecar gets if nobody says anything.
const LIMIT: u64 = 192 << 20;

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
    // What is large is not left lying about on a server that others use.
    subject.delete().await?;
    let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", subject.id);
    let admin = subject.server.connect("postgres").await?;
    Ok(admin.batch_execute(&drop).await?)
}
