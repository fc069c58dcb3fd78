//! Reads everything that a drill depends on: embassy and registry from the watches, the Job and the pod of the run that is at work from the
//! API server, from the pod how far it is, and from the custodian's last report what became of the order.

use std::sync::Arc;

use dataembassy_contract::custodian::OrderState;
use dataembassy_contract::drill::DrillReport;
use dataembassy_contract::files::STATUS_PATH;
use dataembassy_crds::{CurrentDrill, DataEmbassy, RegistryCustody, RegistryDrill};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::custody::neighbours::accepted;
use crate::custody::report_key;
use crate::drill::{key, names};
use crate::run::{Context, ReconcileError};
use crate::{job, poll};

/// What a drill depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The embassy that it names.
    pub embassy: Option<Arc<DataEmbassy>>,
    /// The registry, as it was accepted.
    pub custody: Option<Arc<RegistryCustody>>,
    /// The Job of the attempt that is at work, if it is this drill's.
    pub job: Option<Job>,
    /// The Job's pod.
    pub pod: Option<Pod>,
    /// Why there is no pod although there should be, if somebody says so.
    pub refusal: Option<String>,
    /// What the pod says, or why it says nothing; absent where there is no running pod.
    pub report: Option<Result<Arc<DrillReport>, String>>,
    /// What the custodian has said last of the order that the run became.
    pub answer: Option<OrderState>,
}

/// Reads what `drill` depends on.
pub async fn dereference(drill: &RegistryDrill, context: &Context) -> Result<Found, ReconcileError> {
    let stores = &context.stores;
    let (embassy, registry) = (&drill.spec.embassy_ref.name, &drill.spec.registry.id);
    let mut found = Found {
        embassy: stores.embassies.get(&ObjectRef::new(embassy)),
        custody: accepted(registry, embassy, &stores.custodies.state()),
        ..Found::default()
    };
    let Some(current) = drill.status.as_ref().and_then(|status| status.current.as_ref()) else {
        return Ok(found);
    };
    let place = (&*drill.namespace().unwrap_or_default(), &*names::job(current));
    let owner = drill.uid().unwrap_or_default();
    found.job = job::find(&context.client, place, &owner, current.job_uid.as_deref()).await?;
    if let Some(job) = &found.job {
        found.pod = job::pod(&context.client, job).await?;
    }
    found.refusal = job::refusal(context, found.job.as_ref(), found.pod.as_ref()).await;
    if let Some(pod) = &found.pod {
        found.report = report(pod, drill, current, context).await;
    }
    found.answer = found
        .custody
        .as_ref()
        .and_then(|custody| answer(current, custody, context));
    Ok(found)
}

/// The process ends once it is asked again with the tag of its result. So as long as the result is not kept in the status, it is asked
/// without a tag: an operator that is killed in between finds it still there.
async fn report(
    pod: &Pod,
    drill: &RegistryDrill,
    current: &CurrentDrill,
    context: &Context,
) -> Option<Result<Arc<DrillReport>, String>> {
    let (object, reports) = (key(drill), &context.drill_reports);
    let has_result = reports
        .get(&object)
        .is_some_and(|known| known.report.result.is_some());
    if has_result && current.result.is_none() {
        reports.forget(&object);
    }
    let asked = (context.settings.status_port, STATUS_PATH);
    let answer = poll::ask_pod(pod, asked, &object, reports, context).await?;
    Some(answer.map_err(|error| error.to_string()))
}

/// The custodian is asked about its registries by their own controller; what it said last is enough here.
fn answer(current: &CurrentDrill, custody: &RegistryCustody, context: &Context) -> Option<OrderState> {
    let known = context.registry_reports.get(&report_key(custody))?;
    let mut answers = known.report.orders.iter();
    let answer = answers.find(|answer| answer.id == current.order)?;
    Some(answer.state.clone())
}
