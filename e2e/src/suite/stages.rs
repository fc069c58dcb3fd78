//! Which stages there are. The order is: what is cheapest to fail first.

use std::path::PathBuf;

use super::Options;

/// One command of a stage.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, looked up on PATH unless it is a path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set for it, beside ours.
    pub environment: Vec<(&'static str, String)>,
    /// Where it runs, relative to the workspace.
    pub folder: &'static str,
    /// Whether it runs even after an earlier command of its stage has failed.
    pub always: bool,
}

impl Command {
    fn cargo(arguments: &[&str]) -> Self {
        Self {
            program: "cargo".into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            folder: ".",
            always: false,
        }
    }

    fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The command as one would type it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut words: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        words.push(self.program.display().to_string());
        words.extend(self.arguments.iter().cloned());
        words.join(" ")
    }
}

/// A named part of the test command.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The word for `--only`.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// Its commands, in order.
    pub commands: Vec<Command>,
}

/// Every stage, in the order in which they run.
#[must_use]
pub fn stages(options: &Options) -> Vec<Stage> {
    let stage = |name, about, commands| Stage {
        name,
        about,
        commands,
    };
    vec![
        stage(
            "provision",
            "install and build what the tests need",
            vec![Command::cargo(&["e2e", "provision"])],
        ),
        stage(
            "format",
            "the code reads as rustfmt writes it",
            vec![Command::cargo(&["fmt", "--all", "--check"])],
        ),
        stage(
            "lint",
            "clippy has nothing to say",
            vec![Command::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])],
        ),
        stage(
            "dependencies",
            "licences, bans and sources of every dependency",
            vec![Command::cargo(&[
                "e2e",
                "tool",
                "cargo-deny",
                "--",
                "--offline",
                "check",
                "licenses",
                "bans",
                "sources",
            ])],
        ),
        stage(
            "crates",
            "unit, property and drift tests; dump, store, mirror and restore against real servers on loopback",
            crates(options),
        ),
        stage("fuzz", "each fuzz target, for a while", vec![fuzz(options)]),
        stage(
            "demo",
            "the README's first command",
            vec![Command::cargo(&["e2e", "demo"])],
        ),
        stage(
            "scenarios",
            "the test bed: two clusters, three registries, faults",
            scenarios(options),
        ),
    ]
}

fn crates(options: &Options) -> Vec<Command> {
    let mut commands = vec![Command::cargo(&["test", "--workspace", "--no-fail-fast"])];
    if options.long {
        commands.push(Command::cargo(&[
            "test",
            "--workspace",
            "--no-fail-fast",
            "--",
            "--ignored",
        ]));
    }
    commands
}

fn fuzz(options: &Options) -> Command {
    Command::cargo(&[
        "e2e",
        "fuzz",
        "--seconds",
        if options.long { "300" } else { "10" },
    ])
}

fn scenarios(options: &Options) -> Vec<Command> {
    let mut tests = Command::cargo(&[
        "test",
        "--package",
        "dataembassy-e2e",
        "--test",
        "scenarios",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ]);
    if options.long {
        tests.arguments.push("--include-ignored".to_owned());
    }
    let mut commands = vec![
        Command::cargo(&["e2e", "up"]),
        tests.with("DATAEMBASSY_BED", "up"),
    ];
    if !options.keep {
        commands.push(Command::cargo(&["e2e", "down"]).always());
    }
    commands
}
