//! Which stages there are, which run at once, and in which order: what is cheapest to fail first.

use std::env;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Options;

/// One command of a stage.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, looked up on PATH unless it is a path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Command {
    fn cargo(arguments: &[&str]) -> Self {
        Self {
            program: "cargo".into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        }
    }

    /// The same at the lowest priority: it takes the processor time that nobody else wants.
    fn yielding(self) -> Self {
        let program = self.program.display().to_string();
        let nice = ["-n", "19", &program].map(ToOwned::to_owned);
        Self {
            program: "nice".into(),
            arguments: [&nice, self.arguments.as_slice()].concat(),
        }
    }

    /// The command as one would type it.
    #[must_use]
    pub fn text(&self) -> String {
        let program = self.program.display().to_string();
        [&[program], self.arguments.as_slice()].concat().join(" ")
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

/// Every stage, in the order in which they run.
#[must_use]
pub fn steps(options: &Options) -> Vec<Step> {
    vec![
        vec![first(options)],
        vec![yielding(vec![programs()]), busy(options)],
        vec![yielding(computing(options)), idle(options)],
        // By itself: it promises a time.
        vec![vec![demo()]],
    ]
}

/// Run at the very end where any stage used the bed, whatever came of it.
#[must_use]
pub fn clearing() -> Stage {
    stage("clearing", "nothing is left running", vec![down()])
}

fn up() -> Command {
    Command::cargo(&["e2e", "up"])
}

fn down() -> Command {
    Command::cargo(&["e2e", "down"])
}

fn stage(name: &'static str, about: &'static str, commands: Vec<Command>) -> Stage {
    Stage {
        name,
        about,
        prepared_by: None,
        commands,
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

fn first(options: &Options) -> Vec<Stage> {
    let long = if options.long { &["--long"][..] } else { &[] };
    vec![
        stage(
            "provision",
            "install and build what the tests need",
            vec![Command::cargo(&[&["e2e", "provision"], long].concat())],
        ),
        stage(
            "format",
            "the code reads as rustfmt writes it",
            vec![Command::cargo(&["fmt", "--all", "--check"])],
        ),
    ]
}

/// What the bed runs, and then the explorations, which would keep the bed waiting for the same target folder later. Both are built while tests
/// compile and wait, in a target folder that those do not need.
fn programs() -> Stage {
    let build = [&["build", "--release", "--locked"], &PROGRAMS[..]].concat();
    stage(
        "programs",
        "operator and sidecar, as they are released",
        vec![Command::cargo(&build), explorations(&["--no-run"])],
    )
}

/// What knows no deadline, and is the same on a machine of any speed.
fn computing(options: &Options) -> Vec<Stage> {
    let mut stages = vec![
        stage(
            "exploration",
            "the controllers under random schedules of faults, without a cluster",
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
        stages.push(stage("fuzz", "each fuzz target, for a while", vec![fuzz()]));
        let about = "changes to the ledger's and the archive's code that no test may overlook";
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

/// What waits for servers and deadlines, and keeps the processors busy by itself.
fn busy(options: &Options) -> Vec<Stage> {
    let crates = stage(
        "crates",
        "unit, property and drift tests; dump, store, mirror and restore against real servers on loopback",
        crates(options),
    );
    // They wait more than they work: there may be many more of them at once than there are cores.
    let scenarios = stage(
        "scenarios",
        "the product in two clusters, in good days and bad",
        vec![scenarios(options, &["--skip", "alone::", "--test-threads=24"])],
    );
    vec![crates, scenarios.prepared_by(up())]
}

/// What waits for schedules, leases and deadlines one by one, and leaves most of the processors' time.
fn idle(options: &Options) -> Vec<Stage> {
    let alone = stage(
        "alone",
        "scenarios that take away what the others need",
        vec![scenarios(options, &["alone::", "--test-threads=1"])],
    );
    let interruption = stage(
        "interruption",
        "the demo, interrupted half-way, leaves nothing behind",
        vec![Command::cargo(&[
            "test",
            "--package",
            "dataembassy-e2e",
            "--test",
            "interruption",
        ])],
    );
    vec![alone.prepared_by(up()), interruption.prepared_by(down())]
}

fn scenarios(options: &Options, which: &[&str]) -> Command {
    let program = [
        "test",
        "--package",
        "dataembassy-e2e",
        "--test",
        "scenarios",
        "--",
    ];
    let long = if options.long {
        &["--include-ignored"][..]
    } else {
        &[]
    };
    Command::cargo(&[&program, which, long].concat())
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

fn crates(options: &Options) -> Vec<Command> {
    let mut commands = vec![Command::cargo(&["test", "--workspace", "--no-fail-fast"])];
    if options.long {
        // Only here does "ignored" mean "long": in the format's crates it is what writes golden files anew.
        commands.push(Command::cargo(&[
            "test",
            "--package",
            "dataembassy-sidecar",
            "--no-fail-fast",
            "--",
            "--ignored",
        ]));
    }
    commands
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

fn fuzz() -> Command {
    Command {
        program: "fuzz/run".into(),
        arguments: vec!["300".to_owned()],
    }
}

/// All of them take a day and more: each run tries another part.
fn mutants() -> Command {
    const PARTS: u64 = 48;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hours = since.as_secs() / 3_600;
    Command {
        program: "crates/mutants".into(),
        arguments: vec![format!("{}/{PARTS}", hours % PARTS)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_computes_yields_to_what_waits() {
        for step in steps(&Options::default())
            .into_iter()
            .filter(|step| step.len() > 1)
        {
            let yields = |lane: &Lane| {
                let mut commands = lane.iter().flat_map(|stage| &stage.commands);
                commands.all(|command| command.text().starts_with("nice -n 19 cargo "))
            };
            // The last one is heard as it goes.
            let (waiting, computing) = step.split_last().unwrap();
            assert!(!yields(waiting));
            assert!(computing.iter().all(yields));
        }
    }
}
