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
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
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
                skipped: 3
            }
        );
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
