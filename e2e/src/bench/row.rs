//! Rows of results.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{promise::Promise, spent::Spent};

/// One comparison, or one figure that has nothing to stand beside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Our median.
    pub ours: f64,
    /// The median of the stock tools, or what is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<f64>,
    /// Ours through theirs, or theirs through ours where more is better: below 1 is better. Where nothing at all is promised, 1 says that nothing
    /// came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The ratio that is promised at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// Of `ours` and `theirs`; empty for a share.
    pub unit: String,
    /// What the median runs took besides time: ours, and theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<Spent>,
}

impl Row {
    pub(super) fn new(name: String, ours: f64, theirs: f64, unit: &str) -> Self {
        let is_equal = ours.total_cmp(&theirs).is_eq();
        Self {
            theirs: Some(theirs),
            ratio: Some(if is_equal { 1.0 } else { ours / theirs }),
            ..Self::alone(name, ours, unit)
        }
    }

    /// Something of which so much is promised at most.
    pub(super) fn within(name: String, ours: f64, promised: f64, unit: &str) -> Self {
        Self::new(name, ours, promised, unit).promised(Promise::AS_GOOD)
    }

    /// A share that is promised to be as large at least.
    pub(super) fn at_least(name: String, ours: f64, promised: f64) -> Self {
        let row = Self {
            theirs: Some(promised),
            ratio: Some(promised / ours),
            ..Self::alone(name, ours, "")
        };
        row.promised(Promise::AS_GOOD)
    }

    /// The same with what is promised of it, if anything is.
    pub(super) fn promised(self, promise: impl Into<Option<Promise>>) -> Self {
        Self {
            promise: promise.into(),
            ..self
        }
    }

    pub(super) fn alone(name: String, ours: f64, unit: &str) -> Self {
        Self {
            name,
            ours,
            theirs: None,
            ratio: None,
            promise: None,
            unit: unit.into(),
            spent: Vec::new(),
        }
    }

    /// By the time of the run in the middle, of which the rest is told too.
    pub(super) fn spent(name: String, ours: &[Spent], theirs: &[Spent]) -> Result<Self> {
        let [ours, theirs] = [median_run(ours)?, median_run(theirs)?];
        Ok(Self {
            spent: vec![ours, theirs],
            ..Self::new(name, ours.seconds, theirs.seconds, "s")
        })
    }

    /// The same for runs of ours that nobody else's stand beside.
    pub(super) fn spent_alone(name: String, ours: &[Spent]) -> Result<Self> {
        let ours = median_run(ours)?;
        Ok(Self {
            spent: vec![ours],
            ..Self::alone(name, ours.seconds, "s")
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

fn median_run(of: &[Spent]) -> Result<Spent> {
    Spent::median(of).context("nothing was measured")
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

/// Bytes as MB, to a thousandth.
pub(super) fn megabytes(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes / 1_000)?) / 1e3)
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
    fn a_ratio_below_one_is_better_whether_less_is_or_more() {
        let less = Row::new("time".into(), 3.0, 4.0, "s");
        let more = Row::at_least("share".into(), 1.0, 0.5);
        let neither = Row::alone("size".into(), 3.0, "MB");
        assert_eq!(
            [less.ratio, more.ratio, neither.ratio],
            [Some(0.75), Some(0.5), None]
        );
    }

    #[test]
    fn what_is_promised_is_written_as_a_ratio() {
        let row = Row::new("copy".into(), 3.0, 4.0, "s").promised(Promise::at_most(1.02));
        assert_eq!(serde_json::to_value(row).unwrap()["promise"], 1.02);
    }

    #[test]
    fn nothing_is_as_promised_where_nothing_is_promised() {
        let row = |ours| Row::new("writes".into(), ours, 0.0, "");
        assert_eq!(serde_json::to_value(row(0.0)).unwrap()["ratio"], 1.0);
        assert!(row(3.0).ratio.is_some_and(f64::is_infinite));
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
