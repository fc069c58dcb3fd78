//! What takes longer than a merge should wait: `--long`. Each stage says first how long it takes on two cores, and can be run by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Command, SCENARIOS, Stage, stage, up};

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
    let operators = [&SCENARIOS[..], &["--ignored", OPERATOR_KILLS]].concat();
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

/// What `crates/mutants` changes, and in how many parts of about an hour.
const MUTANTS: [(&str, u64); 4] = [("formats", 48), ("contract", 1), ("gate", 6), ("operator", 48)];

/// All of them take days: each run tries another part.
pub(super) fn mutants() -> Command {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Command {
        program: "crates/mutants".into(),
        arguments: mutated(since.as_secs() / 3_600),
        bed: 0,
    }
}

/// The part of an area whose turn it is.
fn mutated(turn: u64) -> Vec<String> {
    let all: u64 = MUTANTS.iter().map(|(_, parts)| parts).sum();
    let parts_of = |(area, parts): (&'static str, u64)| {
        (0..parts).map(move |part| vec![area.to_owned(), format!("{part}/{parts}")])
    };
    let mut parts = MUTANTS.into_iter().flat_map(parts_of);
    let turn = usize::try_from(turn % all).unwrap_or_default();
    parts.nth(turn).unwrap_or_default()
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

    #[test]
    fn each_part_of_the_mutants_has_its_turn_and_each_area_is_one_that_the_program_knows() {
        let program = include_str!("../../../../crates/mutants");
        for (area, parts) in MUTANTS {
            assert!(program.contains(&format!("\n    {area}) ")), "{area}");
            for part in [0, parts - 1] {
                let wanted = [area.to_owned(), format!("{part}/{parts}")];
                assert!((0..200).any(|turn| mutated(turn) == wanted), "{wanted:?}");
            }
        }
    }
}
