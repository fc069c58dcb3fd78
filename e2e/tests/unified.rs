//! `cargo e2e` and `cargo test --workspace` build with the same features of every package, so that neither builds again what the other has built:
//! on two cores that was three minutes of each first run.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::{collections::BTreeSet, process::Command};

/// What a selection of packages is built from: each package, its version, and its features.
fn built_from(selection: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args([
            "tree",
            "--locked",
            "--quiet",
            "--prefix=none",
            "--edges=normal,build,dev",
        ])
        .args(["--format={p} [{f}]", "--no-dedupe"])
        .args(selection)
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn nothing_is_built_for_the_bed_alone_that_the_tests_build_otherwise() {
    let (bed, all) = (
        built_from(&["--package=dataembassy-e2e"]),
        built_from(&["--workspace"]),
    );
    assert!(bed.len() > 300, "cargo tree told of {} packages", bed.len());
    let (otherwise, unlike): (Vec<_>, BTreeSet<_>) = (
        bed.difference(&all).collect(),
        all.difference(&bed).map(String::as_str).collect(),
    );
    let of = |line: &str| line.split(" [").next().unwrap().to_owned();
    let say = otherwise.iter().map(|line| {
        let wanted = unlike
            .iter()
            .find(|other| of(other) == of(line))
            .unwrap_or(&"nothing");
        format!("{line}\n  the whole workspace has {wanted}")
    });
    let say: Vec<_> = say.collect();
    assert!(
        say.is_empty(),
        "give e2e/Cargo.toml the features that are missing:\n{}",
        say.join("\n")
    );
}
