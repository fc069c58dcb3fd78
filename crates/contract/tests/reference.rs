//! The reference of reasons is what the code says.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-contract --test reference` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use std::fmt::Write as _;
use std::path::Path;

use dataembassy_contract::Reason;

#[test]
fn the_reference_of_reasons_is_what_the_code_generates() {
    let mut page = "<!-- Generated from crates/contract/src/reason.rs; do not edit. -->\n# Reasons\n\nThe closed set of words by which \
                    conditions, events, metrics and logs name a state.\n\n| reason | says | what to do |\n| --- | --- | --- |\n"
        .to_owned();
    for reason in Reason::ALL {
        writeln!(
            page,
            "| `{reason}` | {} | {} |",
            reason.meaning(),
            reason.remedy()
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/reasons.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/reasons.md has drifted: run this test with UPDATE_GENERATED=1"
    );
}
