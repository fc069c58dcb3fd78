//! Rows of results.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::spent::Spent;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Our median.
    pub ours: f64,
    /// The median of the stock tools.
    pub theirs: f64,
    /// Ours through theirs: below 1 is better.
    pub ratio: f64,
    /// Of `ours` and `theirs`.
    pub unit: String,
    /// What the two median runs took besides time: ours, and theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<[Spent; 2]>,
}

impl Row {
    pub(super) fn new(name: String, ours: f64, theirs: f64, unit: &str) -> Self {
        Self {
            name,
            ours,
            theirs,
            ratio: ours / theirs,
            unit: unit.into(),
            spent: None,
        }
    }

    /// By the time of the run in the middle, of which the rest is told too.
    pub(super) fn spent(name: String, ours: &[Spent], theirs: &[Spent]) -> Result<Self> {
        let median = |of| Spent::median(of).context("nothing was measured");
        let both = [median(ours)?, median(theirs)?];
        Ok(Self {
            spent: Some(both),
            ..Self::new(name, both[0].seconds, both[1].seconds, "s")
        })
    }

    pub(super) fn seconds(name: String, ours: &[Duration], theirs: &[Duration]) -> Self {
        Self::new(
            name,
            median(ours).as_secs_f64(),
            median(theirs).as_secs_f64(),
            "s",
        )
    }
}

/// The median: of an even number of values, the mean of the two in the middle. Zero of none.
fn median(of: &[Duration]) -> Duration {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => Duration::ZERO,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2,
    }
}

/// As Markdown, for `docs/`: the comparisons, and what the median runs took.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut table = "| what | ours | theirs | ratio |\n| --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let Row {
            name,
            ours,
            theirs,
            ratio,
            unit,
            ..
        } = row;
        // A string takes every write.
        let _ = writeln!(
            table,
            "| {name} | {ours:.2} {unit} | {theirs:.2} {unit} | {ratio:.2} |"
        );
    }
    let taken: Vec<_> = taken(rows).collect();
    if !taken.is_empty() {
        table.push_str(
            "\n| run in the middle | s | processor s: who copies | database | store | most memory |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
    }
    for (name, spent) in taken {
        let _ = writeln!(
            table,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} MiB |",
            spent.seconds, spent.program, spent.database, spent.store, spent.peak
        );
    }
    table
}

/// What each side's median run took.
fn taken(rows: &[Row]) -> impl Iterator<Item = (String, Spent)> {
    let of = |row: &Row| {
        let name = row.name.clone();
        row.spent.map(|[ours, theirs]| {
            [
                (format!("{name}: ours"), ours),
                (format!("{name}: theirs"), theirs),
            ]
        })
    };
    rows.iter().filter_map(of).flatten()
}

/// For a terminal.
pub(super) fn render(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut table = format!(
        "{:width$}  {:>10}  {:>10}  {:>6}  unit\n",
        "name", "ours", "theirs", "ratio"
    );
    for Row {
        name,
        ours,
        theirs,
        ratio,
        unit,
        ..
    } in rows
    {
        // A string takes every write.
        let _ = writeln!(
            table,
            "{name:width$}  {ours:>10.2}  {theirs:>10.2}  {ratio:>6.2}  {unit}"
        );
    }
    let taken: Vec<_> = taken(rows).collect();
    if !taken.is_empty() {
        let wide = width + ": theirs".len();
        let _ = writeln!(
            table,
            "\n{:wide$}  {:>8}  {:>10}  {:>10}  {:>10}  {:>10}",
            "run in the middle", "seconds", "who copies", "database", "store", "memory"
        );
        for (name, spent) in taken {
            let _ = writeln!(
                table,
                "{name:wide$}  {:>8.1}  {:>10.1}  {:>10.1}  {:>10.1}  {:>6.0} MiB",
                spent.seconds, spent.program, spent.database, spent.store, spent.peak
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        let seconds = |all: &[u64]| all.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        assert_eq!(median(&seconds(&[9, 1, 5])), Duration::from_secs(5));
        assert_eq!(median(&seconds(&[9, 1, 5, 7])), Duration::from_secs(6));
        assert_eq!(median(&[]), Duration::ZERO);
    }

    #[test]
    fn what_the_median_runs_took_follows_the_comparisons() {
        let took = |seconds| Spent {
            seconds,
            program: 1.0,
            database: 2.0,
            store: 0.5,
            peak: 40.0,
        };
        let row = Row::spent("copy".into(), &[took(3.0)], &[took(4.0)]).unwrap();
        let plain = Row::new("size".into(), 1.0, 2.0, "MB");
        let said = markdown(&[row, plain]);
        assert_eq!(
            said,
            "| what | ours | theirs | ratio |\n| --- | --- | --- | --- |\n\
             | copy | 3.00 s | 4.00 s | 0.75 |\n| size | 1.00 MB | 2.00 MB | 0.50 |\n\n\
             | run in the middle | s | processor s: who copies | database | store | most memory |\n\
             | --- | --- | --- | --- | --- | --- |\n\
             | copy: ours | 3.0 | 1.0 | 2.0 | 0.5 | 40 MiB |\n| copy: theirs | 4.0 | 1.0 | 2.0 | 0.5 | 40 MiB |\n"
        );
    }

    #[test]
    fn a_row_is_written_as_the_fields_that_readers_of_the_file_know() {
        let row = Row::seconds(
            "copy".into(),
            &[Duration::from_secs(3)],
            &[Duration::from_secs(4)],
        );
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"name": "copy", "ours": 3.0, "theirs": 4.0, "ratio": 0.75, "unit": "s"})
        );
    }
}
