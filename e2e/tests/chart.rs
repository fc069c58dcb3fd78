//! The Helm chart, judged by the tools that its users judge it with. No cluster is needed; scenarios install it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use dataembassy_e2e::cache::Cache;

/// The two halves that a cluster can run.
const SIDES: [&str; 2] = ["--set=side=home", "--set=side=embassy"];
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What a user must say at the least.
const IMAGES: [&str; 2] = [
    "--set=operator.image.repository=registry.example/operator",
    "--set=sidecar.image.repository=registry.example/sidecar",
];

fn chart() -> PathBuf {
    Path::new(TREE).join("charts/dataembassy")
}

fn tool(name: &str) -> Command {
    Command::new(Cache::locate().unwrap().path(name).unwrap())
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rendered(helm: &str, values: &[&str]) -> String {
    let mut command = tool(helm);
    command.args(["template", "dataembassy"]).arg(chart());
    command
        .args(["--namespace=dataembassy-system", "--kube-version=1.34.4"])
        .args(IMAGES)
        .args(values);
    let output = run(&mut command);
    assert!(output.status.success(), "{helm}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn both_helms_lint_the_chart_and_render_the_same_for_both_sides() {
    // One of them puts an empty line before a separator.
    let lines = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect()
    };
    for side in SIDES {
        let mut texts = Vec::new();
        for helm in ["helm3", "helm4"] {
            let mut lint = tool(helm);
            lint.args(["lint", "--strict"])
                .arg(chart())
                .args(IMAGES)
                .arg(side);
            let output = run(&mut lint);
            assert!(output.status.success(), "{helm}: {}", text(&output.stdout));
            texts.push(rendered(helm, &[side]));
        }
        assert!(texts[0].contains("kind: Deployment"));
        assert!(
            lines(&texts[0]) == lines(&texts[1]),
            "the two Helms render differently with {side}"
        );
    }
}

#[test]
fn the_operator_is_told_its_side() {
    for (side, value) in SIDES.into_iter().zip(["home", "embassy"]) {
        let rendered = rendered("helm3", &[side]);
        assert!(
            rendered.contains(&format!("name: DATAEMBASSY_SIDE\n              value: {value}\n")),
            "{rendered}"
        );
    }
}

#[test]
fn a_value_that_means_nothing_is_refused_by_the_schema() {
    for (value, named) in [
        ("--set=operator.image.repository=", "repository"),
        ("--set=operator.image.digest=latest", "digest"),
        ("--set=side=abroad", "side"),
        ("--set=operator.imagee.repository=x", "imagee"),
    ] {
        let mut command = tool("helm3");
        command
            .args(["template", "dataembassy", "--kube-version=1.34.4"])
            .arg(chart());
        let output = run(command.args(IMAGES).arg(value));
        assert!(!output.status.success(), "{value} was taken");
        assert!(
            text(&output.stderr).contains(named),
            "{value}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn an_image_with_a_digest_is_pulled_by_it() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let rendered = rendered(
        "helm3",
        &[
            &format!("--set=operator.image.digest={digest}"),
            "--set=operator.image.tag=ignored",
        ],
    );
    assert!(
        rendered.contains(&format!("image: \"registry.example/operator@{digest}\"")),
        "{rendered}"
    );
    assert!(!rendered.contains("ignored"));
}

#[test]
fn an_https_collector_of_traces_needs_its_authorities_and_gets_them() {
    let endpoint = "--set=operator.otlpEndpoint=https://collector.observability:4318";
    let mut command = tool("helm3");
    command
        .args(["template", "dataembassy", "--kube-version=1.34.4"])
        .arg(chart());
    let output = run(command.args(IMAGES).arg(endpoint));
    assert!(!output.status.success() && text(&output.stderr).contains("operator.otlpCaBundle"));

    let bundle = "--set=operator.otlpCaBundle=-----BEGIN CERTIFICATE-----";
    for helm in ["helm3", "helm4"] {
        let rendered = rendered(helm, &[endpoint, bundle]);
        for part in [
            "ca.crt: \"-----BEGIN CERTIFICATE-----\"",
            "value: /etc/dataembassy/otlp/ca.crt",
            "mountPath: /etc/dataembassy/otlp,",
            "name: dataembassy-operator-otlp",
            "port: 4318",
        ] {
            assert!(rendered.contains(part), "{part}:\n{rendered}");
        }
    }
    assert!(!rendered("helm3", &[]).contains("otlp"));
}

#[test]
fn the_definitions_of_the_kinds_are_kept_on_uninstalling_unless_told() {
    let kept = |values: &[&str]| {
        rendered("helm3", values)
            .matches("helm.sh/resource-policy: keep")
            .count()
    };
    let definitions = fs::read_dir(chart().join("files/crds")).unwrap().count();
    assert_eq!(definitions, 7);
    assert_eq!(kept(&[]), definitions);
    assert_eq!(kept(&["--set=crds.keep=false"]), 0);
    assert!(!rendered("helm3", &["--set=crds.install=false"]).contains("kind: CustomResourceDefinition"));
}

/// All roles that are rendered for a side.
fn all_roles(side: &str) -> Vec<String> {
    let rendered = rendered("helm3", &[side]);
    rendered
        .split("\n---")
        .filter(|document| document.contains("\nkind: ClusterRole\n") || document.contains("\nkind: Role\n"))
        .map(str::to_owned)
        .collect()
}

/// The operator's own.
fn roles(side: &str) -> Vec<String> {
    let mut roles = all_roles(side);
    roles.retain(|role| !role.contains("-user-"));
    assert_eq!(roles.len(), 2);
    roles
}

/// What may be done in every namespace.
fn roles_of_cluster(side: &str) -> String {
    let mut roles = roles(side).into_iter();
    roles.find(|role| role.contains("kind: ClusterRole\n")).unwrap()
}

/// The verbs of the rule that names a resource.
fn verbs<'a>(role: &'a str, resource: &str) -> Option<&'a str> {
    let mut lines = role.lines().peekable();
    while let Some(line) = lines.next() {
        let names = line
            .trim()
            .strip_prefix("resources: [")
            .and_then(|names| names.strip_suffix(']'));
        if names.is_some_and(|names| names.split(", ").any(|name| name == resource)) {
            return lines.peek().map(|verbs| verbs.trim());
        }
    }
    None
}

