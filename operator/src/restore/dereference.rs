//! Reads everything that a restore depends on: embassy and registry from the watches, its Job and its pod from the API server, and from the
//! pod how far it is. Restores are rare, so nothing of theirs is watched but the Jobs.

use std::sync::Arc;

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_contract::restore::RestoreReport;
use dataembassy_crds::{DataEmbassy, RegistryCustody, RegistryMirror, RegistryRestore};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use crate::apply::is_owned;
use crate::custody::neighbours::{is_leaving, neighbours};
use crate::poll;
use crate::restore::{key, names};
use crate::run::{Context, ReconcileError};

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
    /// What the pod says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Arc<RestoreReport>, String>>,
}

/// Reads what `restore` depends on.
pub async fn dereference(restore: &RegistryRestore, context: &Context) -> Result<Found, ReconcileError> {
    let stores = &context.stores;
    let spec = &restore.spec;
    let (embassy, registry) = (&spec.embassy_ref.name, &spec.registry.id);
    let namespace = restore.namespace().unwrap_or_default();
    let custodies = stores.custodies.state();
    let job = job(restore, &namespace, context).await?;
    let pod = match &job {
        Some(job) => pod(job, &namespace, context).await?,
        None => None,
    };
    let report = match &pod {
        Some(pod) => report(pod, restore, context).await,
        None => None,
    };
    Ok(Found {
        embassy: stores.embassies.get(&ObjectRef::new(embassy)),
        custody: stores.custodies.find(|custody| {
            custody.spec.registry.id == *registry
                && custody.spec.embassy_ref.name == *embassy
                && !is_leaving(custody)
                // Of two with one id the younger was never accepted.
                && neighbours(custody, &custodies).rival.is_none()
        }),
        mirror: stores.mirrors.find(|mirror| {
            mirror.namespace().as_deref() == Some(&namespace)
                && mirror.spec.registry.id == *registry
                && mirror.spec.embassy_ref.name == *embassy
        }),
        job,
        pod,
        report,
    })
}

/// A Job of that name that is not this restore's is not touched, and stands in the way of ours.
async fn job(
    restore: &RegistryRestore,
    namespace: &str,
    context: &Context,
) -> Result<Option<Job>, ReconcileError> {
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let found = jobs
        .get_opt(&names::object(&restore.name_any()))
        .await
        .map_err(not_read)?;
    let owner = restore.uid().unwrap_or_default();
    let made = restore.status.as_ref().and_then(|status| status.job_uid.as_ref());
    let is_the_one = |job: &Job| made.is_none_or(|made| job.uid().as_ref() == Some(made));
    Ok(found.filter(|job| is_owned(job, &owner) && is_the_one(job)))
}

/// The pod that the Job made: labels can be copied, a UID cannot be guessed.
async fn pod(job: &Job, namespace: &str, context: &Context) -> Result<Option<Pod>, ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name_any()));
    let owner = job.uid().unwrap_or_default();
    let found = pods.list(&of_job).await.map_err(not_read)?;
    Ok(found.items.into_iter().find(|pod| is_owned(pod, &owner)))
}

fn not_read(source: kube::Error) -> ReconcileError {
    ReconcileError::NotRead {
        source: Box::new(source),
    }
}

async fn report(
    pod: &Pod,
    restore: &RegistryRestore,
    context: &Context,
) -> Option<Result<Arc<RestoreReport>, String>> {
    let asked = (context.settings.status_port, STATUS_PATH);
    let answer = poll::ask_pod(
        pod,
        asked,
        &key(restore),
        &context.restore_reports,
        &context.metrics,
    )
    .await?;
    Some(answer.map_err(|error| error.to_string()))
}
