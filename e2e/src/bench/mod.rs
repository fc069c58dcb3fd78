//! `cargo e2e bench`: how long a copy and a restore take, next to the pipe that a careful administrator would
//! lay from stock tools. Both sides in one run, in turn, on the same servers; the median counts. Where there are no stock tools, what is
//! promised stands beside what was measured, and where nothing is, a figure stands by itself. All of it is on loopback servers, but what the
//! product takes at rest, which is measured on the test bed.

mod asked;
mod clock;
mod compression;
mod configuration;
mod copies;
mod custodian;
mod data;
mod door;
mod gate;
mod group;
mod harm;
mod limit;
mod machine;
mod made;
mod ours;
mod physical;
mod promise;
mod reading;
mod rest;
mod rig;
mod row;
mod scale;
mod spent;
mod suspended;
mod table;
mod theirs;
mod usable;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::{cache::Cache, progress::Progress};

pub use promise::{Promise, missed};
pub use row::Row;
pub use spent::Spent;

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
    /// Copies of one large table, of ten thousand small ones, of what cannot be compressed, and of JSON; only when it is asked for, as it takes
    /// half an hour.
    Shapes,
    /// A copy that neither the store nor the database holds up, and zstd alone for the same rows; takes twice as much memory as they do.
    Limit,
    /// The gate before the store.
    Gate,
    /// Reading copies back, and a custodian at rest.
    Reading,
    /// The registry's own work while its mirror is in trouble.
    Harm,
    /// The sizes of the product's images.
    Images,
    /// A custodian of many registries; only when it is asked for, as it makes a store of 80,000 objects.
    Scale,
    /// A release build of both programs from nothing; only when it is asked for, as it takes as long as the first one did.
    Build,
    /// Sidecar, custodian and operator of three registries at rest, and an operator of 2,000 suspended mirrors; only when it is asked for, as it
    /// brings the test bed up, takes some forty minutes, and takes the bed down again.
    Rest,
    /// From an object in the store to a server that answers, next to those who copy a server file by file; only when it is asked for, as it makes
    /// a root file system for them.
    Usable,
}

impl Options {
    fn includes(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Measures and returns one row for each comparison. `programs` is the folder of the programs that were built for release, within cargo's own.
pub async fn measure(
    options: &Options,
    cache: &Cache,
    programs: &Path,
    progress: &Progress,
) -> Result<Vec<Row>> {
    ensure!(options.runs > 0, "at least one run is needed");
    let sidecar = &programs.join("dataembassy-sidecar");
    let mut rows = Vec::new();
    if options.includes(Part::Copies) {
        rows.extend(copies::measure(options, sidecar, progress).await?);
    }
    if options.includes(Part::Limit) {
        rows.extend(limit::measure(options, sidecar, progress).await?);
    }
    if options.includes(Part::Gate) {
        rows.extend(gate::measure(options.runs, sidecar, progress).await?);
    }
    if options.includes(Part::Reading) {
        rows.extend(reading::measure(options.runs, sidecar, progress).await?);
    }
    if options.includes(Part::Harm) {
        rows.extend(harm::measure(options.runs, sidecar, progress).await?);
    }
    if options.includes(Part::Images) {
        rows.extend(made::sizes(cache, progress).await?);
    }
    if options.only == Some(Part::Shapes) {
        rows.extend(copies::measure_shapes(options, sidecar, progress).await?);
    }
    if options.only == Some(Part::Scale) {
        rows.extend(scale::measure(sidecar, progress).await?);
    }
    if options.only == Some(Part::Build) {
        let target = programs.parent().context("the programs lie in a target folder")?;
        rows.push(made::build(target, progress).await?);
    }
    if options.only == Some(Part::Rest) {
        rows.extend(rest::measure(cache, progress).await?);
    }
    if options.only == Some(Part::Usable) {
        rows.extend(Box::pin(usable::measure(options, cache, sidecar, progress)).await?);
    }
    Ok(rows)
}

/// Writes the rows to `target/e2e/bench.json` and, as Markdown, to `bench.md` beside it; returns them as a table for people.
pub fn publish(rows: &[Row], target: &Path) -> Result<String> {
    let folder = target.join("e2e");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let write = |name: &str, text: &[u8]| {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    };
    write("bench.json", &serde_json::to_vec_pretty(rows)?)?;
    write("bench.md", table::markdown(rows).as_bytes())?;
    Ok(table::render(rows))
}
