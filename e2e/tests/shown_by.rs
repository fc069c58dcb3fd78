//! Pages that say what shows a promise name tests that there are, and that are run: a promise without one does not pass.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The head of the column that names tests; each table's last.
const COLUMN: &str = "shown by";
const PAGES: [&str; 2] = ["docs/keys.md", "docs/threat-model.md"];
/// Where the code is.
const ROOMS: [&str; 5] = ["crates", "crds", "e2e", "operator", "sidecar"];

fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

/// The tests of a file that are run without being asked for by name.
fn tests(text: &str) -> BTreeSet<String> {
    let (mut found, mut is_test) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name = rest.split(['(', '<']).next().unwrap();
            found.insert(name.to_owned());
            is_test = false;
        }
    }
    found
}

fn tests_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.append(&mut tests_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.append(&mut tests(&fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// The rows of a page's tables whose last column names tests, each with what it names.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (mut rows, mut is_shown) = (Vec::new(), false);
    for line in page.lines() {
        let cells = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let Some((_, last)) = cells.and_then(|cells| cells.rsplit_once('|')) else {
            is_shown = false;
            continue;
        };
        if last.trim() == COLUMN {
            is_shown = true;
        } else if is_shown && !last.trim().starts_with("---") {
            rows.push((line, last.split('`').skip(1).step_by(2).collect()));
        }
    }
    rows
}

#[test]
fn every_promise_of_the_pages_names_tests_that_there_are() {
    let known: BTreeSet<String> = ROOMS
        .into_iter()
        .flat_map(|room| tests_below(&path(room)))
        .collect();
    for page in PAGES {
        let text = fs::read_to_string(path(page)).unwrap();
        let rows = rows(&text);
        assert!(!rows.is_empty(), "{page} has no table that says what shows it");
        for (row, names) in rows {
            assert!(!names.is_empty(), "{page} promises what no test shows: {row}");
            for name in names {
                assert!(
                    known.contains(name),
                    "{page} names {name}, which is no test that is run: {row}"
                );
            }
        }
    }
}

/// What stands in backticks where a bug of the museum says what shows it, a bug at a time.
fn shown(page: &str) -> Vec<Vec<&str>> {
    let bugs = page.split("- **Shown by**").skip(1);
    let said = bugs.map(|bug| bug.split("- **").next().unwrap());
    said.map(|said| said.split('`').skip(1).step_by(2).collect())
        .collect()
}

/// The folders and files of the code, and all tests there are, those too that are run only when asked for.
fn places_and_tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        found.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            places_and_tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap().replace("#[ignore", "");
            found.append(&mut tests(&text));
        }
    }
}

#[test]
fn every_bug_of_the_museum_names_a_test_that_there_is_or_a_seed() {
    let mut known = BTreeSet::new();
    for room in ROOMS {
        places_and_tests(&path(room), &mut known);
    }
    let museum = fs::read_to_string(path("docs/museum.md")).unwrap();
    let bugs = shown(&museum);
    assert_eq!(bugs.len(), museum.matches("\n## ").count());
    for names in bugs {
        let is_part = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || "_:".contains(one);
        let is_name = |name: &&&str| name.chars().all(is_part);
        for name in names.iter().filter(is_name) {
            let last = name.rsplit(':').next().unwrap();
            assert!(known.contains(last), "there is no test or place {name}");
        }
        let is_seed = names.iter().any(|name| name.contains("_SEED="));
        // "The same test" is the one that the bug before names.
        assert!(is_seed || names.iter().any(|name| !name.is_empty()), "{names:?}");
    }
}

#[test]
fn a_test_that_is_only_run_when_asked_for_shows_nothing() {
    let text = "#[test]\n#[ignore = \"long\"]\nfn left_out() {}\nfn helper() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn run() {}";
    assert_eq!(tests(text), BTreeSet::from(["run".to_owned()]));
    let page = "| a | shown by |\n| --- | --- |\n| one | `x`, `y` |\n| two | by nothing |\n\n| b | `z` |";
    assert_eq!(
        rows(page),
        [
            ("| one | `x`, `y` |", vec!["x", "y"]),
            ("| two | by nothing |", vec![])
        ]
    );
}
