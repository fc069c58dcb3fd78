//! What every `RegistryRestore` that an activation asks for has in common, whether it restores or drops.

use std::collections::BTreeMap;

use dataembassy_crds::{ActivatedRegistry, EmbassyActivation, ExternalDatabase, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use crate::activation::database::Managed;
use crate::activation::names;

/// Its metadata: the activation's own, with it and beside it, with `further` labels. None while the activation has no UID.
#[must_use]
pub fn metadata(
    activation: &EmbassyActivation,
    name: String,
    further: BTreeMap<String, String>,
) -> Option<ObjectMeta> {
    let mut labels: BTreeMap<String, String> =
        serde_json::from_value(names::labels(&activation.name_any())).unwrap_or_default();
    labels.extend(further);
    Some(ObjectMeta {
        name: Some(name),
        namespace: activation.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![OwnerReference {
            api_version: "dataembassy.io/v1alpha1".to_owned(),
            kind: "EmbassyActivation".to_owned(),
            name: activation.name_any(),
            uid: activation.uid()?,
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    })
}

/// A database that somebody else keeps, as the target of one.
#[must_use]
pub fn target(external: &ExternalDatabase) -> Target {
    Target {
        host: external.host.clone(),
        port: external.port,
        database: external.database.clone(),
        create_if_missing: false,
        tls: external.tls.clone(),
        credentials_ref: external.credentials_ref.clone(),
    }
}

/// The database that a registry is restored into. None where its target names neither kind.
#[must_use]
pub fn target_of(activation: &EmbassyActivation, registry: &ActivatedRegistry) -> Option<Target> {
    let managed = Managed::of(activation, registry).map(|managed| managed.target());
    managed.or_else(|| registry.target.external.as_ref().map(target))
}

/// A database, as people name it.
#[must_use]
pub fn place(target: &Target) -> String {
    format!("{}:{}/{}", target.host, target.port, target.database)
}
