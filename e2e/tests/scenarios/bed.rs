//! What the scenarios build on: databases whose rows outlive their pods, and a link that can be cut.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    bed::{
        Bed, Options,
        link::{Fault, break_link, mend_link},
        store,
    },
    cluster::Site,
    command::wait_for,
};

use crate::world::{PATIENCE, World, alone, together};

#[test]
fn a_database_speaks_tls_and_keeps_its_rows_when_its_pod_is_replaced() {
    together(async |world| {
        a_database_keeps_its_rows(world, 15).await?;
        a_database_keeps_its_rows(world, 17).await
    });
}

#[test]
fn home_reaches_the_store_and_nothing_else_until_the_link_is_cut() {
    alone(the_only_way_out);
}

async fn a_database_keeps_its_rows(world: &'static World, major: u32) -> Result<()> {
    let (bed, home) = (&world.product.bed, world.home());
    let namespace = world.unique("bed");
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

async fn the_only_way_out(world: &'static World) -> Result<()> {
    let (bed, home) = (&world.product.bed, world.home());
    let namespace = world.ministry("link").await?.namespace;
    home.apply(&client(&namespace)).await?;
    home.wait_until("pod", "client", Some(&namespace), "condition=Ready", PATIENCE)
        .await?;
    let ca = bed.store().await?.ca().to_owned();
    let anonymous = ask_store(bed, &namespace, &ca).await?;
    ensure!(anonymous == "403", "{anonymous}");

    break_link(Fault::Cut).await?;
    let cut = ask_store(bed, &namespace, &ca).await;
    mend_link().await?;
    ensure!(cut.is_err(), "the store answered over a link that is cut");
    wait_for("the mended link", PATIENCE, || async {
        ask_store(bed, &namespace, &ca).await.map(Some)
    })
    .await?;

    let inside = |program: &'static [&'static str]| home.exec(&namespace, "pod/client", program);
    let service = inside(&["getent", "hosts", "kubernetes.default.svc.cluster.local"]).await?;
    ensure!(service.starts_with("198.19.10."), "{service}");
    let machine = inside(&["curl", "-sS", "-m", "2", "http://192.0.2.5/"]).await;
    ensure!(machine.is_err(), "a pod reached this machine");
    home.kubectl(["delete", "namespace", &namespace, "--wait=false"])
        .await
        .map(drop)
}

/// A pod with curl.
fn client(namespace: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "client", "image": "dataembassy.local/stock:dev", "imagePullPolicy": "Never",
                "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
    .to_string()
}

/// Asks the store, from a pod at home, by its name and with its authority: the HTTP status.
async fn ask_store(bed: &Bed, namespace: &str, ca: &str) -> Result<String> {
    let script = format!(
        "printf '%s' '{ca}' > /tmp/ca.crt && \
         curl -sS -m 5 --cacert /tmp/ca.crt -o /dev/null -w '%{{http_code}}' {}/",
        store::ENDPOINT
    );
    bed.home()
        .exec(namespace, "pod/client", &["sh", "-c", &script])
        .await
}
