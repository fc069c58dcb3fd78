//! Copies and restores, next to what a careful administrator would lay from stock tools, and next to restic.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{Options, data::Data, ours, rig::Rig, spent::Meter, table::Row, theirs};
use crate::progress::Progress;

/// What is copied besides TPC-H's tables.
const SHAPES: [Data; 4] = [
    Data::OneTable(2.0),
    Data::Tables(10),
    Data::Incompressible,
    Data::Documents,
];

/// TPC-H's tables: copies, restores, and the bytes in the store.
pub(super) async fn measure(options: &Options, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let data = Data::Tpch(options.gigabytes);
    let rig = set_up(data, sidecar, progress).await?;
    let mut rows = vec![copies(&rig, data, options.runs, progress).await?];
    rows.push(against_restic(&rig, data, options.runs, progress).await?);
    rows.extend(restores(&rig, data, options.runs, progress).await?);
    let sealed = rig.sealed_megabytes(2 * options.runs).await?;
    let name = format!("size of a copy of {}", data.name());
    rows.push(Row::new(name, sealed.0, sealed.1, "MB"));
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
        let rig = set_up(data, sidecar, progress).await?;
        rows.push(copies(&rig, data, options.runs, progress).await?);
        let sealed = rig.sealed_megabytes(options.runs).await?;
        let name = format!("size of a copy of {}", data.name());
        rows.push(Row::new(name, sealed.0, sealed.1, "MB"));
    }
    Ok(rows)
}

async fn set_up(data: Data, sidecar: &Path, progress: &Progress) -> Result<Rig> {
    let step = progress.step(format!("{} of data", data.name()));
    let rig = Rig::set_up(data, sidecar).await?;
    step.done();
    Ok(rig)
}

async fn copies(rig: &Rig, data: Data, runs: u32, progress: &Progress) -> Result<Row> {
    let meter = Meter::of_servers()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let step = progress.step(format!("copies, run {run} of {runs}"));
        let copy = async || {
            meter
                .count(|group| ours::copy(rig, run, group))
                .await
                .context("our copy")
        };
        let pipe = async || {
            meter
                .count(|group| theirs::copy(rig, group))
                .await
                .context("their copy")
        };
        let (one, other) = in_turn(run, copy, pipe).await?;
        ours.push(one);
        theirs.push(other);
        step.done();
    }
    Row::spent(format!("copy of {}", data.name()), &ours, &theirs)
}

async fn against_restic(rig: &Rig, data: Data, runs: u32, progress: &Progress) -> Result<Row> {
    let meter = Meter::of_servers()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let step = progress.step(format!("copies beside restic's, run {run} of {runs}"));
        theirs::begin_restic(rig).await?;
        let copy = async || {
            meter
                .count(|group| ours::copy(rig, runs + run, group))
                .await
                .context("our copy")
        };
        let restic = async || {
            meter
                .count(|group| theirs::restic(rig, group))
                .await
                .context("restic's copy")
        };
        let (one, other) = in_turn(run, copy, restic).await?;
        ours.push(one);
        theirs.push(other);
        step.done();
    }
    let name = format!("copy of {}, against pg_dump -Z0 | restic", data.name());
    Row::spent(name, &ours, &theirs)
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
        Row::seconds(name.clone(), &ours, &piped),
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
