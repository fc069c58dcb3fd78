//! Reads everything that a mirror depends on: from the watches, and its sidecar's report from the pod.

use std::sync::Arc;

use dataembassy_contract::report::Report;
use dataembassy_crds::{DataEmbassy, RegistryMirror};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use crate::apply::is_owned;
use crate::mirror::names;
use crate::poll;
use crate::run::Context;

/// What a mirror depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The embassy that it names.
    pub embassy: Option<Arc<DataEmbassy>>,
    /// The older mirror that has its registry id, as `namespace/name`.
    pub rival: Option<String>,
    /// Its configuration.
    pub config_map: Option<Arc<ConfigMap>>,
    /// Its identity.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// What it may reach.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// Its sidecar.
    pub deployment: Option<Arc<Deployment>>,
    /// The pod of its sidecar.
    pub pod: Option<Arc<Pod>>,
    /// What the sidecar says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Report, String>>,
}

/// Reads what `mirror` depends on.
pub async fn dereference(mirror: &RegistryMirror, context: &Context) -> Found {
    let stores = &context.stores;
    let name = names::object(&mirror.name_any());
    let namespace = mirror.namespace().unwrap_or_default();
    let deployment = get(&stores.deployments, &name, &namespace);
    let pod = deployment
        .as_ref()
        .and_then(|deployment| pod_of(deployment, &stores.replica_sets, &stores.pods));
    let report = match &pod {
        Some(pod) => report(pod, context).await,
        None => None,
    };
    Found {
        embassy: stores
            .embassies
            .get(&ObjectRef::new(&mirror.spec.embassy_ref.name)),
        rival: rival(mirror, &stores.mirrors.state()),
        config_map: get(&stores.config_maps, &name, &namespace),
        service_account: get(&stores.service_accounts, &name, &namespace),
        network_policy: get(&stores.network_policies, &name, &namespace),
        deployment,
        pod,
        report,
    }
}

fn get<K>(store: &Store<K>, name: &str, namespace: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

/// The mirror that had this registry id first: of two, exactly one gives way, whichever is looked at.
fn rival(mirror: &RegistryMirror, all: &[Arc<RegistryMirror>]) -> Option<String> {
    let age = |mirror: &RegistryMirror| {
        let created = mirror.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, mirror.uid())
    };
    all.iter()
        .filter(|other| {
            other.uid() != mirror.uid()
                && other.spec.registry.id == mirror.spec.registry.id
                && other.spec.embassy_ref.name == mirror.spec.embassy_ref.name
                && other.metadata.deletion_timestamp.is_none()
        })
        .min_by_key(|other| age(other))
        .filter(|other| age(other) < age(mirror))
        .map(|other| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))
}

/// The newest pod that descends from the Deployment by UIDs: labels can be copied, owner references to a UID cannot be guessed.
fn pod_of(deployment: &Deployment, replica_sets: &Store<ReplicaSet>, pods: &Store<Pod>) -> Option<Arc<Pod>> {
    let owner = deployment.uid()?;
    let namespace = deployment.namespace();
    let sets = replica_sets.state_filter(|set| set.namespace() == namespace && is_owned(set, &owner));
    let sets: Vec<String> = sets.iter().filter_map(|set| set.uid()).collect();
    pods.state_filter(|pod| {
        pod.namespace() == namespace
            && pod.metadata.deletion_timestamp.is_none()
            && sets.iter().any(|set| is_owned(pod, set))
    })
    .into_iter()
    .max_by_key(|pod| {
        (
            pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            pod.uid(),
        )
    })
}

async fn report(pod: &Pod, context: &Context) -> Option<Result<Report, String>> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    let address = status.pod_ip.as_deref()?.parse().ok()?;
    let uid = pod.uid()?;
    let key = format!(
        "{}/{}",
        pod.namespace().unwrap_or_default(),
        pod.labels().get("app.kubernetes.io/instance")?
    );
    let known = context.known_report(&key);
    match poll::ask(address, context.settings.status_port, &uid, known).await {
        Ok(known) => {
            context.metrics.polled("ok");
            let report = known.report.clone();
            context.remember_report(key, known);
            Some(Ok(report))
        }
        Err(error) => {
            context.metrics.polled("failed");
            Some(Err(error.to_string()))
        }
    }
}
