//! `cargo e2e test`: every test there is, stage by stage, in one command.
//!
//! A stage is a real tool run as a person would run it. A failed stage does not hide the later ones: all run, and the last lines say which
//! failed, what to run to see it again, and how many tests the runners counted.

mod count;
mod run;
mod stages;

pub use count::Count;
pub use stages::{Lane, Stage, stages};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;
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
    let wanted: Vec<_> = all
        .iter()
        .filter(|stage| options.only.is_empty() || options.only.iter().any(|name| name == stage.name))
        .collect();
    let started = Instant::now();
    let outcomes = run_all(workspace, &wanted);
    report(&outcomes, started.elapsed())
}

/// What a stage tells while it runs, and at its end.
enum Said {
    Line(String),
    Ended(Outcome),
}

/// Who hears a stage.
struct Voice(Sender<Said>);

impl Voice {
    fn say(&self, line: String) {
        // Nobody hears it only when the whole command is ending.
        let _ = self.0.send(Said::Line(line));
    }
}

/// Runs what must be alone, and then the other lanes at once, each stage by stage.
///
/// What they print comes in the order of the stages all the same: the first that still runs is heard as it goes, what later ones say is
/// kept until then.
fn run_all(workspace: &Path, stages: &[&Stage]) -> Vec<Outcome> {
    let mut heard = Vec::new();
    let mut lanes: BTreeMap<Lane, Vec<(&Stage, Voice)>> = BTreeMap::new();
    for stage in stages {
        let (voice, said) = mpsc::channel();
        heard.push(said);
        lanes.entry(stage.lane).or_default().push((stage, Voice(voice)));
    }
    thread::scope(|scope| {
        scope.spawn(move || {
            run_lane(workspace, lanes.remove(&Lane::Alone).unwrap_or_default());
            thread::scope(|beside| {
                for lane in lanes.into_values() {
                    beside.spawn(move || run_lane(workspace, lane));
                }
            });
        });
        let mut outcomes = Vec::new();
        for said in heard.into_iter().flatten() {
            match said {
                Said::Line(line) => say(&line),
                Said::Ended(outcome) => outcomes.push(outcome),
            }
        }
        outcomes
    })
}

fn run_lane(workspace: &Path, lane: Vec<(&Stage, Voice)>) {
    for (stage, voice) in lane {
        let outcome = run_stage(workspace, stage, &voice);
        let _ = voice.0.send(Said::Ended(outcome));
    }
}

fn run_stage(workspace: &Path, stage: &Stage, voice: &Voice) -> Outcome {
    voice.say(format!("\n━━ {}: {}", stage.name, stage.about));
    let started = Instant::now();
    let mut count = Count::default();
    let mut failure = None;
    for command in &stage.commands {
        match run::command(workspace, command, voice) {
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
        .map(|command| run::command(workspace, command, voice))
    {
        failure.get_or_insert(why);
    }
    let elapsed = started.elapsed();
    let verdict = if failure.is_some() { "FAILED" } else { "ok" };
    voice.say(format!(
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

fn report(outcomes: &[Outcome], elapsed: Duration) -> Result<()> {
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
    say(&format!("{total}, in {} s", elapsed.as_secs()));
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

    fn stage(name: &'static str, lane: Lane, script: &str) -> Stage {
        Stage {
            name,
            about: "a stage of a test",
            lane,
            commands: vec![command(script)],
            finally: None,
        }
    }

    fn command(script: &str) -> stages::Command {
        stages::Command {
            program: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        }
    }

    #[test]
    fn what_a_stage_leaves_is_cleared_away_although_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage {
            commands: vec![command("false"), command("touch never")],
            finally: Some(command("touch cleared")),
            ..stage("failing", Lane::Alone, "")
        };
        let outcomes = run_all(folder.path(), &[&stage]);
        assert!(
            outcomes[0]
                .failure
                .as_ref()
                .is_some_and(|why| why.contains("false"))
        );
        assert!(folder.path().join("cleared").exists());
        assert!(!folder.path().join("never").exists());
    }

    #[test]
    fn lanes_run_at_once_after_what_runs_alone_and_are_told_in_the_order_of_the_stages() {
        let folder = tempfile::tempdir().unwrap();
        // Each of two waits for what the other does: one after the other, neither would end.
        let meets = |mine: &str, others: &str| {
            format!(
                "test -e first && touch {mine} && for i in $(seq 600); do test -e {others} && exit 0; sleep 0.1; done; exit 1"
            )
        };
        let stages = [
            stage("first", Lane::Alone, "touch first"),
            stage("works", Lane::Loopback, &meets("works", "waits")),
            stage("works-on", Lane::Loopback, "test -e waits"),
            stage("waits", Lane::Bed, &meets("waits", "works")),
        ];
        let outcomes = run_all(folder.path(), &stages.each_ref());
        let ended: Vec<_> = outcomes
            .iter()
            .map(|outcome| (outcome.name, outcome.failure.is_none()))
            .collect();
        assert_eq!(
            ended,
            [
                ("first", true),
                ("works", true),
                ("works-on", true),
                ("waits", true)
            ]
        );
    }
}
