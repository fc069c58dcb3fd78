//! `cargo e2e test`: every test there is, stage by stage, in one command.
//!
//! A stage is a real tool run as a person would run it. A failed stage does not hide the later ones: all run, and the last lines say which
//! failed, what to run to see it again, and how many tests the runners counted. A few tests that failed beside others get a second [`hearing`].

mod count;
mod hearing;
mod run;
mod stages;

pub use count::Count;
pub use stages::{Stage, stages};

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The repository's root.
pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the caller wants run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Run only these stages, by name; may be given several times.
    #[arg(long, value_name = "STAGE")]
    pub only: Vec<String>,
    /// Also run what takes longer than a merge should wait: large data, many kills, minutes of fuzzing.
    #[arg(long)]
    pub long: bool,
    /// A test that fails once has failed: none is run again by itself. For those who look for unsteady ones.
    #[arg(long)]
    pub strict: bool,
    /// Print the stages and what each would run, and stop.
    #[arg(long)]
    pub list: bool,
}

/// What became of one stage.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    elapsed: Duration,
    failure: Option<String>,
    /// Tests that failed beside others, and passed by themselves.
    unsteady: Vec<String>,
    count: Count,
}

/// Runs the stages and prints what became of each. Fails if any stage failed or a name in `only` is unknown.
pub fn run(workspace: &Path, options: &Options) -> Result<()> {
    let all = stages(options);
    for name in &options.only {
        if !all.iter().any(|stage| stage.name == name) {
            let names: Vec<_> = all.iter().map(|stage| stage.name).collect();
            bail!("there is no stage {name:?}; the stages are {}", names.join(", "));
        }
    }
    if options.list {
        for stage in &all {
            say(&format!("{:<14} {}", stage.name, stage.about));
            for command in stage.commands.iter().chain(&stage.finally) {
                say(&format!("{:<14}   {}", "", command.text()));
            }
        }
        return Ok(());
    }
    let wanted = all
        .iter()
        .filter(|stage| options.only.is_empty() || options.only.iter().any(|name| name == stage.name));
    let outcomes: Vec<_> = wanted
        .map(|stage| run_stage(workspace, stage, options.strict))
        .collect();
    report(&outcomes)
}

fn run_stage(workspace: &Path, stage: &Stage, strict: bool) -> Outcome {
    say(&format!("\n━━ {}: {}", stage.name, stage.about));
    let started = Instant::now();
    let mut count = Count::default();
    let mut failure = None;
    let mut unsteady = Vec::new();
    for command in &stage.commands {
        match run::command(workspace, command) {
            Ok(counted) => count += counted,
            Err(failed) if !strict && passes_alone(workspace, command, &failed.tests) => {
                count += failed.counted.cleared(failed.tests.len() as u64);
                unsteady.extend(failed.tests);
            }
            Err(failed) => {
                count += failed.counted;
                failure = Some(failed.why);
                break;
            }
        }
    }
    if let Some(Err(run::Failed { why, .. })) = stage
        .finally
        .as_ref()
        .map(|command| run::command(workspace, command))
    {
        failure.get_or_insert(why);
    }
    let elapsed = started.elapsed();
    let verdict = if failure.is_some() { "FAILED" } else { "ok" };
    say(&format!(
        "━━ {}: {verdict} after {} s",
        stage.name,
        elapsed.as_secs()
    ));
    Outcome {
        name: stage.name,
        elapsed,
        failure,
        unsteady,
        count,
    }
}

/// Whether each of these tests passes when it is run again by itself.
fn passes_alone(workspace: &Path, command: &stages::Command, tests: &[String]) -> bool {
    let Some(again) = hearing::again(command, tests) else {
        return false;
    };
    say(&format!("━━ a second hearing for {}", tests.join(", ")));
    run::command(workspace, &again).is_ok_and(|counted| counted.passed >= tests.len() as u64)
}

fn report(outcomes: &[Outcome]) -> Result<()> {
    say("\n━━ summary");
    let mut total = Count::default();
    for outcome in outcomes {
        let verdict = if outcome.failure.is_some() { "FAILED" } else { "ok" };
        say(&format!(
            "{:<14} {verdict:<7} {:>5} s   {}",
            outcome.name,
            outcome.elapsed.as_secs(),
            outcome.count
        ));
        total += outcome.count;
    }
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.failure.as_ref().map(|why| (outcome.name, why)))
        .collect();
    for (name, why) in &failed {
        say(&format!("{name}: {why}\n  again: cargo e2e test --only {name}"));
    }
    for outcome in outcomes {
        for test in &outcome.unsteady {
            say(&format!(
                "{}: UNSTEADY {test} failed beside others and passed by itself: a defect, whose output is above\n  again: cargo e2e test --strict --only {}",
                outcome.name, outcome.name
            ));
        }
    }
    say(&total.to_string());
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("{} of {} stages failed", failed.len(), outcomes.len())
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command-line program")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test runner that fails the first time, and says so the way cargo test does.
    #[test]
    fn what_fails_once_is_unsteady_and_what_fails_twice_has_failed() {
        const ONCE: &str = "test -e seen && echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured' && exit 0; \
                            touch seen; printf 'failures:\n    a::b\n\n'; echo 'test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured'; exit 1";
        const TWICE: &str = "printf 'failures:\n    a::b\n\n'; exit 1";
        // It passes only what nobody had asked for.
        const ANOTHER: &str = "test -e seen && exit 0; touch seen; printf 'failures:\n    a::b\n\n'; exit 1";
        for (script, strict, passes) in [
            (ONCE, false, true),
            (ONCE, true, false),
            (TWICE, false, false),
            (ANOTHER, false, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let stage = Stage {
                name: "unsteady",
                about: "a stage with a test that fails",
                commands: vec![stages::Command {
                    program: "sh".into(),
                    arguments: vec!["-c".to_owned(), script.to_owned()],
                }],
                finally: None,
            };
            let outcome = run_stage(folder.path(), &stage, strict);
            assert_eq!(outcome.failure.is_none(), passes, "{script} {strict}");
            if passes {
                assert_eq!(outcome.unsteady, ["a::b"]);
                assert_eq!(
                    outcome.count.to_string(),
                    "5 passed, 0 failed, 0 skipped, 1 unsteady"
                );
                assert!(report(&[outcome]).is_ok());
            }
        }
    }

    #[test]
    fn what_a_stage_leaves_is_cleared_away_although_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        let command = |program: &str, arguments: &[&str]| stages::Command {
            program: program.into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        let stage = Stage {
            name: "failing",
            about: "a stage that fails",
            commands: vec![command("false", &[]), command("touch", &["never"])],
            finally: Some(command("touch", &["cleared"])),
        };
        let outcome = run_stage(folder.path(), &stage, false);
        assert!(outcome.failure.is_some_and(|why| why.contains("false")));
        assert!(folder.path().join("cleared").exists());
        assert!(!folder.path().join("never").exists());
    }
}
