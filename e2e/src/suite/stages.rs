//! Which stages there are, which run at once, and in which order: what is cheapest to fail first.

mod long;

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;

use super::Options;
use crate::cluster::BED;
use long::{OPERATOR_KILLS, fuzz, long, mutants};

/// One command of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, looked up on PATH unless it is a path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The bed that it is about.
    pub bed: u8,
}

impl Command {
    fn cargo(arguments: &[&str]) -> Self {
        Self {
            program: "cargo".into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            bed: 0,
        }
    }

    /// The same, about one of the machine's beds.
    fn on(self, bed: u8) -> Self {
        Self { bed, ..self }
    }

    /// The same at the lowest priority: it takes the processor time that nobody else wants.
    fn yielding(self) -> Self {
        let program = self.program.display().to_string();
        let nice = ["-n", "19", &program].map(ToOwned::to_owned);
        Self {
            program: "nice".into(),
            arguments: [&nice, self.arguments.as_slice()].concat(),
            ..self
        }
    }

    /// The command as one would type it.
    #[must_use]
    pub fn text(&self) -> String {
        let program = self.program.display().to_string();
        let bed = (self.bed > 0).then(|| format!("{BED}={}", self.bed));
        bed.iter()
            .chain([&program])
            .chain(&self.arguments)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A named part of the test command.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The word for `--only`.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// What must be so before its commands run, each time that they do.
    pub prepared_by: Option<Command>,
    /// Its commands, in order; a failed one is the last.
    pub commands: Vec<Command>,
    /// Where operator and sidecar lie once it has ended well, from the tree's root: whoever comes later takes them from there.
    pub builds: Option<PathBuf>,
}

/// Stages that run one after the other.
pub type Lane = Vec<Stage>;

/// Lanes that run at once, because none takes from another what it needs but time.
pub type Step = Vec<Lane>;

/// The packages that the bed builds its programs from.
const PROGRAMS: [&str; 4] = [
    "--package",
    "dataembassy-operator",
    "--package",
    "dataembassy-sidecar",
];

/// The scenarios' program, before what tells it which.
const SCENARIOS: [&str; 6] = [
    "test",
    "--package",
    "dataembassy-e2e",
    "--test",
    "scenarios",
    "--",
];

/// The bed of the demo that is interrupted: the one behind those of the scenarios.
const INTERRUPTED: u8 = 3;

/// Every stage, in the order in which they run.
#[must_use]
pub fn steps(options: &Options) -> Vec<Step> {
    let mut steps = vec![
        vec![vec![format()]],
        vec![yielding(vec![programs(), explorations_built()]), busy(options)],
        [vec![yielding(computing(options))], idle(options)].concat(),
    ];
    if options.long {
        steps.push(vec![[long(), measured(options)].concat()]);
    }
    steps
}

/// Run at the very end where any stage used the bed, whatever came of it.
#[must_use]
pub fn clearing() -> Stage {
    stage("clearing", "nothing is left running", vec![down_all()])
}

fn up() -> Command {
    Command::cargo(&["e2e", "up"])
}

fn down() -> Command {
    Command::cargo(&["e2e", "down"])
}

fn down_all() -> Command {
    Command::cargo(&["e2e", "down", "--all"])
}

fn stage(name: &'static str, about: &'static str, commands: Vec<Command>) -> Stage {
    Stage {
        name,
        about,
        prepared_by: None,
        commands,
        builds: None,
    }
}

impl Stage {
    fn prepared_by(self, command: Command) -> Self {
        Self {
            prepared_by: Some(command),
            ..self
        }
    }
}

fn format() -> Stage {
    stage(
        "format",
        "the code reads as rustfmt writes it",
        vec![Command::cargo(&["fmt", "--all", "--check"])],
    )
}

fn provision() -> Stage {
    stage(
        "provision",
        "install and build what the tests need",
        vec![Command::cargo(&["e2e", "provision"])],
    )
}

/// What is optimised: built while others download and link, and while tests compile and wait, in a target folder that those do not need.
fn programs() -> Stage {
    let build = [&["build", "--release", "--locked"], &PROGRAMS[..]].concat();
    let about = "operator and sidecar as they are released";
    Stage {
        builds: Some(PathBuf::from(target_folder()).join("release")),
        ..stage("programs", about, vec![Command::cargo(&build)])
    }
}

/// Optimised too, and so in the same folder: a stage by itself, so that no bed that comes up waits for it.
fn explorations_built() -> Stage {
    let about = "the explorations, before they are run";
    stage("exploration-built", about, vec![explorations(&["--no-run"])])
}

/// What knows no deadline, and is the same on a machine of any speed.
fn computing(options: &Options) -> Vec<Stage> {
    let mut stages = vec![
        stage(
            "exploration",
            if options.long {
                "the controllers under a million random schedules of faults, without a cluster: about half an hour"
            } else {
                "the controllers under random schedules of faults, without a cluster"
            },
            vec![exploration(options)],
        ),
        stage(
            "lint",
            "clippy has nothing to say",
            vec![
                clippy(&["--workspace", "--all-targets"]),
                // They are no test targets of the workspace's, because they need the bed. Chosen from the whole workspace, or every crate would
                // be checked again with this package's features alone.
                clippy(&["--workspace", "--test", "scenarios", "--test", "interruption"]),
                // From here, where no instrumentation is asked for.
                clippy(&[
                    "--manifest-path",
                    "fuzz/Cargo.toml",
                    "--target-dir",
                    &target_folder(),
                    "--no-default-features",
                ]),
            ],
        ),
        stage(
            "dependencies",
            "licences, bans and sources of every dependency",
            vec![
                // The check is offline, and looks at crates of other platforms too, which no build has fetched.
                Command::cargo(&["fetch", "--locked"]),
                Command::cargo(&[
                    "e2e",
                    "tool",
                    "cargo-deny",
                    "--",
                    "--offline",
                    "check",
                    "licenses",
                    "bans",
                    "sources",
                ]),
            ],
        ),
    ];
    if options.long {
        let about = "each fuzz target for a minute: about a quarter of an hour with their build";
        stages.push(stage("fuzz", about, vec![fuzz()]));
        let about = "a part of the changes to what decides, of which no test may overlook one: about an hour";
        stages.push(stage("mutants", about, vec![mutants()]));
    }
    stages
}

/// Where the workspace is built. The fuzz targets are a workspace of their own, and would check every crate again elsewhere.
fn target_folder() -> String {
    env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())
}

