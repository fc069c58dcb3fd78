//! `cargo e2e test`: every test there is, stage by stage, in one command.
//!
//! A stage is a real tool run as a person would run it. A failed stage does not hide the later ones: all run, and the last lines say which
//! failed, what to run to see it again, and how many tests the runners counted. Stages that get in nobody's way run at once, in lanes. A few tests
//! that failed beside others get a second [`hearing`].

mod count;
mod hearing;
mod lane;
mod run;
mod stages;
mod voice;

pub use count::Count;
pub use stages::{Lane, Stage, Step, clearing, steps};

use lane::Outcome;
use run::Tree;
use voice::Voice;

use std::path::Path;

use anyhow::{Result, bail};

/// The repository's root.
pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the caller wants run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Run only these stages, by name; may be given several times.
    #[arg(long, value_name = "STAGE")]
    pub only: Vec<String>,
    /// Also run what takes longer than a merge should wait, many hours in all: large data, many kills, minutes of fuzzing. Each stage says how long
    /// it takes; with `--only` it runs by itself.
    #[arg(long)]
    pub long: bool,
    /// A test that fails once has failed: none is run again by itself. For those who look for unsteady ones.
    #[arg(long)]
    pub strict: bool,
    /// Print the stages and what each would run, and stop.
    #[arg(long)]
    pub list: bool,
}

impl Options {
    fn wanted(&self, lane: &Lane) -> Lane {
        let is_wanted =
            |stage: &&Stage| self.only.is_empty() || self.only.iter().any(|name| names(name, stage));
        lane.iter().filter(is_wanted).cloned().collect()
    }
}

/// Whether a word for `--only` means a stage: its name, or what stands in it before a number.
fn names(word: &str, stage: &Stage) -> bool {
    let rest = stage.name.strip_prefix(word);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Runs the stages and prints what became of each. Fails if any stage failed or a name in `only` is unknown.
pub fn run(workspace: &Path, options: &Options) -> Result<()> {
    let all = steps(options);
    let last = vec![vec![clearing()]];
    let stages: Vec<_> = all.iter().flatten().flatten().collect();
    for name in &options.only {
        if !stages.iter().any(|stage| self::names(name, stage)) {
            let names: Vec<_> = stages.iter().map(|stage| stage.name).collect();
            bail!("there is no stage {name:?}; the stages are {}", names.join(", "));
        }
    }
    if options.list {
        list(all.iter().chain([&last]));
        return Ok(());
    }
    if options.long && options.only.is_empty() {
        Voice::Live.say("all of the long form takes many hours: --list says of each stage how long, --only runs one by itself");
    }
    let tree = Tree::new(workspace);
    let mut outcomes = Vec::new();
    let mut used_the_bed = false;
    for step in &all {
        let lanes: Vec<Lane> = step
            .iter()
            .map(|lane| options.wanted(lane))
            .filter(|lane| !lane.is_empty())
            .collect();
        used_the_bed |= lanes.iter().flatten().any(|stage| stage.prepared_by.is_some());
        outcomes.extend(lane::run_all(&tree, &lanes, options.strict));
    }
    if used_the_bed {
        outcomes.extend(lane::run_all(&tree, &last, options.strict));
    }
    report(&outcomes, options)
}

fn list<'a>(steps: impl Iterator<Item = &'a Step>) {
    let say = |line: &str| Voice::Live.say(line);
    for step in steps {
        for (number, lane) in step.iter().enumerate() {
            if number > 0 {
                say("at the same time:");
            }
            for stage in lane {
                say(&format!("{:<14} {}", stage.name, stage.about));
                for command in stage.prepared_by.iter().chain(&stage.commands) {
                    say(&format!("{:<14}   {}", "", command.text()));
                }
            }
        }
    }
}

/// The command that runs a stage again, as it was run.
fn again(name: &str, options: &Options, also: &str) -> String {
    if name == clearing().name {
        return "cargo e2e down --all".to_owned();
    }
    let long = if options.long { "--long " } else { "" };
    format!("cargo e2e test {also}{long}--only {name}")
}

fn report(outcomes: &[Outcome], options: &Options) -> Result<()> {
    let say = |line: &str| Voice::Live.say(line);
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
        say(&format!("{name}: {why}\n  again: {}", again(name, options, "")));
    }
    for outcome in outcomes {
        for said in &outcome.said {
            say(&format!("{}: {} failed and said:", outcome.name, said.test));
            for line in &said.lines {
                say(&format!("  {line}"));
            }
        }
        for test in &outcome.unsteady {
            say(&format!(
                "{}: UNSTEADY {test} failed beside others and passed by itself: a defect\n  again: {}",
                outcome.name,
                again(outcome.name, options, "--strict ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_in_its_long_form_is_run_again_in_that() {
        let long = Options {
            long: true,
            ..Options::default()
        };
        assert_eq!(again("kills", &long, ""), "cargo e2e test --long --only kills");
        assert_eq!(
            again("crates", &Options::default(), "--strict "),
            "cargo e2e test --strict --only crates"
        );
        assert_eq!(again("clearing", &long, ""), "cargo e2e down --all");
    }
}
