//! `cargo e2e bench`: how long a copy and a restore take, next to the pipe that a careful administrator would
//! lay from stock tools. Both sides in one run, in turn, on the same servers; the median counts. Where there are no stock tools, what is
//! promised stands beside what was measured.

mod copies;
mod custodian;
mod data;
mod gate;
mod harm;
mod ours;
mod reading;
mod rig;
mod scale;
mod spent;
mod table;
mod theirs;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::progress::Progress;

pub use spent::Spent;
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
    /// Copies of one large table, of ten thousand small ones, of what cannot be compressed, and of JSON; only when it is asked for, as it takes
    /// half an hour.
    Shapes,
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
        rows.extend(copies::measure(options, sidecar, progress).await?);
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
    if options.only == Some(Part::Shapes) {
        rows.extend(copies::measure_shapes(options, sidecar, progress).await?);
    }
    if options.only == Some(Part::Scale) {
        rows.extend(scale::measure(sidecar, progress).await?);
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
