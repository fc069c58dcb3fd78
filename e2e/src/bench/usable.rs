//! From a server to an object in the store, and from there to a server that answers with all rows: ours, and those who copy a server file by
//! file. All of them begin on a machine that has programs and no data, so that ours has a server to make and to start as well.

use std::{fmt, path::Path};

use anyhow::{Context as _, Result};
use dataembassy_testkit::postgresql::PASSWORD;

use super::{
    Options,
    configuration::Servers,
    data::Data,
    door::Door,
    group::Group,
    machine::{Machine, Programs, Served},
    ours,
    physical::{self, Peer},
    rig::{Rig, TARGET},
    row::Row,
    spent::{Meter, Spent},
};
use crate::{
    cache::Cache,
    command::{command, output},
    progress::Progress,
};

/// Who copies and restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs(Peer),
}

/// What a side's runs took.
struct Runs {
    side: Side,
    copies: Vec<Spent>,
    restores: Vec<Spent>,
}

struct Bench {
    programs: Programs,
    // Before the servers: its groups let them go while they run.
    meter: Meter,
    source: Served,
    rig: Rig,
    /// Copies of ours so far.
    copies: u32,
}

/// Measures and returns the rows.
pub(super) async fn measure(
    options: &Options,
    cache: &Cache,
    sidecar: &Path,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let data = Data::Tpch(options.gigabytes);
    let mut bench = Bench::set_up(data, cache, sidecar, progress).await?;
    let mut all = [
        Side::Ours,
        Side::Theirs(Peer::PgBackRest),
        Side::Theirs(Peer::Barman),
    ]
    .map(Runs::of);
    for run in 1..=options.runs {
        // Who goes first has colder caches, so they take turns.
        all.rotate_left(1);
        for runs in &mut all {
            let side = runs.side;
            let step = progress.step(format!("{side}: copy and restore, run {run} of {}", options.runs));
            let copied = bench.copy(side).await;
            runs.copies
                .push(copied.with_context(|| format!("the copy by {side}"))?);
            let restored = bench.restore(side).await;
            runs.restores
                .push(restored.with_context(|| format!("the restore by {side}"))?);
            step.done();
        }
    }
    bench.rows(data, &all).await
}

impl Bench {
    async fn set_up(data: Data, cache: &Cache, sidecar: &Path, progress: &Progress) -> Result<Self> {
        let programs = Programs::provide(cache, progress).await?;
        let step = progress.step(format!("{} of data, in two servers", data.name()));
        let rig = Rig::set_up(data, sidecar).await?;
        let source = physical::source(&programs, &rig).await?;
        step.done();
        Ok(Self {
            programs,
            meter: Meter::of_servers()?,
            source,
            rig,
            copies: 0,
        })
    }

    async fn copy(&mut self, side: Side) -> Result<Spent> {
        let door = Door::Minio(&self.rig.minio);
        let (meter, rig, source) = (&self.meter, &self.rig, &self.source);
        match side {
            Side::Ours => {
                self.copies += 1;
                let (servers, number) = (Servers::of(rig), self.copies);
                written_out().await?;
                meter
                    .count(door, |group| ours::copy(rig, &servers, number, group))
                    .await
            }
            Side::Theirs(peer) => {
                peer.begin(rig, source).await?;
                written_out().await?;
                let copied = meter.count(door, |group| peer.copy(rig, source, group)).await?;
                Peer::end(source).await?;
                Ok(copied)
            }
        }
    }

    async fn restore(&self, side: Side) -> Result<Spent> {
        let door = Door::Minio(&self.rig.minio);
        let (meter, rig) = (&self.meter, &self.rig);
        let machine = Machine::make(&self.programs, rig)?;
        let servers = meter.database();
        written_out().await?;
        let (spent, server) = match side {
            Side::Ours => {
                meter
                    .count_and_keep(door, |group| restore(rig, machine, servers, group))
                    .await?
            }
            Side::Theirs(peer) => {
                meter
                    .count_and_keep(door, |group| peer.restore(rig, machine, servers, group))
                    .await?
            }
        };
        drop(server);
        Ok(spent)
    }

    async fn rows(&self, data: Data, all: &[Runs]) -> Result<Vec<Row>> {
        let of = |side: Side| {
            let found = all.iter().find(|runs| runs.side == side);
            found.with_context(|| format!("{side} did not run"))
        };
        let (ours, data) = (of(Side::Ours)?, data.name());
        let our_size = self.rig.our_megabytes(self.copies).await?;
        let mut rows = Vec::new();
        for peer in Peer::BOTH {
            let theirs = of(Side::Theirs(peer))?;
            let size = self.rig.their_megabytes(peer.folder()).await?;
            rows.extend([
                Row::spent(
                    format!("restore of {data} to a server that answers, against {peer}"),
                    &ours.restores,
                    &theirs.restores,
                )?,
                Row::spent(
                    format!("copy of {data}, against {peer}"),
                    &ours.copies,
                    &theirs.copies,
                )?,
                Row::new(
                    format!("size of a copy of {data}, against {peer}"),
                    our_size,
                    size,
                    "MB",
                ),
            ]);
        }
        Ok(rows)
    }
}

impl Runs {
    fn of(side: Side) -> Self {
        Self {
            side,
            copies: Vec::new(),
            restores: Vec::new(),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => to.write_str("ours"),
            Self::Theirs(peer) => write!(to, "{peer}"),
        }
    }
}

/// Makes and starts an empty server, in the group of servers, restores into it, and asks it for all rows.
async fn restore(rig: &Rig, machine: Machine, servers: &Group, group: Group) -> Result<(Group, Served)> {
    machine.initialise(servers.command("unshare")).await?;
    let mut served = machine.serve(servers.command("unshare"), "-c archive_mode=off")?;
    let admin = served.ready("postgres").await?;
    admin
        .batch_execute(&format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'"))
        .await?;
    admin
        .batch_execute(&format!("CREATE DATABASE {TARGET} TEMPLATE template0"))
        .await?;
    let (port, authority) = (served.machine().port(), served.machine().path("ca.crt"));
    ours::restore_into(rig, group.command(&rig.sidecar), port, &authority).await?;
    let restored = served.ready(TARGET).await?;
    rig.check(&restored).await.context("what was restored")?;
    Ok((group, served))
}

/// What the one before has left to write must not slow the next one down.
async fn written_out() -> Result<()> {
    output(&mut command("sync")).await.map(drop)
}
