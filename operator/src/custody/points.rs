//! Recovery points: made, changed and removed from the custodian's report, and from nothing else.
//!
//! What somebody deletes or edits by hand is put back. While the ledger is not sound, no point goes because the ledger does not name its
//! copy any more: that is just what somebody has to see.

use std::sync::Arc;

use dataembassy_contract::custodian::{CopyReport, RegistryReport};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{Known, RecoveryPoint, RecoveryPointSpec, RecoveryPointStatus, RegistryCustody};
use dataembassy_ledger::Sequence;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::apply::{ApplyError, Owner, Writer, is_applied, with_digest};
use crate::condition::rfc3339;
use crate::custody::MANAGER;
use crate::custody::retreat::retreat;
use crate::heads::{is_digest, is_hex};
use crate::labels;
use crate::run::Context;
use crate::size::size;

/// The component of every recovery point.
const COMPONENT: &str = "recovery-point";
/// How many points one look makes or changes, and how many it removes: a registry's status does not wait for all of them, nor do other registries.
const AT_ONCE: usize = 5;
/// The most characters of a message.
const MAX_MESSAGE: usize = 1_024;

/// A point as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// What it is of; absent where only what is known of it changes.
    pub object: Option<Value>,
    /// What is known of it.
    pub status: RecoveryPointStatus,
}

/// What becomes of a registry's points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Points that should be there.
    pub points: Vec<Point>,
    /// Names of points that should not.
    pub surplus: Vec<String>,
}

/// The name of the point of a copy.
#[must_use]
pub fn name(registry: &str, sequence: i64) -> String {
    format!("{registry}-{sequence:012}")
}

/// What an event refers to the point of a copy by.
#[must_use]
pub fn reference(registry: &str, sequence: i64) -> ObjectReference {
    ObjectReference {
        api_version: Some(RecoveryPoint::api_version(&()).into_owned()),
        kind: Some(RecoveryPoint::kind(&()).into_owned()),
        name: Some(name(registry, sequence)),
        ..ObjectReference::default()
    }
}

/// Plans a registry's points; nothing is planned where the custodian says nothing, or has not looked at the ledger yet. Pure.
#[must_use]
pub fn plan(custody: &RegistryCustody, report: Option<&RegistryReport>, live: &[Arc<RecoveryPoint>]) -> Plan {
    let Some(report) = report.filter(|report| report.ledger.state != CheckState::Unknown) else {
        return Plan::default();
    };
    let known = custody.status.clone().unwrap_or_default();
    let is_sound = report.ledger.state == CheckState::True && retreat(&known, report).is_none();
    let mut plan = Plan::default();
    for copy in &report.copies {
        if let Some(point) = point(custody, copy) {
            plan.points.push(point);
        }
    }
    let oldest = report
        .copies
        .iter()
        .filter(|copy| !copy.pinned)
        .map(|copy| copy.sequence)
        .min();
    for point in live {
        let name = point.name_any();
        // A custodian that has just begun does not know yet of every copy that it will list.
        if report.reading || plan.points.iter().any(|planned| planned.name == name) {
            continue;
        }
        let sequence = u64::try_from(point.spec.sequence).unwrap_or_default();
        // Older copies leave the list as new ones come, whatever the ledger is.
        let aged_out = oldest.is_some_and(|oldest| sequence < oldest);
        if is_sound || aged_out {
            plan.surplus.push(name);
        } else {
            plan.points.push(doubtful(name, point));
        }
    }
    plan
}

/// The point of a copy that the ledger does not name, or whose entry cannot be read, any more.
fn doubtful(name: String, point: &RecoveryPoint) -> Point {
    let before = point.status.clone().unwrap_or_default();
    Point {
        name,
        object: None,
        status: RecoveryPointStatus {
            intact: Known::Unknown,
            message: Some(
                "the ledger is not sound and does not name this copy any more: see LedgerSound of its RegistryCustody"
                    .to_owned(),
            ),
            ..before
        },
    }
}

