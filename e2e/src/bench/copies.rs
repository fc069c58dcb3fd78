//! Copies and restores, next to what a careful administrator would lay from stock tools, and next to restic.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Options, configuration::Servers, data::Data, door::Door, group::Group, ours, promise::Promise, rig::Rig,
    row::Row, spent::Meter, theirs,
};
use crate::progress::Progress;

/// What is copied besides TPC-H's tables.
const SHAPES: [Data; 4] = [
    Data::OneTable(2.0),
    Data::Tables(10),
    Data::Incompressible,
    Data::Documents,
];

/// How many times as fast as the pipe a restore is at least.
const RESTORE: f64 = 1.3;
/// How many times the bytes of the pipe's copy ours has at most.
const SIZE: f64 = 1.02;
/// The limit of the mirror's pod, in MiB. Ours has it too: what the kernel caches for it goes first, and then it is killed.
const MEMORY: u32 = 128;

/// Whose copy ours stands beside.
#[derive(Clone, Copy)]
enum Peer {
    Pipe,
    Restic,
}

/// One database and its servers, of which each copy is counted.
struct Bench {
    data: Data,
    // Before the rig: its groups let the servers go while they run.
    meter: Meter,
    rig: Rig,
    /// Copies of ours so far.
    copies: u32,
    /// The most memory that one of them took, in MiB.
    peak: f64,
}

/// TPC-H's tables: copies, restores, and the bytes in the store.
pub(super) async fn measure(options: &Options, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let mut bench = Bench::set_up(Data::Tpch(options.gigabytes), sidecar, progress).await?;
    let mut rows = vec![
        bench.beside(Peer::Pipe, options.runs, progress).await?,
        bench.beside(Peer::Restic, options.runs, progress).await?,
    ];
    rows.extend(restores(&bench.rig, bench.data, options.runs, progress).await?);
    rows.extend([bench.size().await?, bench.memory()]);
    Ok(rows)
}

/// Copies of data of other shapes.
pub(super) async fn measure_shapes(
    options: &Options,
    sidecar: &Path,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for data in SHAPES {
        let mut bench = Bench::set_up(data, sidecar, progress).await?;
        rows.push(bench.beside(Peer::Pipe, options.runs, progress).await?);
        rows.extend([bench.size().await?, bench.memory()]);
    }
    Ok(rows)
}

impl Bench {
    async fn set_up(data: Data, sidecar: &Path, progress: &Progress) -> Result<Self> {
        let step = progress.step(format!("{} of data", data.name()));
        let rig = Rig::set_up(data, sidecar).await?;
        step.done();
        Ok(Self {
            data,
            meter: Meter::of_servers()?,
            rig,
            copies: 0,
            peak: 0.0,
        })
    }

    async fn beside(&mut self, peer: Peer, runs: u32, progress: &Progress) -> Result<Row> {
        let (meter, rig) = (&self.meter, &self.rig);
        let against = match peer {
            Peer::Pipe => "",
            Peer::Restic => ", against pg_dump -Z0 | restic",
        };
        let name = format!("copy of {}{against}", self.data.name());
        let (servers, door) = (Servers::of(rig), Door::Minio(&rig.minio));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            let step = progress.step(format!("{name}, run {run} of {runs}"));
            self.copies += 1;
            let number = self.copies;
            if matches!(peer, Peer::Restic) {
                theirs::begin_restic(rig).await?;
            }
            let copy = async || {
                let copying = meter.count(door, async |group: Group| {
                    group.limit(MEMORY)?;
                    ours::copy(rig, &servers, number, group).await
                });
                copying.await.context("our copy")
            };
            let other = async || {
                let counted = match peer {
                    Peer::Pipe => meter.count(door, |group| theirs::copy(rig, group)).await,
                    Peer::Restic => meter.count(door, |group| theirs::restic(rig, group)).await,
                };
                counted.context("their copy")
            };
            let (one, other) = in_turn(run, copy, other).await?;
            self.peak = self.peak.max(one.peak);
            ours.push(one);
            theirs.push(other);
            step.done();
        }
        Ok(Row::spent(name, &ours, &theirs)?.promised(promise(peer, self.data)))
    }

    async fn size(&self) -> Result<Row> {
        let ours = self.rig.our_megabytes(self.copies).await?;
        let theirs = self.rig.their_megabytes(theirs::OBJECT).await?;
        let name = format!("size of a copy of {}", self.data.name());
        Ok(Row::new(name, ours, theirs, "MB").promised(Promise::at_most(SIZE)))
    }

    fn memory(&self) -> Row {
        let name = format!("most memory of our copies of {}, and the limit", self.data.name());
        Row::within(name, self.peak, f64::from(MEMORY), "MiB")
    }
}

/// How fast a copy of ours is at least.
fn promise(peer: Peer, data: Data) -> Option<Promise> {
    let times = match (peer, data) {
        (Peer::Restic, _) => 2.0,
        (Peer::Pipe, Data::Tpch(_) | Data::OneTable(_)) => 1.15,
        (Peer::Pipe, Data::Tables(_)) => 1.5,
        (Peer::Pipe, Data::Incompressible | Data::Documents) => return None,
    };
    Some(Promise::times_as_fast(times))
}

async fn restores(rig: &Rig, data: Data, runs: u32, progress: &Progress) -> Result<[Row; 2]> {
    theirs::dump_locally(rig).await?;
    let [mut ours, mut piped, mut local] = [const { Vec::<Duration>::new() }; 3];
    for run in 1..=runs {
        let step = progress.step(format!("restores, run {run} of {runs}"));
        let restore = async || ours::restore(rig).await.context("our restore");
        let pour = async || theirs::restore(rig).await.context("their restore");
        let (one, other) = in_turn(run, restore, pour).await?;
        ours.push(one);
        piped.push(other);
        let dump = theirs::restore_locally(rig).await;
        local.push(dump.context("their restore of a local dump")?);
        step.done();
    }
    let name = format!("restore of {}", data.name());
    Ok([
        Row::seconds(name.clone(), &ours, &piped).promised(Promise::times_as_fast(RESTORE)),
        // The share of a drill that others do too: it has the store's copy to open, they have a folder on the same disk.
        Row::seconds(
            format!("{name}, against pg_restore -j2 of a local dump"),
            &ours,
            &local,
        ),
    ])
}

/// Both, one after the other: who goes first has colder caches, so they take turns.
async fn in_turn<T>(
    run: u32,
    ours: impl AsyncFnOnce() -> Result<T>,
    theirs: impl AsyncFnOnce() -> Result<T>,
) -> Result<(T, T)> {
    if run % 2 == 1 {
        let one = ours().await?;
        Ok((one, theirs().await?))
    } else {
        let other = theirs().await?;
        Ok((ours().await?, other))
    }
}
