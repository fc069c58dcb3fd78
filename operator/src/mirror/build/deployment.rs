//! The sidecar's Deployment: one pod beside one database.

use dataembassy_contract::{config, files};
use serde_json::{Value, json};

use super::metadata;
use crate::apply::with_digest;
use crate::mirror::names;
use crate::mirror::validate::{Checked, Secrets};
use crate::rollout::TEMPLATE_DIGEST;
use crate::settings::Settings;
use crate::workload::{Amounts, Workload};

/// The default of `spec.sidecar.scratchSize`.
const SCRATCH_SIZE: &str = "1Gi";
/// The default of `spec.sidecar.resources`.
const AMOUNTS: Amounts = Amounts {
    cpu: "50m",
    memory: "96Mi",
    limit: "192Mi",
    processors: None,
};

pub(super) fn build(checked: &Checked, settings: &Settings) -> Value {
    let mirror = &checked.config.mirror.name;
    let template = template(checked, settings);
    let mut metadata = metadata(checked);
    metadata["annotations"][TEMPLATE_DIGEST] = config::digest(template.to_string().as_bytes()).into();
    with_digest(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": i32::from(checked.runs),
            "revisionHistoryLimit": 2,
            // Two sidecars of one mirror would only race for the same entry.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names::selector(mirror)},
            "template": template,
        },
    }))
}

fn template(checked: &Checked, settings: &Settings) -> Value {
    let mirror = &checked.config.mirror.name;
    let sidecar = &checked.sidecar;
    let Secrets {
        deposit,
        database,
        database_ca,
        signing,
    } = &checked.secrets;
    let object = names::object(mirror);
    let workload = Workload {
        container: "sidecar",
        command: "mirror",
        service_account: &object,
        config_map: &object,
        secrets: &[
            (
                deposit,
                &[files::DEPOSIT_ACCESS_KEY_ID, files::DEPOSIT_SECRET_ACCESS_KEY],
            ),
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
            (signing, &[files::SIGNING_KEY]),
        ],
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
    workload.template(&names::pod_labels(mirror, checked.abroad.as_ref()), settings)
}