/// A report is a claim: what is not as the ledger has it gets no point.
fn point(custody: &RegistryCustody, copy: &CopyReport) -> Option<Point> {
    let sequence = Sequence::new(copy.sequence).ok()?;
    if !is_digest(&copy.digest) || copy.copy_id.len() != 32 || !is_hex(&copy.copy_id) {
        return None;
    }
    let spec = RecoveryPointSpec {
        registry: custody.spec.registry.id.clone(),
        sequence: i64::try_from(sequence.get()).ok()?,
        digest: copy.digest.clone(),
        copy_id: copy.copy_id.clone(),
        taken_at: rfc3339(copy.taken_at),
        arrived_at: rfc3339(copy.arrived_at),
        bytes: i64::try_from(copy.bytes).unwrap_or(i64::MAX),
        size: size(copy.bytes),
    };
    let name = name(&spec.registry, spec.sequence);
    Some(Point {
        object: Some(object(custody, &name, &spec)),
        name,
        status: RecoveryPointStatus {
            intact: known(copy.intact),
            verified_at: copy.verified_at.map(rfc3339),
            drilled: known(copy.drilled),
            locked_until: copy.locked_until.map(rfc3339),
            pinned: copy.pinned,
            message: (!copy.message.is_empty()).then(|| copy.message.chars().take(MAX_MESSAGE).collect()),
        },
    })
}

fn known(state: CheckState) -> Known {
    match state {
        CheckState::True => Known::True,
        CheckState::False => Known::False,
        CheckState::Unknown => Known::Unknown,
    }
}

fn object(custody: &RegistryCustody, name: &str, spec: &RecoveryPointSpec) -> Value {
    with_digest(json!({
        "apiVersion": RecoveryPoint::api_version(&()),
        "kind": RecoveryPoint::kind(&()),
        "metadata": {
            "name": name,
            "labels": labels::labels(COMPONENT, &custody.name_any()),
            "ownerReferences": [{
                "apiVersion": RegistryCustody::api_version(&()),
                "kind": RegistryCustody::kind(&()),
                "name": custody.name_any(),
                "uid": custody.uid().unwrap_or_default(),
                "controller": true,
            }],
        },
        "spec": spec,
    }))
}

/// Brings a registry's points towards what is planned, and writes only what differs. What is left comes with the next look, which the changes
/// themselves bring about.
pub async fn execute(
    plan: &Plan,
    live: &[Arc<RecoveryPoint>],
    custody: &RegistryCustody,
    context: &Context,
) -> Result<(), ApplyError> {
    let owner = custody.uid().unwrap_or_default();
    let writer = Writer::new(context.client.clone(), MANAGER, &context.metrics);
    let turn = usize::try_from(context.clock.now().as_second()).unwrap_or_default();
    for name in plan.surplus.iter().take(AT_ONCE) {
        remove(name, live, context).await?;
    }
    for (point, live) in due(plan, live, turn).into_iter().take(AT_ONCE) {
        if let Some(object) = &point.object {
            writer
                .apply_cluster(live, object, Owner::Resource(&owner))
                .await?;
        }
        if live.and_then(|live| live.status.as_ref()) != Some(&point.status) {
            write_status(point, context).await?;
        }
    }
    Ok(())
}

/// The points that are not as planned, as they are ordered, those that are missing first. Where many others differ, `turn` says with which to begin:
/// some may be put back each time by somebody else, and must not keep the rest from their turn.
fn due<'a>(
    plan: &'a Plan,
    live: &'a [Arc<RecoveryPoint>],
    turn: usize,
) -> Vec<(&'a Point, Option<&'a RecoveryPoint>)> {
    let (mut due, mut differing) = (Vec::new(), Vec::new());
    for point in &plan.points {
        match live.iter().find(|live| live.name_any() == point.name) {
            None => due.push((point, None)),
            Some(live) if differs(point, live) => differing.push((point, Some(live.as_ref()))),
            Some(_) => {}
        }
    }
    if differing.len() > AT_ONCE {
        let first = turn % differing.len();
        differing.rotate_left(first);
    }
    due.extend(differing);
    due
}

