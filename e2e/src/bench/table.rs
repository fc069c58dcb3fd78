//! Rows of results.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

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
}

impl Row {
    pub(super) fn new(name: String, ours: f64, theirs: f64, unit: &str) -> Self {
        Self {
            name,
            ours,
            theirs,
            ratio: ours / theirs,
            unit: unit.into(),
        }
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
    } in rows
    {
        // A string takes every write.
        let _ = writeln!(
            table,
            "{name:width$}  {ours:>10.2}  {theirs:>10.2}  {ratio:>6.2}  {unit}"
        );
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
