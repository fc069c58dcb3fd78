//! The Containerfiles of `images/`, for people who have a builder, held against what the bed lays out without one: whoever changes one and not the
//! other is told here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{NOBODY, NOBODYS_LINE, OPERATOR, ROOT_LINE, SIDECAR, SIDECARS_ROOT, run};
use crate::provision::{CLIENTS, ROOT_FILE_SYSTEMS, SHELLS};

/// Where Debian's images are.
const DEBIAN: &str = "docker.io/library/debian:";

/// A stage: what it begins with, its name, and what is done in it.
#[derive(Debug)]
struct Stage {
    from: String,
    name: String,
    steps: Vec<(String, String)>,
}

impl Stage {
    /// What follows this word, each time.
    fn all(&self, word: &str) -> Vec<&str> {
        let steps = self.steps.iter().filter(|(found, _)| found == word);
        steps.map(|(_, rest)| rest.as_str()).collect()
    }

    /// The commands of all that is run, one by one.
    fn commands(&self) -> Vec<&str> {
        let run = self.all("RUN");
        run.into_iter()
            .flat_map(|all| all.split("&&"))
            .map(str::trim)
            .collect()
    }

    /// The packages that it installs.
    fn packages(&self) -> BTreeSet<&str> {
        let install = self
            .commands()
            .into_iter()
            .find_map(|command| command.strip_prefix("apt-get install "));
        let words = install.unwrap_or_default().split_whitespace();
        words.filter(|word| !word.starts_with("--")).collect()
    }

    /// What it copies of another stage, and to where.
    fn copies_of(&self, stage: &str) -> Vec<(Vec<&str>, &str)> {
        let from = format!("--from={stage} ");
        let copies = self.all("COPY").into_iter();
        copies
            .filter_map(|copy| copy.strip_prefix(&from))
            .map(|copy| {
                let mut words: Vec<_> = copy.split_whitespace().collect();
                let to = words.pop().unwrap();
                (words, to)
            })
            .collect()
    }
}

/// The stages of a Containerfile.
fn parse(text: &str) -> Vec<Stage> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim();
        if word == "FROM" {
            let (from, name) = rest.split_once(" AS ").unwrap_or((rest, ""));
            stages.push(Stage {
                from: from.to_owned(),
                name: name.to_owned(),
                steps: Vec::new(),
            });
        } else {
            let stage = stages.last_mut().expect("a Containerfile begins with FROM");
            stage.steps.push((word.to_owned(), rest.to_owned()));
        }
    }
    stages
}

fn stages(of: &str) -> Vec<Stage> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../images")).join(of);
    parse(&fs::read_to_string(path).unwrap())
}

fn named<'a>(stages: &'a [Stage], name: &str) -> &'a Stage {
    let found = stages.iter().find(|stage| stage.name == name);
    found.unwrap_or_else(|| panic!("no stage is called {name:?}"))
}

/// Debian's release and the packages of one of the bed's root file systems.
fn root_file_system(name: &str) -> (&'static str, BTreeSet<&'static str>) {
    let found = ROOT_FILE_SYSTEMS.iter().find(|rootfs| rootfs.name == name);
    let found = found.unwrap();
    (found.suite, found.packages.iter().copied().collect())
}

/// What is said of how an image is run: user and entrypoint, as the bed's image has them.
fn assert_runs(last: &Stage, program: &'static str) {
    let bed = run(&[program], NOBODY);
    assert_eq!(last.all("USER"), [format!("{0}:{0}", bed.user)]);
    let entrypoint: Vec<String> = serde_json::from_str(last.all("ENTRYPOINT")[0]).unwrap();
    assert_eq!(entrypoint, bed.entrypoint);
    assert_eq!(last.all("CMD"), Vec::<&str>::new());
    assert_eq!(last.all("ENV"), Vec::<&str>::new());
    assert!(bed.environment.is_empty(), "the bed's image has an environment");
}

/// A program's own stage, in the Debian whose C library the image has.
fn assert_builds(build: &Stage, package: &str) {
    let (suite, _) = root_file_system(SIDECARS_ROOT);
    assert_eq!(build.from, format!("{DEBIAN}{suite}"));
    let cargo = format!("cargo build --release --locked --package {package}");
    assert!(build.commands().contains(&cargo.as_str()), "{build:#?}");
}

