//! The bed itself: that its clusters do what clusters do, and that nothing is left of them.
//!
//! It needs root and what `cargo e2e provision` makes, and it takes a bed down that is up, so it only runs when it is
//! asked for: `cargo test -p dataembassy-e2e --test bed -- --ignored`.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_e2e::{
    bed::{
        self, Bed, Options,
        link::{Fault, break_link, mend_link},
        store,
    },
    cache::Cache,
    cluster::{Component, STATE, Site},
    command::wait_for,
    progress::Progress,
};

const DEADLINE: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "bed-smoke";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, and takes a running bed down"]
async fn a_bed_does_what_clusters_do_and_leaves_nothing() -> Result<()> {
    let bed = Bed::up_without_product(&Cache::locate()?, &Progress::new()).await?;
    a_database_keeps_its_rows(&bed, 15).await?;
    a_database_keeps_its_rows(&bed, 17).await?;
    home_reaches_the_store_until_the_link_is_cut(&bed).await?;
    pods_go_on_while_the_api_server_is_down(&bed).await?;
    drop(bed);
    bed::down(false).await?;
    nothing_is_left()
}

async fn a_database_keeps_its_rows(bed: &Bed, major: u32) -> Result<()> {
    let name = format!("smoke-{major}");
    let database = bed
        .postgresql(Site::Home, NAMESPACE, &name, major, &Options::default())
        .await?;
    let client = database.connect("postgres").await?;
    let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    ensure!(version.starts_with(&major.to_string()), "{version}");
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS row")
        .await?;
    let tls = database
        .psql(
            "postgres",
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
        .await?;
    ensure!(tls == "t\n", "{tls}");

    let home = bed.home();
    home.kubectl(["delete", "pod", &database.pod(), "--namespace", NAMESPACE])
        .await?;
    home.rolled_out(&format!("statefulset/{name}"), NAMESPACE, DEADLINE)
        .await?;
    let client = database.connect("postgres").await?;
    let rows: i64 = client.query_one("SELECT count(*) FROM kept", &[]).await?.get(0);
    ensure!(rows == 1, "the volume did not outlive the pod");
    let log = home.logs(NAMESPACE, &database.pod()).await?;
    ensure!(log.contains("ready to accept connections"), "{log}");
    Ok(())
}

/// A pod with curl.
const CLIENT: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": "bed-smoke"},
    "spec": {
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "client", "image": "dataembassy.local/stock:dev", "imagePullPolicy": "Never",
            "command": ["sleep", "infinity"],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
        }]
    }}"#;

/// Asks the store, from a pod at home, by its name and with its authority: the HTTP status.
async fn ask_store(bed: &Bed, ca: &str) -> Result<String> {
    let script = format!(
        "printf '%s' '{ca}' > /tmp/ca.crt && \
         curl -sS -m 5 --cacert /tmp/ca.crt -o /dev/null -w '%{{http_code}}' {}/",
        store::ENDPOINT
    );
    bed.home()
        .exec(NAMESPACE, "pod/client", &["sh", "-c", &script])
        .await
}

async fn home_reaches_the_store_until_the_link_is_cut(bed: &Bed) -> Result<()> {
    let home = bed.home();
    home.apply(CLIENT).await?;
    home.wait_until("pod", "client", Some(NAMESPACE), "condition=Ready", DEADLINE)
        .await?;
    let ca = bed.store().await?.ca().to_owned();
    let anonymous = ask_store(bed, &ca).await?;
    ensure!(anonymous == "403", "{anonymous}");

    break_link(Fault::Cut).await?;
    let cut = ask_store(bed, &ca).await;
    mend_link().await?;
    ensure!(cut.is_err(), "the store answered over a link that is cut");
    wait_for("the mended link", DEADLINE, || async {
        ask_store(bed, &ca).await.map(Some)
    })
    .await?;

    let inside = |program: &'static [&'static str]| home.exec(NAMESPACE, "pod/client", program);
    let service = inside(&["getent", "hosts", "smoke-17.bed-smoke.svc.cluster.local"]).await?;
    ensure!(service.starts_with("198.19.10."), "{service}");
    let machine = inside(&["curl", "-sS", "-m", "2", "http://192.0.2.5/"]).await;
    ensure!(machine.is_err(), "a pod reached this machine");
    Ok(())
}

async fn pods_go_on_while_the_api_server_is_down(bed: &Bed) -> Result<()> {
    let database = bed
        .postgresql(Site::Home, NAMESPACE, "smoke-17", 17, &Options::default())
        .await?;
    let configuration = database.configuration("postgres").await?;
    bed.home().stop(Component::ApiServer).await?;
    let connected = configuration.connect(tokio_postgres::NoTls).await;
    let answers = bed.home().answers().await;
    bed.home().start(Component::ApiServer).await?;
    ensure!(!answers, "the API server answered although it was stopped");
    connected
        .context("the database went with the API server")
        .map(drop)
}

fn nothing_is_left() -> Result<()> {
    let said = |program: &str, arguments: &[&str]| -> Result<String> {
        Ok(String::from_utf8(
            Command::new(program).args(arguments).output()?.stdout,
        )?)
    };
    for arguments in [&["netns", "list"][..], &["-o", "link"], &["route"]] {
        let listed = said("ip", arguments)?;
        for trace in [
            "dataembassy-",
            "de-home",
            "de-embassy",
            "198.18.",
            "198.19.",
            "198.51.",
        ] {
            ensure!(!listed.contains(trace), "{trace} is left: {listed}");
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(STATE), "a mount is left: {mounts}");
    let processes = said("ps", &["-eo", "args"])?;
    let left: Vec<_> = processes.lines().filter(|line| line.contains(STATE)).collect();
    ensure!(left.is_empty(), "processes are left: {left:?}");
    for site in Site::BOTH {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
            let hierarchy = hierarchy?.path();
            ensure!(
                !hierarchy.join(site.cgroup()).exists(),
                "a cgroup is left: {}",
                hierarchy.display()
            );
        }
        ensure!(
            !Path::new("/sys/fs/cgroup").join(site.cgroup()).exists(),
            "a cgroup is left"
        );
        ensure!(!site.folder().join("run").exists(), "state is left");
    }
    Ok(())
}
