//! What the operator may do, as the API server judges it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use dataembassy_e2e::{
    cluster::{Cluster, authorization::Subject},
    command::output_with_input,
    product::{OPERATOR, RELEASE_NAMESPACE},
};
use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
use serde_json::json;

use crate::world::{World, together};

/// What it may do in any namespace: resource, with its group, and verbs.
const EVERYWHERE: [(&str, &str); 17] = [
    ("configmaps", "create get list patch watch"),
    ("dataembassies.dataembassy.io", "get list watch"),
    ("dataembassies/status.dataembassy.io", "patch"),
    ("deployments.apps", "create get list patch watch"),
    // To refuse them: registries are served from the embassy.
    ("embassyactivations.dataembassy.io", "get list watch"),
    ("embassyactivations/status.dataembassy.io", "patch"),
    ("events.events.k8s.io", "create list patch"),
    ("jobs.batch", "create get list patch watch"),
    ("networkpolicies.networking.k8s.io", "create get list patch watch"),
    ("pods", "get list patch watch"),
    ("registrymirrors.dataembassy.io", "get list watch"),
    ("registrymirrors/status.dataembassy.io", "patch"),
    ("registryrestores.dataembassy.io", "get list watch"),
    ("registryrestores/status.dataembassy.io", "patch"),
    ("replicasets.apps", "get list watch"),
    ("secrets", "create"),
    ("serviceaccounts", "create get list patch watch"),
];
/// What it may do in any namespace at the embassy.
const EVERYWHERE_ABROAD: [(&str, &str); 25] = [
    ("configmaps", "create get list patch watch"),
    ("dataembassies.dataembassy.io", "get list watch"),
    ("dataembassies/status.dataembassy.io", "patch"),
    ("deployments.apps", "create get list patch watch"),
    ("embassyactivations.dataembassy.io", "get list watch"),
    ("embassyactivations/status.dataembassy.io", "patch"),
    ("events.events.k8s.io", "create list patch"),
    // A drill's Job goes when its result was received.
    ("jobs.batch", "create delete get list patch watch"),
    ("networkpolicies.networking.k8s.io", "create get list patch watch"),
    ("persistentvolumeclaims", "get"),
    ("pods", "get list patch watch"),
    (
        "recoverypoints.dataembassy.io",
        "create delete get list patch watch",
    ),
    ("recoverypoints/status.dataembassy.io", "patch"),
    ("registrycustodies.dataembassy.io", "get list watch"),
    ("registrycustodies/status.dataembassy.io", "patch"),
    ("registrydrills.dataembassy.io", "get list watch"),
    ("registrydrills/status.dataembassy.io", "patch"),
    ("registrymirrors.dataembassy.io", "get list watch"),
    ("registrymirrors/status.dataembassy.io", "patch"),
    ("registryrestores.dataembassy.io", "create delete get list watch"),
    ("registryrestores/status.dataembassy.io", "patch"),
    ("replicasets.apps", "get list watch"),
    ("secrets", "create"),
    ("serviceaccounts", "create get list patch watch"),
    ("services", "create get patch"),
];
/// The databases of activated registries, which it makes, and deletes after a rehearsal.
const DATABASES: [(&str, &str); 2] = [
    ("statefulsets.apps", "create delete get patch"),
    ("statefulsets/finalizers.apps", "update"),
];
/// What it may do in its own namespace besides.
const IN_ITS_OWN: (&str, &str) = ("leases.coordination.k8s.io", "create get update");
/// What it may do there at the embassy: what stands before the gates is its own.
const GATES: (&str, &str) = ("services", "create get list patch watch");
/// Secrets, with their group.
const SECRETS: (&str, &str) = ("secrets", "");
/// Groups in which everybody may ask who they are and what they may do.
const ABOUT_ONESELF: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

#[test]
fn the_operator_may_do_what_its_side_needs_and_nothing_else() {
    together(rights);
}

#[test]
fn the_operator_makes_secrets_and_reads_none() {
    together(secrets);
}

async fn rights(world: &'static World) -> Result<()> {
    let ministry = world.ministry("rights").await?;
    let everywhere: BTreeMap<_, _> = EVERYWHERE.into();
    let mut own = everywhere.clone();
    own.extend([IN_ITS_OWN]);
    let mut abroad: BTreeMap<_, _> = EVERYWHERE_ABROAD.into();
    abroad.extend(DATABASES);
    let mut own_abroad = abroad.clone();
    own_abroad.extend([IN_ITS_OWN, GATES]);
    let embassy = world.product.bed.embassy();
    for (cluster, namespace, expected) in [
        (world.home(), ministry.namespace.as_str(), everywhere),
        (world.home(), RELEASE_NAMESPACE, own),
        (embassy, "default", abroad),
        (embassy, RELEASE_NAMESPACE, own_abroad),
    ] {
        let granted = granted(cluster, namespace).await?;
        let granted: BTreeMap<_, _> = granted
            .iter()
            .map(|(resource, verbs)| (resource.as_str(), verbs.as_str()))
            .collect();
        ensure!(
            granted == expected,
            "in {namespace} the operator may\n{granted:#?}\ninstead of\n{expected:#?}"
        );
    }
    Ok(())
}

/// Everything that the operator may do in a namespace, save asking about itself. Wildcards are taken literally and match nothing expected.
async fn granted(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let mut kubectl = cluster.kubectl_command()?;
    // Validation would read definitions in the operator's name, which it may not.
    kubectl.args([
        "create",
        "--filename=-",
        "--validate=false",
        "--output=json",
        "--as",
        operator().user(),
    ]);
    let answer = output_with_input(&mut kubectl, question.to_string().as_bytes()).await?;
    let review: SelfSubjectRulesReview = serde_json::from_str(&answer)?;
    let rules = review.status.context("the API server names no rules")?;
    ensure!(!rules.incomplete, "the API server does not name all rules");
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules.resource_rules {
        for group in rule.api_groups.unwrap_or_default() {
            if ABOUT_ONESELF.contains(&group.as_str()) {
                continue;
            }
            for resource in rule.resources.iter().flatten() {
                let name = if group.is_empty() {
                    resource.clone()
                } else {
                    format!("{resource}.{group}")
                };
                granted.entry(name).or_default().extend(rule.verbs.clone());
            }
        }
    }
    Ok(granted
        .into_iter()
        .map(|(name, verbs)| (name, verbs.into_iter().collect::<Vec<_>>().join(" ")))
        .collect())
}

async fn secrets(world: &'static World) -> Result<()> {
    let ministry = world.ministry("secrets").await?;
    let home = world.home();
    // The empty name stands for all namespaces at once.
    for namespace in ["", RELEASE_NAMESPACE, "kube-system", &ministry.namespace] {
        for verb in [
            "get",
            "list",
            "watch",
            "update",
            "patch",
            "delete",
            "deletecollection",
        ] {
            ensure!(
                !home.may(&operator(), verb, SECRETS, namespace).await?,
                "the operator may {verb} secrets in '{namespace}'"
            );
        }
        ensure!(
            home.may(&operator(), "create", SECRETS, namespace).await?,
            "the operator may not make a signing key in '{namespace}'"
        );
    }
    Ok(())
}

/// The operator, to the API server.
fn operator() -> Subject {
    Subject::service_account(RELEASE_NAMESPACE, OPERATOR)
}
