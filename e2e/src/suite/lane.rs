//! Runs lanes of stages: within a lane one stage after the other, the lanes at once.

use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::count::Count;
use super::stages::{Command, Lane, Stage};
use super::voice::Voice;
use super::{hearing, hearing::Said, run, run::Tree};

/// What became of one stage.
#[derive(Debug)]
pub(super) struct Outcome {
    pub name: &'static str,
    pub elapsed: Duration,
    pub failure: Option<String>,
    /// Tests that failed beside others, and passed by themselves.
    pub unsteady: Vec<String>,
    /// What failed tests said, each time.
    pub said: Vec<Said>,
    pub count: Count,
}

/// Runs the lanes at once, and says what became of each stage. The last lane is heard as it goes; the others' lines come when a stage has ended.
///
/// A second hearing waits until no lane runs anything else. `strict` gives none.
pub(super) fn run_all(tree: &Tree, lanes: &[Lane], strict: bool) -> Vec<Outcome> {
    let Some((last, others)) = lanes.split_last() else {
        return Vec::new();
    };
    let hall = Hall {
        tree,
        strict,
        silence: Barrier::new(lanes.len()),
        turn: Mutex::new(()),
        preparing: Mutex::new(()),
    };
    for lane in others {
        let names: Vec<_> = lane.iter().map(|stage| stage.name).collect();
        Voice::Live.say(&format!(
            "\n━━ beside what follows: {}; what they say comes when they have ended",
            names.join(", ")
        ));
    }
    thread::scope(|scope| {
        let beside: Vec<_> = others
            .iter()
            .map(|lane| scope.spawn(|| hall.run(lane, &Voice::kept())))
            .collect();
        let live = hall.run(last, &Voice::Live);
        let beside = beside.into_iter().flat_map(|lane| match lane.join() {
            Ok(outcomes) => outcomes,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        beside.chain(live).collect()
    })
}

/// What the lanes share.
struct Hall<'a> {
    tree: &'a Tree<'a>,
    strict: bool,
    /// Behind it no lane runs but for hearings.
    silence: Barrier,
    /// Hearings are held one after the other.
    turn: Mutex<()>,
    /// And stages are prepared so: clusters that begin at once starve each other, and those that run.
    preparing: Mutex<()>,
}

/// A stage that has run, of whose tests some may be heard again.
struct Trial<'a> {
    outcome: Outcome,
    /// What must be so again for a hearing: stages behind it may have taken it away.
    prepared_by: Option<&'a Command>,
    /// Commands that failed by a few tests alone.
    doubts: Vec<(&'a Command, run::Failed)>,
}

impl Hall<'_> {
    fn run(&self, lane: &Lane, voice: &Voice) -> Vec<Outcome> {
        let mut trials: Vec<_> = lane
            .iter()
            .map(|stage| {
                let trial = self.try_stage(stage, voice);
                voice.let_go();
                trial
            })
            .collect();
        self.silence.wait();
        let turn = taken(&self.turn);
        for trial in &mut trials {
            self.hear(trial, voice);
        }
        drop(turn);
        voice.let_go();
        trials.into_iter().map(|trial| trial.outcome).collect()
    }

    fn try_stage<'a>(&self, stage: &'a Stage, voice: &Voice) -> Trial<'a> {
        voice.say(&format!("\n━━ {}: {}", stage.name, stage.about));
        let started = Instant::now();
        let mut count = Count::default();
        let mut failure = None;
        let mut doubts = Vec::new();
        let mut said = Vec::new();
        for command in stage.prepared_by.iter().chain(&stage.commands) {
            let prepares = stage.prepared_by.as_ref() == Some(command);
            let turn = prepares.then(|| taken(&self.preparing));
            let ran = run::command(self.tree, command, voice);
            drop(turn);
            match ran {
                Ok(counted) => count += counted,
                Err(mut failed)
                    if !self.strict && hearing::again(command, &failed.failures.tests).is_some() =>
                {
                    said.append(&mut failed.failures.said);
                    doubts.push((command, failed));
                }
                Err(failed) => {
                    count += failed.counted;
                    said.extend(failed.failures.said);
                    failure = Some(failed.why);
                    break;
                }
            }
        }
        if failure.is_none() && doubts.is_empty() {
            self.tree.built_by(stage);
        }
        let verdict = match (&failure, doubts.len()) {
            (Some(_), _) => "FAILED",
            (None, 0) => "ok",
            (None, _) => "not ok, and to be heard again",
        };
        let elapsed = started.elapsed();
        voice.say(&format!(
            "━━ {}: {verdict} after {} s",
            stage.name,
            elapsed.as_secs()
        ));
        Trial {
            outcome: Outcome {
                name: stage.name,
                elapsed,
                failure,
                unsteady: Vec::new(),
                said,
                count,
            },
            prepared_by: stage.prepared_by.as_ref(),
            doubts,
        }
    }

    fn hear(&self, trial: &mut Trial<'_>, voice: &Voice) {
        let outcome = &mut trial.outcome;
        for (command, failed) in trial.doubts.drain(..) {
            let tests = failed.failures.tests;
            voice.say(&format!("━━ a second hearing for {}", tests.join(", ")));
            let again = hearing::again(command, &tests);
            let mut heard = Ok(Count::default());
            for command in trial.prepared_by.into_iter().chain(again.as_ref()) {
                heard = heard.and_then(|_| run::command(self.tree, command, voice));
            }
            // What runs none of them ends well, and has shown nothing.
            match heard {
                Ok(counted) if counted.passed >= tests.len() as u64 => {
                    outcome.count += failed.counted.cleared(tests.len() as u64);
                    outcome.unsteady.extend(tests);
                    continue;
                }
                Ok(_) => {}
                // What prepares the stage may have failed, and not the tests.
                Err(second) if second.failures.tests.is_empty() => {
                    outcome.failure.get_or_insert(second.why);
                }
                Err(second) => outcome.said.extend(second.failures.said),
            }
            outcome.count += failed.counted;
            outcome.failure.get_or_insert(failed.why);
        }
    }
}

