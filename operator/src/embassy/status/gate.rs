//! `GateReady`: whether home can send copies; and what else the gates see.

use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::CheckState;
use dataembassy_crds::DataEmbassyStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use super::{View, custodian};
use crate::clock::has_passed;
use crate::condition::Finding;
use crate::pod::{self, Trouble, Words};
use crate::rollout::is_rolled_out;
use crate::suspicion;

const WORDS: Words = Words {
    process: "gate",
    settings: "spec.custodian.gate",
    memory: "64Mi",
};
/// How long a Deployment that was made just now may be without pods.
const STARTING: SignedDuration = SignedDuration::from_secs(30);
/// A certificate that ends within this time is an alarm.
const WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);

pub(super) fn ready(view: &View<'_>) -> Finding {
    let (pods, deployment) = (&view.found.gate_pods, view.found.gate.deployment.as_deref());
    let block = view.embassy.spec.custodian.as_ref();
    let wanted = block.map_or(pods.len(), |block| {
        usize::try_from(block.gate.replicas).unwrap_or_default()
    });
    let faults: Vec<Option<Finding>> = view
        .found
        .sight
        .gates
        .iter()
        .filter_map(|gate| {
            let report = gate.report.as_ref()?.as_deref().ok()?;
            Some(fault(view, report).or_else(|| relapse(&gate.pod, view.now)))
        })
        .collect();
    let good = faults.iter().filter(|fault| fault.is_none()).count();
    if good > 0 {
        let lets_in = format!("{good} of {wanted} gates let home in");
        let message = match hindered(view) {
            Some(trouble) => format!("{lets_in}; of another: {}", trouble.message),
            None => lets_in,
        };
        return Finding::yes(Reason::Reachable, message);
    }
    if let Some(fault) = faults.into_iter().flatten().next() {
        return fault;
    }
    if let Some(trouble) = pod::trouble(pods.first().map(Arc::as_ref), deployment, WORDS) {
        return Finding::no(trouble.reason, trouble.message);
    }
    let silent = view
        .found
        .sight
        .gates
        .iter()
        .find_map(|gate| gate.report.as_ref()?.as_ref().err());
    match silent {
        Some(error) => Finding::no(
            Reason::GateDown,
            format!(
                "no gate answers the operator ({error}), so home can hardly send copies: check the gates' pods, their log and network \
                 policies"
            ),
        ),
        None if pods.is_empty() && !is_new(deployment, view.now) => Finding::no(
            Reason::GateDown,
            "there is no gate, so home cannot send copies: look at the Deployment of the gate",
        ),
        None => Finding::no(Reason::Applying, "the gates' pods are starting"),
    }
}

/// A gate that has ended again and again lets home in now, and will not in a moment.
fn relapse(pod: &Pod, now: Timestamp) -> Option<Finding> {
    let trouble = pod::relapse(pod, WORDS, now)?;
    Some(Finding::no(trouble.reason, trouble.message))
}

/// What keeps one of the gates that are asked for from running, or a new one from the place of an old one: one that lets home in must not hide it.
pub(super) fn hindered(view: &View<'_>) -> Option<Trouble> {
    // What was evicted stays for as long as nobody deletes it, long after another has taken its place.
    let mut pods = view.found.gate_pods.iter().filter(|pod| !pod::has_ended(pod));
    let of_pods = pods.find_map(|pod| {
        pod::trouble(Some(&**pod), None, WORDS).or_else(|| pod::relapse(pod, WORDS, view.now))
    });
    let deployment = view.found.gate.deployment.as_deref();
    let is_short = deployment.is_some_and(|deployment| !is_rolled_out(deployment));
    of_pods.or_else(|| pod::trouble(None, deployment.filter(|_| is_short), WORDS))
}

/// Whether a Deployment was made just now, so that its pods are still to come.
fn is_new(deployment: Option<&Deployment>, now: Timestamp) -> bool {
    let created = deployment.and_then(|deployment| deployment.metadata.creation_timestamp.as_ref());
    deployment.is_none() || created.is_some_and(|created| !has_passed(created.0, STARTING, now))
}

/// Why a gate that answers lets nobody in.
fn fault(view: &View<'_>, report: &GateReport) -> Option<Finding> {
    let block = view.embassy.spec.custodian.as_ref();
    if let Some(finding) = custodian::missing(&report.missing_secrets, block) {
        return Some(finding);
    }
    if report.loaded.is_none() {
        return Some(match &report.refused {
            Some(fault) => Finding::no(fault.reason, fault.message.clone()),
            None => Finding::no(
                Reason::NotYetLoaded,
                "the gate has not loaded its configuration yet",
            ),
        });
    }
    if report.certificate_ends_at.is_some_and(|end| end <= view.now) {
        return Some(Finding::no(
            Reason::CertificateInvalid,
            "the gate's certificate has ended, so home cannot trust it: replace it in the Secret of spec.custodian.gate.tlsRef",
        ));
    }
    (report.store.state == CheckState::False).then(|| {
        let message = format!("the gate does not reach the store: {}", report.store.message);
        Finding::no(report.store.reason, message)
    })
}

/// `Suspicious`: requests that were refused and name no registry that the embassy has accepted.
pub(super) fn suspicious(view: &View<'_>) -> Option<Finding> {
    suspicion::judge(
        view.found.sight.unclaimed(),
        "claim no registry that was accepted",
        view.now,
    )
}

/// `CertificateExpiring`.
pub(super) fn certificate_expiring(view: &View<'_>, status: &DataEmbassyStatus) -> Option<Finding> {
    let end = status.certificate_ends_at.as_ref()?;
    let at: Timestamp = end.parse().ok()?;
    if at.duration_since(view.now) > WARNING {
        return None;
    }
    let message = format!(
        "the gate's certificate ends at {end}: replace it in the Secret of spec.custodian.gate.tlsRef; it is loaded without a restart"
    );
    Some(Finding::yes(Reason::CertificateExpiring, message))
}
