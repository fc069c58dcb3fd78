//! The reference of the operator's flags and metrics is what the code says.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-operator --test reference` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use std::fmt::Write as _;
use std::path::Path;

use dataembassy_operator::{cli, metrics::Metrics};

#[test]
fn the_reference_of_flags_and_metrics_is_what_the_code_generates() {
    let mut page = "<!-- Generated from operator/src; do not edit. -->\n# The operator\n\n## Flags\n\n| flag | variable | default | says |\n\
                    | --- | --- | --- | --- |\n"
        .to_owned();
    for argument in cli::command()
        .get_arguments()
        .filter(|argument| argument.get_env().is_some())
    {
        let default: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        writeln!(
            page,
            "| `--{}` | `{}` | {} | {}. |",
            argument.get_long().unwrap(),
            argument.get_env().unwrap().to_string_lossy(),
            if default.is_empty() {
                "none".to_owned()
            } else {
                format!("`{}`", default.join(","))
            },
            argument.get_help().unwrap(),
        )
        .unwrap();
    }
    page.push_str("\n## Metrics\n\nOn port 9090 at `/metrics`; counters are scraped with the suffix `_total`.\n\n| metric | type | labels | says |\n| --- | --- | --- | --- |\n");
    for metric in Metrics::default().catalog().descriptions() {
        writeln!(
            page,
            "| `dataembassy_{}` | {} | {} | {}. |",
            metric.name,
            metric.kind,
            metric.labels.join(", "),
            metric.help,
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/operator.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/operator.md has drifted: run this test with UPDATE_GENERATED=1"
    );
}
