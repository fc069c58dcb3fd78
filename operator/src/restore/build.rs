//! Builds the objects of a restore from checked values. Pure, and it cannot fail.

use dataembassy_contract::files;
use serde_json::{Value, json};

use crate::apply::with_digest;
use crate::job::Desired;
use crate::policy;
use crate::restore::names;
use crate::restore::validate::{Checked, Secrets};
use crate::settings::Settings;
use crate::workload::{Amounts, Workload, config_data};

/// The name of the container that restores.
pub const CONTAINER: &str = "restore";
/// The default of `spec.sidecar.scratchSize`.
const SCRATCH_SIZE: &str = "1Gi";
/// The default of `spec.sidecar.resources`.
const AMOUNTS: Amounts = Amounts {
    cpu: "50m",
    memory: "96Mi",
    limit: "192Mi",
    processors: None,
};

/// Builds everything for one restore.
#[must_use]
pub fn build(checked: &Checked, settings: &Settings) -> Desired {
    // Plain structs of texts and numbers: there is nothing in them that JSON cannot hold.
    let document = checked.config.to_json().unwrap_or_default();
    let object =
        |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": metadata(checked)});
    let mut service_account = object("v1", "ServiceAccount");
    service_account["automountServiceAccountToken"] = false.into();
    let mut config_map = object("v1", "ConfigMap");
    config_map["data"] = config_data(&document, settings);
    let mut network_policy = object("networking.k8s.io/v1", "NetworkPolicy");
    network_policy["spec"] = reach(checked, settings);
    let mut job = object("batch/v1", "Job");
    job["spec"] = work(checked, settings);
    Desired {
        owner: checked.uid.clone(),
        service_account: with_digest(service_account),
        config_map: with_digest(config_map),
        network_policy: with_digest(network_policy),
        job: with_digest(job),
    }
}

/// Name, labels and owner of an object of this restore.
fn metadata(checked: &Checked) -> Value {
    json!({
        "name": names::object(&checked.name),
        "namespace": checked.namespace,
        "labels": names::labels(&checked.name),
        "ownerReferences": [{
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryRestore",
            "name": checked.name,
            "uid": checked.uid,
            "controller": true,
        }],
    })
}

/// The pod may resolve names, call the target and the store, and send traces; the target is a port, and its own namespace.
fn reach(checked: &Checked, settings: &Settings) -> Value {
    let mut egress = vec![
        policy::resolving(),
        // Policies see a pod's own port, which may differ from its Service's: within the namespace any port will do.
        json!({"to": [{"podSelector": {}}]}),
        json!({"ports": [{"protocol": "TCP", "port": checked.config.target.port}]}),
    ];
    if !checked.empties {
        egress.push(policy::store(checked.store_port, &checked.store_networks));
    }
    egress.extend(policy::collector(settings));
    json!({
        "podSelector": {"matchLabels": names::selector(&checked.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": policy::ingress(settings),
        "egress": egress,
    })
}

/// One pod, once: a restore that ended half-way is begun anew by a person, who may want to look first. The Job stays until its restore is
/// deleted: it holds the result.
fn work(checked: &Checked, settings: &Settings) -> Value {
    let object = names::object(&checked.name);
    let sidecar = &checked.sidecar;
    let Secrets {
        retrieval,
        identity,
        database,
        database_ca,
    } = &checked.secrets;
    let of_the_copy: [(&str, &[&str]); 2] = [
        (
            retrieval,
            &[files::RETRIEVAL_ACCESS_KEY_ID, files::RETRIEVAL_SECRET_ACCESS_KEY],
        ),
        (identity, &[files::IDENTITY]),
    ];
    let of_the_database: [(&str, &[&str]); 2] = [
        (
            database,
            &[
                files::DATABASE_USERNAME,
                files::DATABASE_PASSWORD,
                files::DATABASE_CERTIFICATE,
                files::DATABASE_CERTIFICATE_KEY,
            ],
        ),
        (database_ca, &[files::DATABASE_CA]),
    ];
    let secrets = if checked.empties {
        of_the_database.to_vec()
    } else {
        [of_the_copy, of_the_database].concat()
    };
    let workload = Workload {
        container: CONTAINER,
        command: "restore-job",
        service_account: &object,
        config_map: &object,
        secrets: &secrets,
        ports: &[],
        scratch_size: Some(sidecar.scratch_size.as_deref().unwrap_or(SCRATCH_SIZE)),
        resources: sidecar.resources.as_ref(),
        amounts: AMOUNTS,
        node_selector: &sidecar.node_selector,
        tolerations: &sidecar.tolerations,
        pull_secrets: &sidecar.image_pull_secrets,
        grace_seconds: 30,
        volumes: &[],
        mounts: &[],
        companion: None,
    };
    let mut template = workload.template(
        &names::pod_labels(
            &checked.name,
            checked.managed_database.as_deref(),
            !checked.empties,
        ),
        settings,
    );
    template["spec"]["restartPolicy"] = "Never".into();
    json!({
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": checked.deadline.as_std().as_secs(),
        "template": template,
    })
}