/// A line of `/etc/passwd` as a command of the Containerfile writes it.
fn writes(line: &str) -> String {
    format!("echo '{}' >", line.trim_end())
}

#[test]
fn the_sidecars_containerfile_lays_out_what_the_bed_does() {
    let stages = stages("sidecar.Containerfile");
    let last = stages.last().unwrap();
    let (suite, packages) = root_file_system(SIDECARS_ROOT);
    assert_eq!(last.from, format!("{DEBIAN}{suite}-slim"));
    assert_eq!(last.packages(), packages);
    let removed: BTreeSet<_> = last
        .commands()
        .into_iter()
        .filter_map(|command| command.strip_prefix("rm /"))
        .flat_map(|all| all.split_whitespace())
        .map(|path| path.trim_start_matches('/'))
        .collect();
    assert_eq!(removed, BTreeSet::from(SHELLS));
    let user = writes(NOBODYS_LINE);
    let commands = last.commands();
    assert!(
        commands.iter().any(|command| command.starts_with(&user)),
        "{commands:?}"
    );

    // Clients of an older major version come out of that version's own Debian.
    let older = named(&stages, "postgresql-15");
    let (suite, _) = root_file_system("postgresql-15");
    assert_eq!(older.from, format!("{DEBIAN}{suite}-slim"));
    assert_eq!(older.packages(), BTreeSet::from(["postgresql-client-15"]));
    let folder = "/usr/lib/postgresql/15/bin/";
    let clients = CLIENTS.map(|program| format!("{folder}{program}"));
    let taken = last.copies_of("postgresql-15");
    let [(copied, to)] = taken.as_slice() else {
        panic!("{last:#?}")
    };
    assert_eq!(*copied, clients);
    assert_eq!(*to, folder);

    let program = SIDECAR.rsplit('/').next().unwrap();
    let built = format!("/source/target/release/{program}");
    assert_eq!(last.copies_of("build"), [(vec![built.as_str()], "/usr/bin/")]);
    assert_builds(named(&stages, "build"), program);
    assert_runs(last, SIDECAR);
}

#[test]
fn the_operators_containerfile_lays_out_what_the_bed_does() {
    let stages = stages("operator.Containerfile");
    let last = stages.last().unwrap();
    let build = named(&stages, "build");
    assert_eq!(last.from, "scratch");
    assert_eq!(last.copies_of("build"), [(vec!["/image"], "/")]);
    assert_eq!(last.all("RUN"), Vec::<&str>::new());
    let program = OPERATOR.rsplit('/').next().unwrap();
    assert_builds(build, program);
    let commands = build.commands();
    let copy = format!("cp target/release/{program} /image/usr/bin/");
    assert!(commands.contains(&copy.as_str()), "{commands:#?}");
    // All that the program loads: the bed lays out the same by name.
    let loads = format!("ldd target/release/{program} |");
    assert!(
        commands.iter().any(|command| command.starts_with(&loads)),
        "{commands:#?}"
    );
    for line in [ROOT_LINE, NOBODYS_LINE] {
        let written = writes(line);
        assert!(
            commands
                .iter()
                .any(|command| command.starts_with(&written) && command.ends_with("/image/etc/passwd")),
            "{commands:#?}"
        );
    }
    assert_runs(last, OPERATOR);
}

#[test]
fn a_containerfile_is_read_stage_by_stage() {
    let text = "# A remark.\nFROM debian:trixie AS build\nRUN apt-get update && \\\n    apt-get install --yes one two && \\\n    rm -rf /lists\n\
        \nFROM scratch\nCOPY --from=build /a /b \\\n    /c/\nUSER 1:1\n";
    let stages = parse(text);
    let [build, last] = stages.as_slice() else {
        panic!("{stages:#?}")
    };
    assert_eq!(
        (build.from.as_str(), build.name.as_str()),
        ("debian:trixie", "build")
    );
    assert_eq!(build.packages(), BTreeSet::from(["one", "two"]));
    assert_eq!(last.copies_of("build"), [(vec!["/a", "/b"], "/c/")]);
    assert_eq!(last.all("USER"), ["1:1"]);
}