#[test]
fn the_operator_has_no_wildcard_and_reads_no_secret_on_either_side() {
    for side in SIDES {
        for role in roles(side) {
            assert!(!role.contains('*'), "{role}");
            let made = verbs(&role, "secrets");
            assert!(made.is_none() || made == Some("verbs: [create]"), "{role}");
        }
    }
}

#[test]
fn at_the_embassy_the_operator_makes_what_restores_drills_mirrors_and_databases_need_and_deletes_little_of_it()
 {
    let roles = roles(SIDES[1]);
    let cluster = roles
        .iter()
        .find(|role| role.contains("kind: ClusterRole\n"))
        .unwrap();
    assert_eq!(verbs(cluster, "leases"), None, "{cluster}");
    // Mirrors of what is served from here are made as at home, in any namespace.
    let home = roles_of_cluster(SIDES[0]);
    for resource in [
        "configmaps",
        "serviceaccounts",
        "deployments",
        "networkpolicies",
        "replicasets",
        "pods",
        "registrymirrors",
        "registrymirrors/status",
    ] {
        let granted = verbs(cluster, resource);
        assert!(
            granted.is_some() && granted == verbs(&home, resource),
            "{resource}: {cluster}"
        );
    }
    assert_eq!(
        verbs(cluster, "recoverypoints"),
        Some("verbs: [get, list, watch, create, patch, delete]")
    );
    for (resource, expected) in [
        ("registryrestores", "verbs: [get, list, watch]"),
        ("registryrestores/status", "verbs: [patch]"),
        ("registrydrills/status", "verbs: [patch]"),
    ] {
        assert_eq!(verbs(cluster, resource), Some(expected));
    }
    // The database of an activated registry: a volume is never deleted, nor anything that is not the database's own.
    for (resource, expected) in [
        ("statefulsets", "verbs: [get, create, patch, delete]"),
        ("statefulsets/finalizers", "verbs: [update]"),
        ("services", "verbs: [get, create, patch]"),
        ("secrets", "verbs: [create]"),
        ("persistentvolumeclaims", "verbs: [get]"),
    ] {
        assert_eq!(verbs(cluster, resource), Some(expected));
    }
    assert_eq!(cluster.matches("delete]").count(), 4, "{cluster}");
    // A drill's Job is deleted, a recovery point, a rehearsal's database and an order's restore; nothing else is, and at home nothing at all.
    let jobs = |role: &str| -> Vec<String> {
        role.split("  - apiGroups: ")
            .filter(|rule| rule.contains("resources: [jobs]"))
            .filter_map(|rule| verbs(rule, "jobs").map(str::to_owned))
            .collect()
    };
    let usual = "verbs: [get, list, watch, create, patch]";
    assert_eq!(jobs(cluster), ["verbs: [delete]", usual]);
    assert_eq!(jobs(&home), [usual]);
    assert!(
        !home.contains("delete") && !home.contains("registrydrills"),
        "{home}"
    );
    for resource in ["dataembassies", "registrycustodies", "registrydrills"] {
        assert_eq!(verbs(cluster, resource), Some("verbs: [get, list, watch]"));
    }
    let own = roles.iter().find(|role| role.contains("kind: Role\n")).unwrap();
    assert_eq!(
        verbs(own, "services"),
        Some("verbs: [get, list, watch, create, patch]")
    );
    assert!(!own.contains("delete"), "{own}");
}

