//! The alarms: judged by Prometheus' own tool, fired once each, and held against the metrics that there are and the pages that explain
//! them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dataembassy_contract::Reason;
use dataembassy_e2e::cache::Cache;
use dataembassy_ledger::door::Refusal;
use serde::Deserialize;

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SIDES: [&str; 2] = ["home", "embassy"];
/// What a page says, in this order.
const SECTIONS: [&str; 5] = [
    "What it means",
    "What is lost",
    "What stands",
    "What to do",
    "How to see that it is over",
];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RuleTests {
    tests: Vec<RuleTest>,
}

#[derive(Deserialize)]
struct RuleTest {
    alert_rule_test: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

fn path(name: &str) -> PathBuf {
    Path::new(TREE).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn rule_file(side: &str) -> String {
    format!("charts/dataembassy/files/rules/{side}.yaml")
}

fn test_file(side: &str) -> String {
    format!("e2e/tests/rules/{side}.yaml")
}

fn rules(side: &str) -> Vec<Rule> {
    let rules: Rules = serde_saphyr::from_str(&read(&rule_file(side))).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn promtool(arguments: &[&str], files: impl Fn(&str) -> String) {
    let program = Cache::locate().unwrap().path("promtool").unwrap();
    let output = Command::new(program)
        .args(arguments)
        .args(SIDES.map(|side| path(&files(side))))
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    promtool(&["check", "rules"], rule_file);
}

#[test]
fn every_alarm_fires_where_it_must_and_is_silent_where_it_must_not() {
    promtool(&["test", "rules"], test_file);
    for side in SIDES {
        let tests: RuleTests = serde_saphyr::from_str(&read(&test_file(side))).unwrap();
        let expected: Vec<Expected> = tests
            .tests
            .into_iter()
            .flat_map(|test| test.alert_rule_test)
            .collect();
        // Mirrors are tried by home's tests, at the embassy too.
        let is_tried_here = |rule: &Rule| side == "home" || !is_of_mirrors(rule);
        for rule in rules(side).into_iter().filter(is_tried_here) {
            let tried = |fires: bool| {
                expected
                    .iter()
                    .any(|one| one.alertname == rule.alert && one.exp_alerts.is_empty() != fires)
            };
            assert!(tried(true), "{side}: nothing makes {} fire", rule.alert);
            assert!(tried(false), "{side}: nothing shows {} silent", rule.alert);
        }
    }
}

/// Whether an alarm is about a `RegistryMirror` or its sidecar.
fn is_of_mirrors(rule: &Rule) -> bool {
    rule.expr.contains("dataembassy_mirror_") || rule.expr.contains(r#"kind="RegistryMirror""#)
}

/// What is tried of home's mirrors is tried of the embassy's own, with the very tests of home's.
#[test]
fn a_mirror_at_the_embassy_has_the_alarms_of_one_at_home() {
    let of_mirrors = |side| -> Vec<Rule> { rules(side).into_iter().filter(is_of_mirrors).collect() };
    let home = of_mirrors("home");
    assert!(home.len() >= 12, "{home:?}");
    assert_eq!(of_mirrors("embassy"), home);

    let tests = read(&test_file("home"));
    let rules = path(&rule_file("embassy"));
    let here = tests.replace(
        "../../../charts/dataembassy/files/rules/home.yaml",
        rules.to_str().unwrap(),
    );
    assert_ne!(here, tests);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mirrors.yaml");
    std::fs::write(&file, here).unwrap();
    let program = Cache::locate().unwrap().path("promtool").unwrap();
    let output = Command::new(program)
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn what_was_promised_has_an_alarm() {
    let names = |side| -> BTreeSet<String> { rules(side).into_iter().map(|rule| rule.alert).collect() };
    for (side, promised) in [
        (
            "home",
            "RecoveryPointMissed MirrorNotRunning RunsFailing LedgerRolledBack ClockSkewed",
        ),
        (
            "embassy",
            "RecoveryPointMissed HomeSilent IntegrityLost LedgerRolledBack LedgerForked SecondVersion UnknownSigner RequestsRefused \
             LockMissing LockTooShort RetentionBlocked QuotaExceeded SpaceShort CertificateExpiring ClockSkewed DrillFailed DrillOverdue \
             MirrorNotRunning RunsFailing",
        ),
    ] {
        let names = names(side);
        for promised in promised.split_whitespace() {
            assert!(
                names.contains(&format!("DataEmbassy{promised}")),
                "{side}: {promised}"
            );
        }
    }
}

/// `DataEmbassyHomeSilent` is explained in `home-silent.md`.
fn page_of(alert: &str) -> String {
    let name = alert.strip_prefix("DataEmbassy").unwrap();
    let slug = name
        .chars()
        .enumerate()
        .fold(String::new(), |slug, (place, letter)| {
            let dash = if place > 0 && letter.is_ascii_uppercase() {
                "-"
            } else {
                ""
            };
            slug + dash + &letter.to_ascii_lowercase().to_string()
        });
    format!("docs/runbooks/{slug}.md")
}

#[test]
fn every_alarm_has_a_page_and_every_page_an_alarm() {
    let index = read("docs/runbooks/README.md");
    let mut explained = BTreeSet::new();
    for side in SIDES {
        for rule in rules(side) {
            let page = page_of(&rule.alert);
            assert_eq!(rule.annotations["runbook"], page, "{}", rule.alert);
            assert!(!rule.annotations["summary"].is_empty());
            let severity = rule.labels["severity"].as_str();
            assert!(
                ["critical", "warning"].contains(&severity),
                "{}: {severity}",
                rule.alert
            );
            let text = read(&page);
            assert!(text.contains(&format!("Alarm `{}`, ", rule.alert)), "{page}");
            let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
            assert_eq!(headings, SECTIONS, "{page}");
            for section in text.split("\n## ").skip(1) {
                assert!(
                    section.lines().skip(1).any(|line| !line.trim().is_empty()),
                    "{page}: {section}"
                );
            }
            assert!(
                index.contains(&format!("| `{}` |", rule.alert)),
                "{} is not in the index",
                rule.alert
            );
            explained.insert(path(&page));
        }
    }
    for entry in std::fs::read_dir(path("docs/runbooks")).unwrap() {
        let page = entry.unwrap().path();
        assert!(
            page.ends_with("README.md") || explained.contains(&page),
            "{} explains no alarm",
            page.display()
        );
    }
}

/// Every series that the reference pages promise, with its labels.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::new();
    for page in ["docs/reference/operator.md", "docs/reference/sidecar.md"] {
        for line in read(page)
            .lines()
            .filter(|line| line.starts_with("| `dataembassy_"))
        {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`');
            let labels: BTreeSet<String> = cells[3].split(", ").map(str::to_owned).collect();
            let names = match cells[2] {
                "counter" => vec![format!("{name}_total")],
                "histogram" => ["bucket", "sum", "count"]
                    .map(|part| format!("{name}_{part}"))
                    .into(),
                _ => vec![name.to_owned()],
            };
            series.extend(names.into_iter().map(|name| (name, labels.clone())));
        }
    }
    series
}

/// The series that an expression names, each with its selector: `metric{…}`.
fn used(expr: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (start, _) in expr.match_indices("dataembassy_") {
        let rest = &expr[start..];
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(rest.len());
        let selector = rest[end..]
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .map_or("", |(selector, _)| selector);
        found.push((&rest[..end], selector));
    }
    found
}

/// Label, and each value that it is compared with.
fn matchers(selector: &str) -> Vec<(&str, Vec<&str>)> {
    let parts = selector.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (label, value) = part.split_once(['=', '!']).unwrap();
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            (label.trim(), value.split('|').collect())
        })
        .collect()
}

#[test]
fn no_rule_asks_for_a_metric_a_label_or_a_word_that_does_not_exist() {
    let exported = exported();
    assert!(exported.len() > 30, "{exported:?}");
    for side in SIDES {
        for rule in rules(side) {
            let used = used(&rule.expr);
            assert!(!used.is_empty(), "{}", rule.alert);
            for (name, selector) in used {
                let labels = exported
                    .get(name)
                    .unwrap_or_else(|| panic!("{}: nothing exports {name}", rule.alert));
                for (label, values) in matchers(selector) {
                    assert!(
                        labels.contains(label),
                        "{}: {name} has no label {label}",
                        rule.alert
                    );
                    for value in values {
                        let is_known = match label {
                            "reason" => value.parse::<Reason>().is_ok(),
                            "refusal" => Refusal::WORDS.contains(&value),
                            _ => true,
                        };
                        assert!(is_known, "{}: {label} is never {value}", rule.alert);
                    }
                }
            }
        }
    }
}

/// Whose series have a reason, and the rooms of the sidecar in which that is decided.
const DECIDED: [(&str, &[&str]); 2] = [
    (
        "dataembassy_mirror_",
        &["mirror", "postgresql", "process", "store"],
    ),
    ("dataembassy_custodian_", &["custodian", "process", "store"]),
];

/// The reasons that a rule waits for, each with the series in which it must come.
fn awaited(rule: &Rule) -> Vec<(&str, Reason)> {
    let mut awaited = Vec::new();
    for (name, selector) in used(&rule.expr) {
        let reasons = matchers(selector).into_iter();
        let reasons = reasons.filter(|(label, _)| *label == "reason");
        for value in reasons.flat_map(|(_, values)| values) {
            awaited.push((name, value.parse().unwrap()));
        }
    }
    awaited
}

/// The sidecar's code in these rooms, without what tests it.
fn code(rooms: &[&str]) -> String {
    let rooms = rooms.iter().map(|room| path(&format!("sidecar/src/{room}")));
    let (mut pending, mut code) = (rooms.collect::<Vec<PathBuf>>(), String::new());
    while let Some(place) = pending.pop() {
        if place.is_dir() {
            let entries = std::fs::read_dir(&place).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let text = std::fs::read_to_string(&place).unwrap();
            code.push_str(text.split("#[cfg(test)]").next().unwrap());
        }
    }
    code
}

/// Whether some line gives this reason to somebody; in patterns and comparisons it is only asked for.
fn gives(code: &str, reason: Reason) -> bool {
    let written = format!("Reason::{reason:?}");
    code.match_indices(&written).any(|(start, _)| {
        let before = code[..start].trim_end();
        let after = &code[start + written.len()..];
        let is_longer = after.starts_with(char::is_alphanumeric);
        let is_asked_for = ["|", "==", "!="].iter().any(|sign| before.ends_with(*sign))
            || after.trim_start().starts_with(['|', '=', '!']);
        !is_longer && !is_asked_for
    })
}

/// A rule for a reason that its side never gives is silent whatever happens, and promtool makes it fire all the same.
#[test]
fn every_reason_that_a_rule_waits_for_is_given_by_the_code_of_its_side() {
    let sides = DECIDED.map(|(series, rooms)| (series, code(rooms)));
    let mut asked = 0;
    for rule in SIDES.into_iter().flat_map(rules) {
        for (name, reason) in awaited(&rule) {
            let decided = sides.iter().find(|(series, _)| name.starts_with(*series));
            let (_, code) = decided.unwrap_or_else(|| panic!("nobody knows who decides on {name}"));
            assert!(gives(code, reason), "{}: {name} is never {reason}", rule.alert);
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    // The rooms are told apart: a mirror judges no forks.
    assert!(gives(&sides[1].1, Reason::Forked) && !gives(&sides[0].1, Reason::Forked));
}

/// What Helm makes of the chart.
fn rendered(helm: &str, more: &[&str]) -> String {
    let output = Command::new(Cache::locate().unwrap().path(helm).unwrap())
        .args(["template", "dataembassy", "--kube-version=1.34.4"])
        .arg(path("charts/dataembassy"))
        .arg("--set=operator.image.repository=registry.example/operator")
        .arg("--set=sidecar.image.repository=registry.example/sidecar")
        .args(more)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_chart_makes_rules_of_each_sides_plain_file_only_where_prometheus_has_its_operator() {
    let api = "--api-versions=monitoring.coreos.com/v1";
    for (helm, side) in ["helm3", "helm4"]
        .into_iter()
        .flat_map(|helm| SIDES.map(|side| (helm, side)))
    {
        let of_side = format!("--set=side={side}");
        let rendered = |more: &[&str]| rendered(helm, &[&[of_side.as_str()], more].concat());
        assert!(!rendered(&[]).contains("monitoring.coreos.com"));
        let off = [
            "--set=monitoring.rules.enabled=false",
            "--set=monitoring.podMonitor.enabled=false",
        ];
        assert!(!rendered(&[&[api], &off[..]].concat()).contains("monitoring.coreos.com"));
        let text = rendered(&[api, "--set=monitoring.rules.labels.release=prometheus"]);
        assert!(text.contains("kind: PodMonitor") && text.contains("release: prometheus"));
        let made: Vec<serde_json::Value> = text
            .split("\n---")
            .filter(|document| document.contains("kind: PrometheusRule"))
            .map(|document| serde_saphyr::from_str(document).unwrap())
            .collect();
        let plain: serde_json::Value = serde_saphyr::from_str(&read(&rule_file(side))).unwrap();
        assert_eq!(made.len(), 1, "{helm}, {side}");
        assert_eq!(made[0]["spec"], plain, "{helm}, {side}");
    }
}
