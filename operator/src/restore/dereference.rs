//! Reads everything that a restore depends on: embassy and registry from the watches, its Job and its pod from the API server, and from the
//! pod how far it is. Restores are rare, so nothing of theirs is watched but the Jobs.

use std::sync::Arc;

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_contract::restore::RestoreReport;
use dataembassy_crds::{DataEmbassy, RegistryCustody, RegistryMirror, RegistryRestore};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::custody::neighbours::accepted;
use crate::restore::{key, names};
use crate::run::{Context, ReconcileError, those};
use crate::{job, poll};

/// What a restore depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The embassy that it names.
    pub embassy: Option<Arc<DataEmbassy>>,
    /// At the embassy: the registry, as it was accepted.
    pub custody: Option<Arc<RegistryCustody>>,
    /// At home: the registry's mirror, in the restore's own namespace.
    pub mirror: Option<Arc<RegistryMirror>>,
    /// Its Job, if it is this restore's.
    pub job: Option<Job>,
    /// The Job's pod.
    pub pod: Option<Pod>,
    /// Why there is no pod although there should be, if somebody says so.
    pub refusal: Option<String>,
    /// What the pod says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Arc<RestoreReport>, String>>,
}

/// Reads what `restore` depends on.
pub async fn dereference(restore: &RegistryRestore, context: &Context) -> Result<Found, ReconcileError> {
    let stores = &context.stores;
    let spec = &restore.spec;
    let (embassy, registry) = (&spec.embassy_ref.name, &spec.registry.id);
    let namespace = restore.namespace().unwrap_or_default();
    let made = restore
        .status
        .as_ref()
        .and_then(|status| status.job_uid.as_deref());
    let object = names::object(&restore.name_any());
    let owner = restore.uid().unwrap_or_default();
    let job = job::find(&context.client, (&namespace, &object), &owner, made).await?;
    let pod = match &job {
        Some(job) => job::pod(&context.client, job).await?,
        None => None,
    };
    let refusal = job::refusal(context, job.as_ref(), pod.as_ref()).await;
    let report = match &pod {
        Some(pod) => report(pod, restore, context).await,
        None => None,
    };
    Ok(Found {
        embassy: stores.embassies.get(&ObjectRef::new(embassy)),
        custody: accepted(registry, embassy, &stores.custodies.state()),
        mirror: those(&stores.mirrors, |mirror| {
            mirror.namespace().as_deref() == Some(&namespace)
                && mirror.spec.registry.id == *registry
                && mirror.spec.embassy_ref.name == *embassy
        })
        .into_iter()
        .next(),
        job,
        pod,
        refusal,
        report,
    })
}

async fn report(
    pod: &Pod,
    restore: &RegistryRestore,
    context: &Context,
) -> Option<Result<Arc<RestoreReport>, String>> {
    let asked = (context.settings.status_port, STATUS_PATH);
    let answer = poll::ask_pod(pod, asked, &key(restore), &context.restore_reports, context).await?;
    Some(answer.map_err(|error| error.to_string()))
}