/// The role of the chart for people of this kind.
fn of_users(side: &str, who: &str) -> String {
    let name = format!("-user-{who}\n");
    let mut roles = all_roles(side).into_iter();
    roles.find(|role| role.contains(&name)).unwrap()
}

#[test]
fn an_owner_cannot_activate_an_auditor_reads_only_and_nobody_comes_by_the_stewards_role_unasked() {
    for side in SIDES {
        let owner = of_users(side, "owner");
        assert!(owner.contains("aggregate-to-edit: \"true\"") && !owner.contains("aggregate-to-view"));
        for kept in [
            "embassyactivations",
            "dataembassies",
            "registrycustodies",
            "secrets",
        ] {
            assert!(!owner.contains(kept), "{owner}");
        }
        assert!(owner.contains("registryrestores"), "{owner}");
        let auditor = of_users(side, "auditor");
        assert!(auditor.contains("aggregate-to-view: \"true\"") && auditor.contains("embassyactivations"));
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!auditor.contains(verb), "{auditor}");
        }
        let steward = of_users(side, "steward");
        assert!(!steward.contains("aggregate"), "{steward}");
        assert!(
            steward.contains("embassyactivations") && steward.contains("create"),
            "{steward}"
        );
    }
}

#[test]
fn an_activation_makes_and_ends_restores_at_the_embassy_and_is_only_refused_at_home() {
    let rules = |side: &str, resource: &str| -> Vec<String> {
        roles_of_cluster(side)
            .split("  - apiGroups: ")
            .filter(|rule| rule.contains(&format!("resources: [{resource}]")))
            .filter_map(|rule| verbs(rule, resource).map(str::to_owned))
            .collect()
    };
    for side in SIDES {
        assert_eq!(rules(side, "embassyactivations"), ["verbs: [get, list, watch]"]);
        assert_eq!(rules(side, "embassyactivations/status"), ["verbs: [patch]"]);
    }
    assert_eq!(rules(SIDES[0], "registryrestores"), ["verbs: [get, list, watch]"]);
    assert_eq!(
        rules(SIDES[1], "registryrestores"),
        ["verbs: [get, list, watch]", "verbs: [create, delete]"]
    );
}

#[test]
fn the_operator_reaches_the_reports_of_its_own_side_only() {
    let policy = |side: &str| {
        rendered("helm3", &[side])
            .split("\n---")
            .find(|document| document.contains("\nkind: NetworkPolicy\n"))
            .map(str::to_owned)
            .unwrap()
    };
    let (home, embassy) = (policy(SIDES[0]), policy(SIDES[1]));
    assert!(home.contains("namespaceSelector: {}") && home.contains("values: [mirror, restore]"));
    assert!(!home.contains("custodian"), "{home}");
    // Mirrors, restores and drills are in any namespace, custodian and gate in the operator's own.
    let (anywhere, own) = embassy.split_once("values: [mirror, restore, drill]").unwrap();
    assert!(anywhere.contains("namespaceSelector: {}"), "{anywhere}");
    assert!(
        !own.contains("namespaceSelector") && own.contains("values: [custodian, gate]"),
        "{own}"
    );
}

#[test]
fn checkov_finds_nothing_but_what_is_so_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let digest = format!("--set=operator.image.digest=sha256:{}", "ab".repeat(32));
    let on_purpose = [
        // A limit on CPU stops the operator for the rest of a period whenever it is busy, and protects nobody: requests share the node.
        "CKV_K8S_11",
        // The operator talks to the API server: it is the one pod of ours that has a token.
        "CKV_K8S_38",
    ];
    for (number, side) in SIDES.into_iter().enumerate() {
        let manifests = folder.path().join(format!("rendered-{number}.yaml"));
        fs::write(&manifests, rendered("helm3", &[&digest, side])).unwrap();
        let mut checkov = tool("checkov");
        checkov.args([
            "--framework=kubernetes",
            "--compact",
            "--quiet",
            "--skip-download",
        ]);
        checkov
            .arg(format!("--skip-check={}", on_purpose.join(",")))
            .arg("--file")
            .arg(&manifests);
        let output = run(&mut checkov);
        assert!(
            output.status.success(),
            "{side}: {}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}
