//! `cargo e2e test`: every test there is, stage by stage, in one command.
//!
//! A stage is a real tool run as a person would run it. A failed stage does not hide the later ones: all run, and the last lines say which
//! failed, what to run to see it again, and how many tests the runners counted.

mod count;
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
    let outcomes: Vec<_> = wanted.map(|stage| run_stage(workspace, stage)).collect();
    report(&outcomes)
}

fn run_stage(workspace: &Path, stage: &Stage) -> Outcome {
    say(&format!("\n━━ {}: {}", stage.name, stage.about));
    let started = Instant::now();
    let mut count = Count::default();
    let mut failure = None;
    for command in &stage.commands {
        match run::command(workspace, command) {
            Ok(counted) => count += counted,
            Err(run::Failed { counted, why }) => {
                count += counted;
                failure = Some(why);
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
        count,
    }
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
        let outcome = run_stage(folder.path(), &stage);
        assert!(outcome.failure.is_some_and(|why| why.contains("false")));
        assert!(folder.path().join("cleared").exists());
        assert!(!folder.path().join("never").exists());
    }
}
