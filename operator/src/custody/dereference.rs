//! Reads everything that a registry in custody depends on: from the watches, and from the reports of custodian and gates.

use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::custodian::{CustodianReport, RegistryReport, registry_path};
use dataembassy_crds::{DataEmbassy, RecoveryPoint, RegistryCustody};
use hyper::StatusCode;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::apply::is_owned;
use crate::custody::neighbours::neighbours;
use crate::custody::report_key;
use crate::custody::validate::Neighbours;
use crate::embassy::gates::{self, Sight};
use crate::embassy::names::Part;
use crate::poll::PollError;
use crate::run::{Context, get, those};
use crate::{pod, poll};

/// How old a sight of the gates may be here: many registries share one.
const FRESH: Duration = Duration::from_secs(8);

/// What the custodian answers when it is asked about the registry.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// There is no running pod that could be asked.
    #[default]
    Nobody,
    /// It does not answer.
    Silent(String),
    /// It does not know the registry.
    NotKnown,
    /// It says this.
    Said(Arc<RegistryReport>),
}

/// What a registry in custody depends on, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The embassy that it names.
    pub embassy: Option<Arc<DataEmbassy>>,
    /// Whom it shares its cluster and its embassy with.
    pub neighbours: Neighbours,
    /// What the custodian says about it.
    pub answer: Answer,
    /// What the custodian said last about itself.
    pub custodian: Option<Arc<CustodianReport>>,
    /// The gates of its embassy.
    pub sight: Arc<Sight>,
    /// Its recovery points.
    pub points: Vec<Arc<RecoveryPoint>>,
}

impl Found {
    /// The custodian's report, if there is one.
    #[must_use]
    pub fn report(&self) -> Option<&RegistryReport> {
        match &self.answer {
            Answer::Said(report) => Some(report),
            Answer::Nobody | Answer::Silent(_) | Answer::NotKnown => None,
        }
    }
}

/// Reads what `custody` depends on.
pub async fn dereference(custody: &RegistryCustody, context: &Context) -> Found {
    let embassy = &custody.spec.embassy_ref.name;
    let neighbours = neighbours(custody, &context.stores.custodies.state());
    // The id is the older one's: what the custodian says of it is not about this resource, nor are its recovery points.
    let answer = if neighbours.rival.is_some() {
        Answer::Nobody
    } else {
        ask(custody, context).await
    };
    let owner = custody.uid().unwrap_or_default();
    Found {
        embassy: context.stores.embassies.get(&ObjectRef::new(embassy)),
        neighbours,
        answer,
        custodian: context.custodian_reports.get(embassy).map(|known| known.report),
        sight: gates::look(context, embassy, FRESH).await,
        points: those(&context.stores.recovery_points, |point| is_owned(point, &owner)),
    }
}

/// Asks the custodian about a registry.
pub async fn ask(custody: &RegistryCustody, context: &Context) -> Answer {
    let stores = &context.stores;
    let (embassy, registry) = (&custody.spec.embassy_ref.name, &custody.spec.registry.id);
    let deployment = get(
        &stores.deployments,
        &Part::Custodian.object(embassy),
        &context.settings.namespace,
    );
    let Some(pod) = pod::newest(deployment.as_deref(), &stores.replica_sets, &stores.pods) else {
        return Answer::Nobody;
    };
    let path = registry_path(registry);
    let asked = (context.settings.status_port, path.as_str());
    let object = report_key(custody);
    match poll::ask_pod(&pod, asked, &object, &context.registry_reports, context).await {
        None => Answer::Nobody,
        Some(Ok(report)) if report.registry == *registry => Answer::Said(report),
        Some(Ok(report)) => Answer::Silent(format!("it answers for the registry '{}'", report.registry)),
        Some(Err(PollError::Refused(StatusCode::NOT_FOUND))) => Answer::NotKnown,
        Some(Err(error)) => Answer::Silent(error.to_string()),
    }
}

/// What the custodian says of a registry now, or said last if it is silent.
pub async fn said(custody: &RegistryCustody, context: &Context) -> Option<Arc<RegistryReport>> {
    if let Answer::Said(report) = ask(custody, context).await {
        return Some(report);
    }
    let known = context.registry_reports.get(&report_key(custody))?;
    (known.report.registry == custody.spec.registry.id).then_some(known.report)
}
