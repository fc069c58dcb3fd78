//! How many tests the runners say they ran.

use std::fmt;
use std::ops::AddAssign;

/// Tests counted by the runners of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Tests that ran and held.
    pub passed: u64,
    /// Tests that ran and did not hold.
    pub failed: u64,
    /// Tests that were left out, such as those behind `--long`.
    pub skipped: u64,
    /// Tests among the passed ones that had failed beside others before.
    pub unsteady: u64,
}

impl Count {
    /// Reads one line of a runner's output; a line that is no runner's closing line counts nothing.
    ///
    /// Known: `test result: ok. 3 passed; 0 failed; 1 ignored; …` of cargo test.
    #[must_use]
    pub fn of_line(line: &str) -> Self {
        let Some((_, figures)) = line
            .trim_start()
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return Self::default();
        };
        let figure = |word: &str| {
            figures
                .split("; ")
                .find_map(|part| part.strip_suffix(word))
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or_default()
        };
        Self {
            passed: figure("passed"),
            failed: figure("failed"),
            skipped: figure("ignored"),
            unsteady: 0,
        }
    }

    /// The count of a run so many of whose tests failed, and passed when they were run again.
    #[must_use]
    pub const fn cleared(self, tests: u64) -> Self {
        Self {
            passed: self.passed + tests,
            failed: self.failed.saturating_sub(tests),
            unsteady: self.unsteady + tests,
            ..self
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsteady += other.unsteady;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )?;
        if self.unsteady > 0 {
            write!(f, ", {} unsteady", self.unsteady)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_cargo_test_is_counted() {
        let line = "test result: FAILED. 12 passed; 2 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.01s";
        assert_eq!(
            Count::of_line(line),
            Count {
                passed: 12,
                failed: 2,
                skipped: 3,
                unsteady: 0
            }
        );
    }

    #[test]
    fn what_was_cleared_is_told_as_unsteady() {
        let count = Count::of_line("test result: FAILED. 12 passed; 2 failed; 3 ignored; 0 measured");
        assert_eq!(
            count.cleared(2).to_string(),
            "14 passed, 0 failed, 3 skipped, 2 unsteady"
        );
        assert_eq!(count.to_string(), "12 passed, 2 failed, 3 skipped");
    }

    #[test]
    fn a_line_that_only_mentions_a_result_counts_nothing() {
        assert_eq!(
            Count::of_line("the test result: 12 passed; 2 failed"),
            Count::default()
        );
        assert_eq!(Count::of_line("test a_test ... ok"), Count::default());
    }
}
