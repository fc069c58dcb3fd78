//! The registry itself while its mirror is in trouble: pgbench's transactions beside a run whose store never answers, is slow, or is full,
//! next to the same transactions alone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dataembassy_testkit::{
    fault_proxy::{Fault, FaultProxy},
    postgresql::DUMP_ROLE,
};
use hyper::Method;

use super::{
    configuration::Servers,
    data::Data,
    ours::Mirror,
    promise::Promise,
    rig::{DATABASE, MAX_CONNECTIONS, Rig},
    row::Row,
};
use crate::{
    command::{command, output, wait_for},
    progress::Progress,
};

/// TPC-H's data beside pgbench's: what the mirror is in the middle of.
const GIGABYTES: f64 = 0.1;
/// Of pgbench's own data: a million accounts.
const SCALE: &str = "10";
/// Of each of two clients.
const TRANSACTIONS: &str = "10000";
/// The mirror's run is in trouble by then.
const DEADLINE: Duration = Duration::from_mins(2);
/// A registry takes so many times as long at most as without a mirror beside it, whatever is wrong with the store.
const SLOWED: f64 = 1.15;

/// What is wrong with the store when a segment is put.
fn troubles() -> [(&'static str, Fault); 3] {
    [
        ("never answers", Fault::Stall),
        ("takes 100 kB a second", Fault::Pace(100_000)),
        ("is full", Fault::full()),
    ]
}

pub(super) async fn measure(runs: u32, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let step = progress.step("a registry that is written to".to_owned());
    let rig = Rig::set_up(Data::Tpch(GIGABYTES), sidecar).await?;
    pgbench(&rig, &["--initialize", "--quiet", "--scale", SCALE]).await?;
    let proxy = FaultProxy::start(rig.minio.address(), rig.minio.authority()).await?;
    let servers = Servers {
        store: proxy.endpoint(),
        ..Servers::of(&rig)
    };
    step.done();
    let mut rows = Vec::new();
    for (number, (what, fault)) in troubles().into_iter().enumerate() {
        let step = progress.step(format!("a store that {what}"));
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        for run in 0..runs {
            alone.push(transactions(&rig).await?);
            proxy.inject(usize::MAX, fault.clone(), |method, target| {
                method == Method::PUT && target.contains("/copies/")
            });
            rig.configure(&format!("harm-{number}-{run}"), &servers)?;
            let mirror = Mirror::start(&rig)?;
            wait_for("the mirror's trouble", DEADLINE, || async {
                Ok((proxy.faults_met() > 0).then_some(()))
            })
            .await?;
            beside.push(transactions(&rig).await?);
            few_sessions(&rig).await?;
            mirror.stop().await?;
            proxy.heal();
        }
        rows.push(row(what, &beside, &alone));
        step.done();
    }
    Ok(rows)
}

fn row(what: &str, beside: &[Duration], alone: &[Duration]) -> Row {
    let name = format!("20,000 transactions beside a mirror whose store {what}, against alone");
    Row::seconds(name, beside, alone).promised(Promise::at_most(SLOWED))
}

/// How long the same number of transactions takes.
async fn transactions(rig: &Rig) -> Result<Duration> {
    let began = Instant::now();
    pgbench(
        rig,
        &["--client=2", "--no-vacuum", "--transactions", TRANSACTIONS],
    )
    .await?;
    Ok(began.elapsed())
}

async fn pgbench(rig: &Rig, arguments: &[&str]) -> Result<()> {
    let mut pgbench = command(rig.programs.join("17/bin/pgbench"));
    pgbench
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(rig.environment())
        .args(arguments)
        .arg(DATABASE);
    output(&mut pgbench).await.map(drop).context("pgbench")
}

/// The mirror has sessions, and not more than it may.
async fn few_sessions(rig: &Rig) -> Result<()> {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    let admin = rig.server.client("postgres").await?;
    let found: i64 = admin.query_one(sessions, &[&DUMP_ROLE]).await?.get(0);
    ensure!(
        found <= i64::from(MAX_CONNECTIONS),
        "the mirror has {found} sessions, and {MAX_CONNECTIONS} are allowed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::missed;

    #[test]
    fn a_registry_that_its_mirror_slows_is_a_promise_missed() {
        let took = |beside| {
            [row(
                "is full",
                &[Duration::from_millis(beside)],
                &[Duration::from_secs(10)],
            )]
        };
        assert_eq!(missed(&took(11_400)), None);
        let told = missed(&took(11_600));
        assert!(told.is_some_and(|told| told.contains("is full")));
    }
}
