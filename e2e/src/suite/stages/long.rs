//! What takes longer than a merge should wait: `--long`. Each stage says first how long it takes on two cores, and can be run by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Command, Stage, stage, up};

/// The module of the sidecar's tests in which a thousand are killed.
const KILLS: &str = "faults::kills::";
/// The scenario in which two hundred are. It has a stage of its own, so none of those that are played alone.
pub(super) const OPERATOR_KILLS: &str =
    "operators_that_are_killed_at_any_of_two_hundred_moments_lose_nothing_and_do_nothing_twice";

/// The long forms of tests, each of which says first how long it takes: by themselves, as they would disturb whatever knows a deadline.
pub(super) fn long() -> Vec<Stage> {
    // Only here does "ignored" mean "long": in the format's crates it is what writes golden files anew.
    let ignored = |which: &[&str]| {
        let test = [
            "test",
            "--package",
            "dataembassy-sidecar",
            "--no-fail-fast",
            "--",
            "--ignored",
        ];
        vec![Command::cargo(&[&test, which].concat())]
    };
    let operators = [
        "test",
        "--package",
        "dataembassy-e2e",
        "--test",
        "scenarios",
        "--",
        "--ignored",
        OPERATOR_KILLS,
    ];
    vec![
        stage(
            "kills",
            "a thousand SIGKILLs for mirror, gate, custodian, restore and store under load: about half an hour",
            ignored(&[KILLS]),
        ),
        stage(
            "matrices",
            "each fault at many places, and what is large, against real servers on loopback: about an hour and a half",
            ignored(&["--skip", KILLS]),
        ),
        stage(
            "operators",
            "two hundred SIGKILLs for both operators: about an hour",
            vec![Command::cargo(&operators)],
        )
        .prepared_by(up()),
    ]
}

pub(super) fn fuzz() -> Command {
    Command {
        program: "fuzz/run".into(),
        arguments: vec!["60".to_owned()],
        bed: 0,
    }
}

/// All of them take a day and more: each run tries another part.
pub(super) fn mutants() -> Command {
    const PARTS: u64 = 48;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hours = since.as_secs() / 3_600;
    Command {
        program: "crates/mutants".into(),
        arguments: vec![format!("{}/{PARTS}", hours % PARTS)],
        bed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps;
    use super::*;
    use crate::suite::Options;

    #[test]
    fn every_long_stage_says_how_long_it_takes_and_what_it_runs_is_there() {
        let (short, long) = (
            Options::default(),
            Options {
                long: true,
                ..Options::default()
            },
        );
        let all = |options: &Options| steps(options).concat().concat();
        let known: Vec<_> = all(&short)
            .iter()
            .map(|stage| (stage.name, stage.about))
            .collect();
        for stage in all(&long) {
            let is_long = !known.contains(&(stage.name, stage.about));
            assert_eq!(is_long, stage.about.contains(": about "), "{}", stage.name);
        }
        let operators = include_str!("../../../tests/scenarios/alone/operators.rs");
        assert!(operators.contains(&format!("fn {OPERATOR_KILLS}()")));
        let kills = include_str!("../../../../sidecar/tests/sidecar/faults/kills.rs");
        assert!(kills.contains("kills(1_000)"));
    }
}