fn differs(point: &Point, live: &RecoveryPoint) -> bool {
    let is_as_desired =
        |desired: &Value| serde_json::to_value(live).is_ok_and(|live| is_applied(&live, desired));
    live.status.as_ref() != Some(&point.status) || !point.object.as_ref().is_none_or(is_as_desired)
}

async fn write_status(point: &Point, context: &Context) -> Result<(), ApplyError> {
    let api: Api<RecoveryPoint> = Api::all(context.client.clone());
    let patch = json!({
        "apiVersion": RecoveryPoint::api_version(&()),
        "kind": RecoveryPoint::kind(&()),
        "status": point.status,
    });
    let parameters = PatchParams::apply(MANAGER).force();
    match api
        .patch_status(&point.name, &parameters, &Patch::Apply(patch))
        .await
    {
        Ok(_) => {
            context.metrics.wrote("RecoveryPoint");
            Ok(())
        }
        // Deleted meanwhile: the watch tells, and it is made again.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(refused(&point.name, source)),
    }
}

async fn remove(name: &str, live: &[Arc<RecoveryPoint>], context: &Context) -> Result<(), ApplyError> {
    let api: Api<RecoveryPoint> = Api::all(context.client.clone());
    let uid = live
        .iter()
        .find(|live| live.name_any() == name)
        .and_then(|live| live.uid());
    // Only the one that was looked at, and not another that has its name by now.
    let parameters = DeleteParams::default().preconditions(kube::api::Preconditions {
        uid,
        resource_version: None,
    });
    match api.delete(name, &parameters).await {
        Ok(_) => {
            context.metrics.wrote("RecoveryPoint");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(refused(name, source)),
    }
}

fn refused(name: &str, source: kube::Error) -> ApplyError {
    ApplyError::Refused {
        kind: "RecoveryPoint".to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn planned(count: i64) -> Plan {
        let point = |sequence| Point {
            name: name("population", sequence),
            object: None,
            status: RecoveryPointStatus {
                intact: Known::True,
                ..RecoveryPointStatus::default()
            },
        };
        Plan {
            points: (1..=count).rev().map(point).collect(),
            surplus: Vec::new(),
        }
    }

    fn live(sequences: impl Iterator<Item = i64>) -> Vec<Arc<RecoveryPoint>> {
        let point = |sequence: i64| {
            Arc::new(
                serde_json::from_value(json!({
                    "apiVersion": "dataembassy.io/v1alpha1", "kind": "RecoveryPoint",
                    "metadata": {"name": name("population", sequence)},
                    "spec": {
                        "registry": "population", "sequence": sequence, "digest": "", "copyId": "", "takenAt": "", "arrivedAt": "",
                        "bytes": 1, "size": "1 B",
                    },
                }))
                .unwrap(),
            )
        };
        sequences.map(point).collect()
    }

    #[test]
    fn points_that_are_missing_come_before_those_that_differ() {
        let (plan, live) = (planned(4), live([4, 2].into_iter()));
        let due: Vec<_> = due(&plan, &live, 7)
            .into_iter()
            .map(|(point, live)| (point.name.clone(), live.is_some()))
            .collect();
        let expected = [(3, false), (1, false), (4, true), (2, true)];
        assert_eq!(
            due,
            expected.map(|(sequence, is_there)| (name("population", sequence), is_there))
        );
    }

    #[test]
    fn points_that_somebody_puts_back_each_time_keep_none_from_its_turn() {
        let (plan, live) = (planned(25), live(1..=25));
        let mut reached = BTreeSet::new();
        for turn in 0..25 {
            let due = due(&plan, &live, turn);
            reached.extend(due.iter().take(AT_ONCE).map(|(point, _)| point.name.clone()));
        }
        assert_eq!(reached.len(), 25);
    }
}
