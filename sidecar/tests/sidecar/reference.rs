//! The reference of the sidecar's flags and metrics is what the code says.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-sidecar --test sidecar reference` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use dataembassy_ledger::door::Refusal;
use dataembassy_sidecar::{cli, custodian, gate, mirror};
use dataembassy_telemetry::metrics::Catalog;

#[test]
fn the_reference_of_flags_and_metrics_is_what_the_code_generates() {
    let mut page = "<!-- Generated from sidecar/src; do not edit. -->\n# The sidecar\n\nThe operator starts `mirror`, `custodian` \
                    and `gate`; people start the others. A variable says what its flag would.\n"
        .to_owned();
    describe(&mut page, "", &cli::command());
    page.push_str(
        "\n## Metrics\n\nOn port 9090 at `/metrics`; counters are scraped with the suffix `_total`.\n",
    );
    tabulate(&mut page, "mirror", mirror::metrics::Metrics::new().catalog());
    tabulate(
        &mut page,
        "custodian",
        custodian::metrics::Metrics::new().catalog(),
    );
    tabulate(&mut page, "gate", gate::metrics::Metrics::new().catalog());
    explain(&mut page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/sidecar.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/sidecar.md has drifted: run this test with UPDATE_GENERATED=1"
    );
}

/// Adds the metrics of one command.
fn tabulate(page: &mut String, command: &str, catalog: &Catalog) {
    write!(
        page,
        "\n### Of `{command}`\n\n| metric | type | labels | says |\n| --- | --- | --- | --- |\n"
    )
    .unwrap();
    for metric in catalog.descriptions() {
        writeln!(
            page,
            "| `dataembassy_{command}_{}` | {} | {} | {}. |",
            metric.name,
            metric.kind,
            metric.labels.join(", "),
            metric.help,
        )
        .unwrap();
    }
}

/// Adds the words of a gate's refusals.
fn explain(page: &mut String) {
    page.push_str(
        "\n## Refusals of `gate`\n\nThe word stands in the header `x-dataembassy-refused` of the answer, in the report and in the label `refusal`. A \
         sidecar of ours may meet some of them while it does what it should; every other one says that somebody tried a door.\n\n\
         | word | says | met in good faith |\n| --- | --- | --- |\n",
    );
    for (word, says) in Refusal::MEANINGS {
        let honest = if Refusal::IN_GOOD_FAITH.contains(&word) {
            "yes"
        } else {
            "no"
        };
        writeln!(page, "| `{word}` | {says} | {honest} |").unwrap();
    }
}

/// Adds a section for each command that does something by itself.
fn describe(page: &mut String, before: &str, command: &clap::Command) {
    for inner in command.get_subcommands() {
        let name = format!("{before}{}", inner.get_name());
        if inner.has_subcommands() {
            describe(page, &format!("{name} "), inner);
            continue;
        }
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        write!(
            page,
            "\n## `{name}`\n\n{about}.\n\n| flag | variable | default | says |\n| --- | --- | --- | --- |\n"
        )
        .unwrap();
        for argument in inner.get_arguments() {
            writeln!(page, "{}", row(argument)).unwrap();
        }
    }
}

fn row(argument: &clap::Arg) -> String {
    let or_none = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            format!("`{text}`")
        }
    };
    let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let default = match (argument.is_required_set(), argument.get_action().takes_values()) {
        (true, _) => "required".to_owned(),
        (false, false) => "off".to_owned(),
        (false, true) => or_none(default.join(",")),
    };
    // The long help, where there is one, says all that the short one does.
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = if argument.get_action().takes_values() {
        let values = argument.get_possible_values();
        values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect()
    } else {
        Vec::new()
    };
    let choices = if choices.is_empty() {
        String::new()
    } else {
        format!(" One of {}.", choices.join(", "))
    };
    format!(
        "| `--{}` | {} | {default} | {}.{choices} |",
        argument.get_long().unwrap(),
        or_none(variable.unwrap_or_default()),
        help.trim_end_matches('.')
            .replace("\n\n", " ")
            .replace('\n', " ")
            .replace('|', "\\|"),
    )
}
