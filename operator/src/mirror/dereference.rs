//! Reads everything that a mirror depends on: from the watches, and its sidecar's report from the pod.

use std::sync::Arc;

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_contract::report::Report;
use dataembassy_crds::{DataEmbassy, RegistryMirror};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::apply::is_owned;
use crate::custody::dereference::said;
use crate::custody::neighbours::accepted;
use crate::labels::INSTANCE;
use crate::mirror::abroad::{Abroad, is_beside};
use crate::mirror::names;
use crate::run::{Context, get, those};
use crate::settings::Side;
use crate::{pod, poll};

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
    /// Its sidecar; nothing where the one of that name is not its own.
    pub deployment: Option<Arc<Deployment>>,
    /// The pod of its sidecar.
    pub pod: Option<Arc<Pod>>,
    /// What the sidecar says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Arc<Report>, String>>,
    /// At the embassy: what its other half knows of the registry.
    pub abroad: Option<Abroad>,
}

/// Reads what `mirror` depends on.
pub async fn dereference(mirror: &RegistryMirror, context: &Context) -> Found {
    let stores = &context.stores;
    let name = names::object(&mirror.name_any());
    let namespace = mirror.namespace().unwrap_or_default();
    // What a mirror of the same name has left goes by and by. Its sidecar speaks for that one: the head that it knows is what somebody may
    // have deleted the mirror for.
    let uid = mirror.uid().unwrap_or_default();
    let deployment = get(&stores.deployments, &name, &namespace).filter(|found| is_owned(&**found, &uid));
    let pod = pod::newest(deployment.as_deref(), &stores.replica_sets, &stores.pods);
    let report = match &pod {
        Some(pod) => report(pod, context).await,
        None => None,
    };
    let abroad = match context.settings.side {
        Side::Home => None,
        Side::Embassy => Some(abroad(mirror, context).await),
    };
    Found {
        abroad,
        embassy: stores
            .embassies
            .get(&ObjectRef::new(&mirror.spec.embassy_ref.name)),
        // The same one in whatever order they are, of which there may be thousands.
        rival: rival(mirror, &stores.mirrors.state(), context.settings.side),
        config_map: get(&stores.config_maps, &name, &namespace),
        service_account: get(&stores.service_accounts, &name, &namespace),
        network_policy: get(&stores.network_policies, &name, &namespace),
        deployment,
        pod,
        report,
    }
}

async fn abroad(mirror: &RegistryMirror, context: &Context) -> Abroad {
    let stores = &context.stores;
    let spec = &mirror.spec;
    let custody = accepted(
        &spec.registry.id,
        &spec.embassy_ref.name,
        &stores.custodies.state(),
    );
    let report = match &custody {
        Some(custody) => said(custody, context).await,
        None => None,
    };
    Abroad {
        custody,
        report,
        activations: those(&stores.activations, |activation| is_beside(activation, mirror)),
    }
}

/// The mirror that had this registry id first: of two, exactly one gives way, whichever is looked at. One that has made a copy has shown that it
/// holds the registry's credentials, and goes before one that has not, however old that is: anybody may make a resource. At the embassy nobody
/// mirrors a registry but beside the activation that serves it.
fn rival(mirror: &RegistryMirror, all: &[Arc<RegistryMirror>], side: Side) -> Option<String> {
    let age = |mirror: &RegistryMirror| {
        let created = mirror.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let copied = mirror
            .status
            .as_ref()
            .is_some_and(|status| status.last_copy.is_some());
        (!copied, created, mirror.uid())
    };
    all.iter()
        .filter(|other| {
            // First what tells nearly all of thousands apart.
            other.spec.registry.id == mirror.spec.registry.id
                && other.spec.embassy_ref.name == mirror.spec.embassy_ref.name
                && other.metadata.uid != mirror.metadata.uid
                && (side == Side::Home || other.metadata.namespace == mirror.metadata.namespace)
                && other.metadata.deletion_timestamp.is_none()
        })
        .min_by_key(|other| age(other))
        .filter(|other| age(other) < age(mirror))
        .map(|other| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))
}

async fn report(pod: &Pod, context: &Context) -> Option<Result<Arc<Report>, String>> {
    let object = format!(
        "{}/{}",
        pod.namespace().unwrap_or_default(),
        pod.labels().get(INSTANCE)?
    );
    let asked = (context.settings.status_port, STATUS_PATH);
    let answer = poll::ask_pod(pod, asked, &object, &context.mirror_reports, context).await?;
    Some(answer.map_err(|error| error.to_string()))
}