fn yielding(stages: Vec<Stage>) -> Vec<Stage> {
    let yielding = |stage: Stage| Stage {
        commands: stage.commands.into_iter().map(Command::yielding).collect(),
        ..stage
    };
    stages.into_iter().map(yielding).collect()
}

/// What waits for servers and deadlines, and keeps the processors busy by itself; before it, what it needs.
fn busy(options: &Options) -> Vec<Stage> {
    let crates = stage(
        "crates",
        "unit, property and drift tests; dump, store, mirror and restore against real servers on loopback",
        vec![Command::cargo(&["test", "--workspace", "--no-fail-fast"])],
    );
    // They wait more than they work: there may be many more of them at once than there are cores.
    let scenarios = stage(
        "scenarios",
        "the product in two clusters, in good days and bad",
        vec![scenarios(options, &["--skip", "alone::", "--test-threads=24"])],
    );
    vec![provision(), crates, scenarios.prepared_by(up())]
}

/// The modules of the scenarios that are played alone, by bed: about as long on each. The first bed is the one that the others have been played on.
const ALONE: [(&str, &[&str]); 3] = [
    ("alone-0", &["circle", "operators"]),
    ("alone-1", &["absence", "activation", "drained", "image", "right"]),
    (
        "alone-2",
        &[
            "api_server",
            "drill",
            "emptied",
            "link",
            "node",
            "partition",
            "slow",
            "upgrade",
        ],
    ),
];

/// Played at the end on each of those beds: whether any of the scenarios has left a secret lying about.
const AT_THE_END: &str = "without_leaks";

/// Compare times, and want the whole machine. They are long.
const MEASURED: [&str; 2] = ["gigabyte", "scale"];

