//! What the scenarios build on: databases that speak TLS, and whose rows outlive their pods.

use anyhow::{Result, ensure};
use dataembassy_e2e::{bed::Options, cluster::Site};

use crate::world::{PATIENCE, World, together};

#[test]
fn a_database_speaks_tls_and_keeps_its_rows_when_its_pod_is_replaced() {
    together(async |world| {
        a_database_keeps_its_rows(world, 15).await?;
        a_database_keeps_its_rows(world, 17).await
    });
}

async fn a_database_keeps_its_rows(world: &'static World, major: u32) -> Result<()> {
    let (bed, home) = (&world.product.bed, world.home());
    let namespace = world.unique(&format!("bed-{major}"));
    let name = format!("kept-{major}");
    let database = bed
        .postgresql(Site::Home, &namespace, &name, major, &Options::default())
        .await?;
    let client = database.connect("postgres").await?;
    let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    ensure!(version.starts_with(&major.to_string()), "{version}");
    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS row")
        .await?;
    let tls = database
        .psql(
            "postgres",
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
        .await?;
    ensure!(tls == "t\n", "{tls}");

    home.kubectl(["delete", "pod", &database.pod(), "--namespace", &namespace])
        .await?;
    home.rolled_out(&format!("statefulset/{name}"), &namespace, PATIENCE)
        .await?;
    let client = database.connect("postgres").await?;
    let rows: i64 = client.query_one("SELECT count(*) FROM kept", &[]).await?.get(0);
    ensure!(rows == 1, "the volume did not outlive the pod");
    let log = home.logs(&namespace, &database.pod()).await?;
    ensure!(log.contains("ready to accept connections"), "{log}");
    home.kubectl(["delete", "namespace", &namespace, "--wait=false"])
        .await
        .map(drop)
}
