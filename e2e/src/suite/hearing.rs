//! A second hearing for tests that failed beside others.
//!
//! Some seventy scenarios and a thousand other tests share the machine, and what a machine may do to one of them by being slow is not what most of
//! them ask. So a few that failed are run once more, by themselves. What passes then is told as unsteady in the last lines and keeps nobody from
//! landing; it is a defect all the same, of the test or of the product. What fails again has failed.

use super::stages::Command;

/// So many may be heard again: where more fail, it is not the machine.
const MOST: usize = 3;

/// Of what a failed test has printed before its stack, so many lines are kept: the last ones say why.
const MOST_SAID: usize = 12;

/// The tests that a runner's output names as failed, and what they said.
///
/// Known: what cargo test prints of each failed test under `---- name stdout ----`, and the list under `failures:` with which it ends.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Their names, as the runner takes them.
    pub tests: Vec<String>,
    /// What each has printed, without the ways that led there.
    pub said: Vec<Said>,
    place: Place,
}

/// What one failed test has printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub test: String,
    pub lines: Vec<String>,
}

/// Where in a runner's output a line stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// In the list of those that failed.
    List,
    /// In what the latest of them has printed.
    Output,
}

impl Failures {
    /// Reads the next line.
    pub(super) fn hear(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(test) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.said.push(Said {
                test: test.to_owned(),
                lines: Vec::new(),
            });
            self.place = Place::Output;
            return;
        }
        match line.strip_prefix("    ") {
            _ if line == "failures:" => self.place = Place::List,
            Some(test) if self.place == Place::List => self.tests.push(test.to_owned()),
            _ if self.place == Place::Output => self.keep(line),
            // What the failed tests have printed stands under the same word, behind an empty line.
            _ => self.place = Place::Elsewhere,
        }
    }

    fn keep(&mut self, line: &str) {
        if line.eq_ignore_ascii_case("stack backtrace:") {
            self.place = Place::Elsewhere;
        } else if let Some(said) = self.said.last_mut()
            && !line.is_empty()
        {
            if said.lines.len() == MOST_SAID {
                said.lines.remove(0);
            }
            said.lines.push(line.to_owned());
        }
    }

    /// Adds what another stream of the same runner named.
    pub(super) fn extend(&mut self, other: Self) {
        self.tests.extend(other.tests);
        self.said.extend(other.said);
    }
}

/// The command that runs only these tests, one after the other; `None` where they are not heard again.
#[must_use]
pub(super) fn again(command: &Command, tests: &[String]) -> Option<Command> {
    if tests.is_empty() || tests.len() > MOST {
        return None;
    }
    let own = command.arguments.iter().take_while(|argument| *argument != "--");
    let further = ["--", "--exact", "--include-ignored", "--test-threads=1"];
    let further = further.into_iter().map(ToOwned::to_owned);
    Some(Command {
        program: command.program.clone(),
        arguments: own.cloned().chain(further).chain(tests.iter().cloned()).collect(),
        bed: command.bed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command {
        let mut words = text.split(' ').map(ToOwned::to_owned);
        Command {
            program: words.next().unwrap_or_default().into(),
            arguments: words.collect(),
            bed: 2,
        }
    }

    #[test]
    fn the_list_at_the_end_names_the_failed_tests_and_what_they_have_printed_does_not() {
        const OUTPUT: &str = "test a::b ... test a::b has been running for over 60 seconds\nFAILED\n\nfailures:\n\n---- a::b stdout ----\n\
                              thread panicked\n    because\n\nStack backtrace:\n    at ./tests/b.rs:80:9\n\n\nfailures:\n    a::b\r\n    c\n\ntest result: FAILED. 1 passed\n    d\n";
        let mut failures = Failures::default();
        for line in OUTPUT.lines() {
            failures.hear(line);
        }
        assert_eq!(failures.tests, ["a::b", "c"]);
        let said = Said {
            test: "a::b".to_owned(),
            lines: vec!["thread panicked".to_owned(), "    because".to_owned()],
        };
        assert_eq!(failures.said, [said]);
    }

    #[test]
    fn a_few_are_run_again_by_themselves_and_many_are_not() {
        let first = command("cargo test --test scenarios -- --skip alone:: --test-threads=24");
        let tests: Vec<String> = ["a", "b", "c", "d"].map(ToOwned::to_owned).into();
        let second = again(&first, &tests[..2]).unwrap();
        assert_eq!(
            second.text(),
            "DATAEMBASSY_BED=2 cargo test --test scenarios -- --exact --include-ignored --test-threads=1 a b"
        );
        assert!(again(&first, &tests).is_none());
        assert!(again(&first, &[]).is_none());
    }
}
