//! What people may do with our kinds, by the chart's roles and Kubernetes' own.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    cluster::{Cluster, authorization::Subject},
    command::wait_for,
    product::{RELEASE, RELEASE_NAMESPACE},
};
use serde_json::{Value, json};

use crate::world::{MINUTE, World, together};

/// What changes a resource.
const CHANGES: [&str; 4] = ["create", "update", "patch", "delete"];
/// What only looks at it.
const LOOKS: [&str; 3] = ["get", "list", "watch"];
/// The kinds that a registry's owner has.
const OF_OWNERS: [&str; 2] = ["registrymirrors", "registryrestores"];
/// The kinds that say whom an embassy believes and what it serves.
const OF_STEWARDS: [&str; 3] = ["dataembassies", "registrycustodies", "embassyactivations"];
/// Status is the operator's alone, and recovery points are its view of the ledger.
const OF_THE_OPERATOR: [&str; 4] = [
    "embassyactivations/status",
    "registrymirrors/status",
    "registrycustodies/status",
    "recoverypoints",
];

#[test]
fn an_owner_cannot_activate_an_auditor_only_reads_and_a_steward_is_made_by_name() {
    together(users);
}

async fn users(world: &'static World) -> Result<()> {
    let namespace = world.unique("users");
    for cluster in [world.home(), world.product.bed.embassy()] {
        cluster.namespace(&namespace).await?;
        let (owner, auditor, steward) = (
            Subject::person("an-owner"),
            Subject::person("an-auditor"),
            Subject::person("a-steward"),
        );
        let prefix = format!("{RELEASE_NAMESPACE}-{RELEASE}-user");
        for (kind, role, who) in [
            // Kubernetes' own roles, which ours join.
            ("RoleBinding", "edit", &owner),
            ("RoleBinding", "view", &auditor),
            ("ClusterRoleBinding", &*format!("{prefix}-auditor"), &auditor),
            ("ClusterRoleBinding", &*format!("{prefix}-steward"), &steward),
        ] {
            let manifest = binding(kind, &namespace, role, who.user());
            cluster.apply(&manifest.to_string()).await?;
        }
        wait_for("the roles to count", MINUTE, || async {
            let counts = cluster
                .may(&owner, "create", ours("registrymirrors"), &namespace)
                .await?
                && cluster.may(&steward, "create", ours("dataembassies"), "").await?;
            Ok(counts.then_some(()))
        })
        .await?;
        can(cluster, &owner, &namespace, &OF_OWNERS, &CHANGES, true).await?;
        can(cluster, &owner, &namespace, &OF_STEWARDS, &CHANGES, false).await?;
        can(cluster, &owner, &namespace, &OF_STEWARDS, &["get"], true).await?;
        can(cluster, &owner, "", &OF_OWNERS, &CHANGES, false).await?;

        for kinds in [
            &OF_OWNERS[..],
            &OF_STEWARDS,
            &["recoverypoints", "registrydrills"],
        ] {
            can(cluster, &auditor, &namespace, kinds, &CHANGES, false).await?;
            can(cluster, &auditor, "", kinds, &LOOKS, true).await?;
        }
        can(cluster, &steward, "", &OF_STEWARDS, &CHANGES, true).await?;
        for who in [&owner, &auditor, &steward] {
            can(cluster, who, &namespace, &OF_THE_OPERATOR, &CHANGES, false).await?;
        }
        // Whoever may read a Secret in a namespace of their own needs none of our roles for it, and gets it by none of them.
        for who in [&auditor, &steward] {
            ensure!(
                !cluster.may(who, "get", ("secrets", ""), &namespace).await?,
                "{} reads Secrets",
                who.user()
            );
        }
        for kind in ["auditor", "steward"] {
            let name = format!("{namespace}-{prefix}-{kind}");
            cluster.kubectl(["delete", "clusterrolebinding", &name]).await?;
        }
    }
    Ok(())
}

/// Makes sure that somebody may, or may not, do all of this.
async fn can(
    cluster: &Cluster,
    who: &Subject,
    namespace: &str,
    kinds: &[&str],
    verbs: &[&str],
    may: bool,
) -> Result<()> {
    for kind in kinds {
        for verb in verbs {
            ensure!(
                cluster.may(who, verb, ours(kind), namespace).await? == may,
                "whether {} may {verb} {kind} in '{namespace}' should be {may}",
                who.user()
            );
        }
    }
    Ok(())
}

/// A kind of ours, with its group.
fn ours(kind: &str) -> (&str, &str) {
    (kind, "dataembassy.io")
}

fn binding(kind: &str, namespace: &str, role: &str, user: &str) -> Value {
    let mut metadata = json!({"name": format!("{namespace}-{role}")});
    if kind == "RoleBinding" {
        metadata["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}
