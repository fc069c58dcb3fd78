//! `cargo e2e bench`: how long a copy and a restore take, next to the pipe that a careful administrator would
//! lay from stock tools. Both sides in one run, in turn, on the same servers; the median counts. Where there are no stock tools, what is
//! promised stands beside what was measured.

mod custodian;
mod gate;
mod harm;
mod ours;
mod reading;
mod rig;
mod scale;
mod table;
mod theirs;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::progress::Progress;

use rig::Rig;
pub use table::Row;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often each side runs; the median counts.
    pub runs: u32,
    /// Gigabytes of TPC-H's data, as text.
    pub gigabytes: f64,
    /// The one part that is measured; all of them unless it is given.
    pub only: Option<Part>,
}

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Copy and restore.
    Copies,
    /// The gate before the store.
    Gate,
    /// Reading copies back, and a custodian at rest.
    Reading,
    /// The registry's own work while its mirror is in trouble.
    Harm,
    /// A custodian of many registries; only when it is asked for, as it makes a store of 80,000 objects.
    Scale,
}

impl Options {
    fn includes(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Measures and returns one row for each comparison. `sidecar` is the program, built for release.
pub async fn measure(options: &Options, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    ensure!(options.runs > 0, "at least one run is needed");
    let mut rows = Vec::new();
    if options.includes(Part::Copies) {
        rows.extend(measure_copies(options, sidecar, progress).await?);
    }
    if options.includes(Part::Gate) {
        rows.push(gate::measure(options.runs, sidecar, progress).await?);
    }
    if options.includes(Part::Reading) {
        rows.extend(reading::measure(options.runs, sidecar, progress).await?);
    }
    if options.includes(Part::Harm) {
        rows.extend(harm::measure(options.runs, sidecar, progress).await?);
    }
    if options.only == Some(Part::Scale) {
        rows.extend(scale::measure(sidecar, progress).await?);
    }
    Ok(rows)
}

async fn measure_copies(options: &Options, sidecar: &Path, progress: &Progress) -> Result<Vec<Row>> {
    let step = progress.step(format!("{} GB of data", options.gigabytes));
    let rig = Rig::set_up(options.gigabytes, sidecar).await?;
    step.done();
    theirs::dump_locally(&rig).await?;
    let [mut copied, mut piped, mut restored, mut poured, mut local] = [const { Vec::<Duration>::new() }; 5];
    for run in 1..=options.runs {
        let step = progress.step(format!("run {run} of {}", options.runs));
        // Who goes first has colder caches: take turns.
        if run % 2 == 1 {
            copied.push(ours::copy(&rig, run).await.context("our copy")?);
            piped.push(theirs::copy(&rig).await.context("their copy")?);
        } else {
            piped.push(theirs::copy(&rig).await.context("their copy")?);
            copied.push(ours::copy(&rig, run).await.context("our copy")?);
        }
        if run % 2 == 1 {
            restored.push(ours::restore(&rig).await.context("our restore")?);
            poured.push(theirs::restore(&rig).await.context("their restore")?);
        } else {
            poured.push(theirs::restore(&rig).await.context("their restore")?);
            restored.push(ours::restore(&rig).await.context("our restore")?);
        }
        local.push(
            theirs::restore_locally(&rig)
                .await
                .context("their restore of a local dump")?,
        );
        step.done();
    }
    let size = options.gigabytes;
    let sealed = rig.sealed_megabytes(options.runs).await?;
    Ok(vec![
        Row::seconds(format!("copy of {size} GB"), &copied, &piped),
        Row::seconds(format!("restore of {size} GB"), &restored, &poured),
        // The share of a drill that others do too: it has the store's copy to open, they have a folder on the same disk.
        Row::seconds(
            format!("restore of {size} GB, against pg_restore -j2 of a local dump"),
            &restored,
            &local,
        ),
        Row::new(format!("size of a copy of {size} GB"), sealed.0, sealed.1, "MB"),
    ])
}

/// Writes the rows to `target/e2e/bench.json` and returns them as a table for people.
pub fn publish(rows: &[Row], target: &Path) -> Result<String> {
    let folder = target.join("e2e");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let file = folder.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(rows)?)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(table::render(rows))
}
