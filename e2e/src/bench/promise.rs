//! What is promised of a row, and what came of it.

use std::fmt::Write as _;

use serde::Serialize;

use super::row::Row;

/// Rows that miss what is promised, by the beginnings of their names, and why they cannot reach it on the machine that the promises are made for;
/// `docs/performance.md` has the profiles. Nothing belongs in here that more work would mend.
const OUT_OF_REACH: [(&str, &str); 1] = [(
    "share of zstd alone in the time of",
    "what a copy has besides zstd (TLS with the database, SHA-256, age, moving memory) takes two fifths of the processor time",
)];

/// What came of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Kept,
    /// Missed, and it is known why it cannot be kept.
    OutOfReach(&'static str),
    Missed,
}

/// A ratio that is promised at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Promise(f64);

impl Promise {
    /// Ours takes as much as theirs at most.
    pub(super) const AS_GOOD: Self = Self(1.0);

    /// Ours takes so many times as much as theirs at most.
    pub(super) fn at_most(times: f64) -> Self {
        Self(times)
    }

    /// Ours is so many times as fast as theirs at least.
    pub(super) fn times_as_fast(times: f64) -> Self {
        Self(times.recip())
    }

    /// The ratio.
    pub(super) fn ratio(self) -> f64 {
        self.0
    }
}

impl Row {
    /// What came of what is promised of it, if anything is.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome_among(&OUT_OF_REACH)
    }

    fn outcome_among(&self, out_of_reach: &[(&str, &'static str)]) -> Option<Outcome> {
        let promise = self.promise?;
        // What is no number at all keeps nothing.
        if self.ratio.is_some_and(|ratio| ratio <= promise.0) {
            return Some(Outcome::Kept);
        }
        let known = out_of_reach
            .iter()
            .find(|(begin, _)| self.name.starts_with(*begin));
        Some(known.map_or(Outcome::Missed, |&(_, why)| Outcome::OutOfReach(why)))
    }
}

impl Outcome {
    /// In a cell of a table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::OutOfReach(_) => "out of reach",
            Self::Missed => "MISSED",
        }
    }
}

/// The rows that miss what is promised although nothing is known that keeps them from it, for people; `None` if there are none.
#[must_use]
pub fn missed(rows: &[Row]) -> Option<String> {
    let missed = rows.iter().filter(|row| row.outcome() == Some(Outcome::Missed));
    let all = missed.fold(String::new(), |mut all, row| {
        // A string takes every write.
        let _ = write!(all, "\n  {}", row.name);
        all
    });
    (!all.is_empty()).then(|| format!("what is promised was missed:{all}"))
}

/// Why rows are out of reach, one line for each.
pub(super) fn reasons(rows: &[Row]) -> String {
    let mut all = String::new();
    for row in rows {
        if let Some(Outcome::OutOfReach(why)) = row.outcome() {
            // A string takes every write.
            let _ = writeln!(all, "out of reach: {}: {why}", row.name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(ours: f64) -> Row {
        Row::new("copy".into(), ours, 4.0, "s").promised(Promise::times_as_fast(2.0))
    }

    #[test]
    fn a_promise_is_kept_up_to_what_was_promised_and_missed_beyond() {
        assert_eq!(copy(2.0).outcome(), Some(Outcome::Kept));
        assert_eq!(copy(2.1).outcome(), Some(Outcome::Missed));
        assert_eq!(copy(f64::NAN).outcome(), Some(Outcome::Missed));
        assert_eq!(Row::new("copy".into(), 9.0, 4.0, "s").outcome(), None);
    }

    #[test]
    fn a_row_without_anything_beside_it_keeps_no_promise() {
        let alone = Row::alone("copy".into(), 2.0, "s").promised(Promise::AS_GOOD);
        assert_eq!(alone.outcome(), Some(Outcome::Missed));
    }

    #[test]
    fn what_is_known_to_be_out_of_reach_is_told_and_is_kept_where_it_is_reached() {
        let known = [("co", "no machine is so fast")];
        let missed = copy(3.0).outcome_among(&known);
        assert_eq!(missed, Some(Outcome::OutOfReach("no machine is so fast")));
        assert_eq!(copy(1.0).outcome_among(&known), Some(Outcome::Kept));
        assert_eq!(copy(3.0).outcome_among(&[("restore", "")]), Some(Outcome::Missed));
    }

    #[test]
    fn rows_that_miss_what_is_promised_are_named() {
        assert_eq!(missed(&[copy(1.0), Row::alone("size".into(), 1.0, "MB")]), None);
        let told = missed(&[copy(1.0), copy(3.0)]);
        assert_eq!(told.as_deref(), Some("what is promised was missed:\n  copy"));
    }

    #[test]
    fn a_share_that_is_out_of_reach_is_not_missed_and_its_reason_is_told() {
        let name = "share of zstd alone in the time of 2 processors, and what is promised at least";
        let share = [Row::at_least(name.into(), 0.4, 0.85)];
        assert_eq!(missed(&share), None);
        assert!(reasons(&share).starts_with(&format!("out of reach: {name}: what a copy has")));
    }
}