/// A lane that panicked has left whole what it held.
fn taken<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn script(text: &str) -> Command {
        Command {
            program: "sh".into(),
            arguments: vec!["-c".to_owned(), text.to_owned()],
            bed: 0,
        }
    }

    fn stage(commands: &[&str]) -> Stage {
        Stage {
            name: "stage",
            about: "a stage of a test",
            prepared_by: None,
            commands: commands.iter().map(|text| script(text)).collect(),
            builds: None,
        }
    }

    /// A test runner that fails the first time, and says so the way cargo test does.
    const ONCE: &str = "test -e seen && echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured' && exit 0; \
                        touch seen; printf 'failures:\n    a::b\n\n'; echo 'test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured'; exit 1";

    #[test]
    fn what_fails_once_is_unsteady_and_what_fails_twice_has_failed() {
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
            let stage = stage(&[script]);
            let outcomes = run_all(&Tree::new(folder.path()), &[vec![stage]], strict);
            let [outcome] = &outcomes[..] else {
                panic!("{outcomes:?}")
            };
            assert_eq!(outcome.failure.is_none(), passes, "{script} {strict}");
            if passes {
                assert_eq!(outcome.unsteady, ["a::b"]);
                assert_eq!(
                    outcome.count.to_string(),
                    "5 passed, 0 failed, 0 skipped, 1 unsteady"
                );
            }
        }
    }

    #[test]
    fn what_a_later_stage_takes_away_is_there_again_for_a_second_hearing() {
        let folder = tempfile::tempdir().unwrap();
        let needy = ONCE.replace("test -e seen", "test -e bed && test -e seen");
        let first = Stage {
            prepared_by: Some(script("touch bed")),
            ..stage(&[&needy])
        };
        let lane = vec![first, stage(&["rm bed"])];
        let outcomes = run_all(&Tree::new(folder.path()), &[lane], false);
        assert_eq!(outcomes[0].unsteady, ["a::b"], "{outcomes:?}");
    }

    #[test]
    fn a_stage_goes_on_behind_what_is_heard_again_and_not_behind_what_failed() {
        for (first, goes_on) in [(ONCE, true), ("false", false)] {
            let folder = tempfile::tempdir().unwrap();
            let stage = stage(&[first, "touch further"]);
            run_all(&Tree::new(folder.path()), &[vec![stage]], false);
            assert_eq!(folder.path().join("further").exists(), goes_on, "{first}");
        }
    }

    #[test]
    fn stages_of_lanes_that_run_at_once_are_prepared_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let alone = "mkdir preparing && sleep 0.3 && rmdir preparing";
        let lane = || {
            vec![Stage {
                prepared_by: Some(script(alone)),
                ..stage(&["true"])
            }]
        };
        let outcomes = run_all(&Tree::new(folder.path()), &[lane(), lane(), lane()], true);
        assert!(
            outcomes.iter().all(|outcome| outcome.failure.is_none()),
            "{outcomes:?}"
        );
    }

    #[test]
    fn what_a_stage_has_built_is_told_to_those_that_follow_and_what_it_has_failed_to_build_is_not() {
        for (build, told) in [("true", true), ("false", false)] {
            let folder = tempfile::tempdir().unwrap();
            let tree = Tree::new(folder.path());
            let building = Stage {
                builds: Some("release".into()),
                ..stage(&[build])
            };
            let asks = "printf %s \"$DATAEMBASSY_PROGRAMS\" > told";
            run_all(&tree, &[vec![building]], true);
            run_all(&tree, &[vec![stage(&[asks])]], true);
            let wanted = told.then(|| folder.path().join("release").display().to_string());
            let heard = fs::read_to_string(folder.path().join("told")).unwrap();
            assert_eq!(heard, wanted.unwrap_or_default());
        }
    }

    #[test]
    fn lanes_run_at_once_and_a_second_hearing_waits_until_all_are_silent() {
        const MEETS: &str =
            "touch $ME; for i in $(seq 200); do test -e $OTHER && exit 0; sleep 0.05; done; exit 1";
        let folder = tempfile::tempdir().unwrap();
        let meets = |me: &str, other: &str| MEETS.replace("$ME", me).replace("$OTHER", other);
        let (left, right) = (meets("left", "right"), meets("right", "left"));
        // Heard again only when the other lane has ended, although that takes longer.
        let doubtful = ONCE.replace("test -e seen && echo", "test -e seen && test -e ended && echo");
        let left = stage(&[&left, &doubtful]);
        let right = stage(&[&right, "sleep 0.5; touch ended"]);
        let outcomes = run_all(&Tree::new(folder.path()), &[vec![left], vec![right]], false);
        assert!(
            outcomes.iter().all(|outcome| outcome.failure.is_none()),
            "{outcomes:?}"
        );
        assert_eq!(outcomes[0].unsteady, ["a::b"]);
        assert!(fs::exists(folder.path().join("ended")).unwrap());
    }
}
