//! The Deployments of custodian and gate.

use dataembassy_contract::{config, files};
use dataembassy_crds::Custodian;
use serde_json::{Value, json};

use super::{Place, metadata};
use crate::apply::with_digest;
use crate::embassy::names::Part;
use crate::rollout::TEMPLATE_DIGEST;
use crate::workload::{Amounts, Workload};

/// The default of `spec.custodian.resources`.
const CUSTODIAN: Amounts = Amounts {
    cpu: "20m",
    memory: "48Mi",
    limit: "128Mi",
    processors: None,
};
/// The default of `spec.custodian.gate.resources`.
const GATE: Amounts = Amounts {
    cpu: "20m",
    memory: "32Mi",
    limit: "64Mi",
    processors: None,
};

pub(super) fn build(place: Place<'_>, block: &Custodian) -> Value {
    let template = template(place, block);
    let mut metadata = metadata(place);
    metadata["annotations"][TEMPLATE_DIGEST] = config::digest(template.to_string().as_bytes()).into();
    let (replicas, strategy) = match place.part {
        // Two custodians at once do no harm, but they do everything twice.
        Part::Custodian => (1, json!({"type": "Recreate"})),
        // Home finds a door at any time: an old gate goes when a new one is ready.
        Part::Gate => (
            block.gate.replicas,
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
        ),
    };
    with_digest(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "strategy": strategy,
            "selector": {"matchLabels": place.part.selector(place.embassy)},
            "template": template,
        },
    }))
}

fn template(place: Place<'_>, block: &Custodian) -> Value {
    let object = place.part.object(place.embassy);
    let labels = place.part.labels(place.embassy);
    match place.part {
        Part::Custodian => custodian(&object, block).template(&labels, place),
        Part::Gate => {
            let mut template = gate(&object, block).template(&labels, place);
            spread(&mut template["spec"], &place.part.selector(place.embassy));
            template
        }
    }
}

/// A workload whose Secrets are listed beside it.
struct Mounted<'a> {
    workload: Workload<'a>,
    secrets: Vec<(&'a str, &'a [&'a str])>,
}

impl Mounted<'_> {
    fn template(&self, labels: &Value, place: Place<'_>) -> Value {
        let workload = Workload {
            secrets: &self.secrets,
            ..self.workload
        };
        workload.template(labels, place.settings)
    }
}

fn custodian<'a>(object: &'a str, block: &'a Custodian) -> Mounted<'a> {
    let mut secrets: Vec<(&str, &[&str])> = vec![
        (
            &block.credentials_ref.name,
            &[files::CUSTODY_ACCESS_KEY_ID, files::CUSTODY_SECRET_ACCESS_KEY],
        ),
        (&block.signer_ref.name, &[files::CUSTODY_SIGNING_KEY]),
    ];
    if let Some(check) = &block.check {
        secrets.push((
            &check.credentials_ref.name,
            &[files::CHECK_ACCESS_KEY_ID, files::CHECK_SECRET_ACCESS_KEY],
        ));
    }
    Mounted {
        workload: Workload {
            container: "custodian",
            command: "custodian",
            service_account: object,
            config_map: object,
            secrets: &[],
            ports: &[],
            scratch_size: None,
            resources: block.resources.as_ref(),
            amounts: CUSTODIAN,
            node_selector: &block.node_selector,
            tolerations: &block.tolerations,
            pull_secrets: &[],
            grace_seconds: 30,
            volumes: &[],
            mounts: &[],
            companion: None,
        },
        secrets,
    }
}

fn gate<'a>(object: &'a str, block: &'a Custodian) -> Mounted<'a> {
    let gate = &block.gate;
    Mounted {
        workload: Workload {
            container: "gate",
            command: "gate",
            service_account: object,
            config_map: object,
            secrets: &[],
            ports: &[("gate", files::GATE_PORT)],
            scratch_size: None,
            resources: gate.resources.as_ref(),
            amounts: GATE,
            node_selector: &gate.node_selector,
            tolerations: &gate.tolerations,
            pull_secrets: &[],
            // Requests under way are let through to their end.
            grace_seconds: 60,
            volumes: &[],
            mounts: &[],
            companion: None,
        },
        secrets: vec![(
            &gate.tls_ref.name,
            &[files::GATE_CERTIFICATE, files::GATE_CERTIFICATE_KEY],
        )],
    }
}

/// Gates are on different nodes and in different zones where there are such, and on one where there are not.
fn spread(pod: &mut Value, selector: &Value) {
    let constraint = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector},
        })
    };
    pod["topologySpreadConstraints"] = json!([
        constraint("topology.kubernetes.io/zone"),
        constraint("kubernetes.io/hostname")
    ]);
    pod["affinity"] = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": selector},
        },
    }]}});
}
