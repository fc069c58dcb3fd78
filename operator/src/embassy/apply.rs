//! Writes what differs, and only that.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{Fault, MissingSecret};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use crate::apply::{ApplyError, Owner, Writer};
use crate::embassy::MANAGER;
use crate::embassy::build::{Desired, Objects};
use crate::embassy::dereference::{Found, Made};
use crate::embassy::names::Part;
use crate::pod::{self, Call};
use crate::rollout;
use crate::run::Context;

/// Why new pods have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Others are being replaced.
    OthersFirst,
    /// The custodian is not settled: what it does not run with must not come to the door of the store.
    CustodianFirst,
}

/// What becomes of the pods of one of the two processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Why its Deployment is not yet as it should be.
    pub waits: Option<Wait>,
    /// Whether other pods take the place of those that were found.
    pub replaces: bool,
}

/// What was written, as far as the status tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The custodian.
    pub custodian: Rolled,
    /// The gate.
    pub gate: Rolled,
}

/// Brings the objects of the embassy called `embassy` to what is desired. Configurations and policies come before the processes that they
/// are for, and the custodian before the gate: an image or a setting that does not work stops at the process that home can do without.
pub async fn apply(
    embassy: &str,
    found: &Found,
    desired: &Desired,
    context: &Context,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    let writer = Writer::new(context.client.clone(), MANAGER, &context.metrics);
    for (part, made, objects) in [
        (Part::Custodian, &found.custodian, &desired.custodian),
        (Part::Gate, &found.gate, &desired.gate),
    ] {
        prepare(&writer, &part.labels(embassy), made, objects).await?;
    }
    let gate_labels = Part::Gate.labels(embassy);
    writer
        .apply(
            found.service.as_deref(),
            &desired.service,
            Owner::Labels(&gate_labels),
        )
        .await?;

    let custodian_answers = matches!(found.report, Some(Ok(_)));
    let custodian = Roll {
        part: Part::Custodian,
        embassy,
        live: found.custodian.deployment.as_deref(),
        desired: &desired.custodian.deployment,
        must_wait: None,
        answers: custodian_answers,
    };
    let is_current = custodian.live.is_some_and(rollout::is_rolled_out);
    let custodian = custodian.apply(&writer, context).await?;
    let settled = custodian == Rolled::default() && custodian_answers && is_current;
    let gate = Roll {
        part: Part::Gate,
        embassy,
        live: found.gate.deployment.as_deref(),
        desired: &desired.gate.deployment,
        must_wait: (!settled).then_some(Wait::CustodianFirst),
        answers: found
            .gate_pods
            .iter()
            .all(|pod| found.sight.report_of(pod).is_some()),
    };
    let gate = gate.apply(&writer, context).await?;
    call_kubelets(found, desired, context, now).await?;
    Ok(Applied { custodian, gate })
}

async fn prepare(
    writer: &Writer<'_>,
    labels: &Value,
    made: &Made,
    objects: &Objects,
) -> Result<(), ApplyError> {
    let owner = Owner::Labels(labels);
    writer
        .apply(made.service_account.as_deref(), &objects.service_account, owner)
        .await?;
    writer
        .apply(made.config_map.as_deref(), &objects.config_map, owner)
        .await?;
    writer
        .apply(made.network_policy.as_deref(), &objects.network_policy, owner)
        .await
}

/// A Deployment that is to become what is desired.
struct Roll<'a> {
    part: Part,
    embassy: &'a str,
    live: Option<&'a Deployment>,
    desired: &'a Value,
    /// Why pods must not be replaced now.
    must_wait: Option<Wait>,
    /// Whether every pod that there is answers.
    answers: bool,
}

impl Roll<'_> {
    /// Writes it, unless that would replace pods and they have to wait.
    async fn apply(&self, writer: &Writer<'_>, context: &Context) -> Result<Rolled, ApplyError> {
        let key = format!("DataEmbassy/{}/{}", self.embassy, self.part.component());
        let replaces = rollout::replaces_pod(self.live, self.desired);
        if replaces {
            let waits = self
                .must_wait
                .or_else(|| (!context.rollouts.begin(&key)).then_some(Wait::OthersFirst));
            if waits.is_some() {
                return Ok(Rolled {
                    waits,
                    replaces: false,
                });
            }
        }
        let labels = self.part.labels(self.embassy);
        writer
            .apply(self.live, self.desired, Owner::Labels(&labels))
            .await?;
        // A report of an old pod does not mean that the new one is there.
        if !replaces && self.answers && self.live.is_some_and(rollout::is_rolled_out) {
            context.rollouts.end(&key);
        }
        Ok(Rolled {
            waits: None,
            replaces,
        })
    }
}

async fn call_kubelets(
    found: &Found,
    desired: &Desired,
    context: &Context,
    now: Timestamp,
) -> Result<(), ApplyError> {
    if let Some(pod) = &found.custodian_pod {
        let report = found.report.as_ref().and_then(|report| report.as_deref().ok());
        let call = Call {
            config_digest: Some(&desired.custodian.config_digest),
            awaits_secret: report
                .is_some_and(|report| awaits(&report.missing_secrets, report.refused.as_ref())),
        };
        pod::call(pod, call, &context.client, MANAGER, &context.metrics, now).await?;
    }
    for pod in &found.gate_pods {
        let report = found.sight.report_of(pod);
        let call = Call {
            config_digest: Some(&desired.gate.config_digest),
            awaits_secret: report
                .is_some_and(|report| awaits(&report.missing_secrets, report.refused.as_ref())),
        };
        pod::call(pod, call, &context.client, MANAGER, &context.metrics, now).await?;
    }
    Ok(())
}

/// Whether a Secret may come, or be mended, any time.
fn awaits(missing: &[MissingSecret], refused: Option<&Fault>) -> bool {
    !missing.is_empty()
        || refused
            .is_some_and(|fault| matches!(fault.reason, Reason::SecretInvalid | Reason::CertificateInvalid))
}