/// What waits for schedules, leases and deadlines, and leaves most of the processors' time: each lane on a bed of its own.
fn idle(options: &Options) -> Vec<Lane> {
    let lane = |(bed, (name, modules)): (u8, (&'static str, &[&str]))| {
        let about = "scenarios that take away what the others need";
        let played = [modules, &[AT_THE_END]].map(|modules| alone(options, modules).on(bed));
        vec![stage(name, about, played.into()).prepared_by(up().on(bed))]
    };
    let mut lanes: VecDeque<Lane> = (0..).zip(ALONE).map(lane).collect();
    // The first bed is up already, and is done before the others are: the demo, which promises a time, follows there.
    lanes.rotate_left(1);
    if let Some(first) = lanes.back_mut() {
        first.push(demo());
    }
    lanes.push_front(vec![interruption()]);
    lanes.into()
}

fn alone(options: &Options, modules: &[&str]) -> Command {
    let modules: Vec<_> = modules
        .iter()
        .map(|module| format!("alone::{module}::"))
        .collect();
    let which: Vec<_> = modules
        .iter()
        .map(String::as_str)
        .chain(["--test-threads=1", "--skip", OPERATOR_KILLS])
        .collect();
    scenarios(options, &which)
}

fn measured(options: &Options) -> Vec<Stage> {
    let about =
        "a gigabyte is served and drilled, a hundred registries are kept, and both are timed: about an hour";
    vec![stage("measured", about, vec![alone(options, &MEASURED)]).prepared_by(up())]
}

fn interruption() -> Stage {
    let demo = ["test", "--package", "dataembassy-e2e", "--test", "interruption"];
    stage(
        "interruption",
        "the demo, interrupted half-way, leaves nothing behind",
        vec![Command::cargo(&demo).on(INTERRUPTED)],
    )
    .prepared_by(down().on(INTERRUPTED))
}

fn scenarios(options: &Options, which: &[&str]) -> Command {
    let long = if options.long {
        &["--include-ignored"][..]
    } else {
        &[]
    };
    Command::cargo(&[&SCENARIOS, which, long].concat())
}

fn demo() -> Stage {
    stage(
        "demo",
        "the main job, from nothing, as README promises it",
        vec![Command::cargo(&["e2e", "demo"])],
    )
    .prepared_by(down())
}

fn clippy(what: &[&str]) -> Command {
    Command::cargo(&[&["clippy"], what, &["--quiet", "--", "-D", "warnings"]].concat())
}

fn exploration(options: &Options) -> Command {
    // The long form follows every seed of the short one, and more.
    explorations(if options.long { &["--", "--ignored"] } else { &[] })
}

/// Optimised, or they would take an hour; with the packages of [`PROGRAMS`], so that what either has built is not built again for the other.
fn explorations(more: &[&str]) -> Command {
    let test = ["test", "--release", "--locked"];
    Command::cargo(&[&test, &PROGRAMS[..], &["--test", "explore"], more].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_only_computes_yields_to_what_waits() {
        for step in steps(&Options::default()) {
            let yields = |lane: &Lane| {
                let mut commands = lane.iter().flat_map(|stage| &stage.commands);
                commands.all(|command| command.text().starts_with("nice -n 19 cargo "))
            };
            let (computing, waiting) = step.split_first().unwrap();
            assert_eq!(yields(computing), !waiting.is_empty());
            assert!(!waiting.iter().any(yields));
        }
    }

    #[test]
    fn every_scenario_that_is_played_alone_is_played_on_one_bed() {
        let all = include_str!("../../tests/scenarios/alone/mod.rs");
        let mut all: Vec<_> = all
            .lines()
            .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            .collect();
        let mut played: Vec<_> = ALONE.iter().flat_map(|(_, modules)| *modules).copied().collect();
        played.extend(MEASURED.into_iter().chain([AT_THE_END]));
        all.sort_unstable();
        played.sort_unstable();
        assert_eq!(all, played);
    }

    #[test]
    fn lanes_of_one_step_share_no_bed() {
        for step in steps(&Options::default()) {
            let beds: Vec<BTreeSet<_>> = step
                .iter()
                .map(|lane| {
                    let commands = lane
                        .iter()
                        .flat_map(|stage| stage.prepared_by.iter().chain(&stage.commands));
                    commands.map(|command| command.bed).collect()
                })
                .collect();
            // The lane that only computes has none.
            let waiting = beds.get(1..).unwrap_or_default();
            let all: BTreeSet<_> = waiting.iter().flatten().collect();
            assert_eq!(all.len(), waiting.iter().map(BTreeSet::len).sum::<usize>());
        }
    }
}
