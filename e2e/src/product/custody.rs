//! Registries in the embassy's custody, as their resources show them.

use std::time::Duration;

use anyhow::{Context, Result};
use dataembassy_crds::{ConditionStatus, Known, RecoveryPoint, RegistryCustody};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

use super::{EMBASSY, Product, RELEASE_NAMESPACE, conditions};
use crate::command::wait_for;

/// The sidecar, as a person at the embassy runs it in the custodian's pod.
const SIDECAR: &str = "/usr/bin/dataembassy-sidecar";
/// A sheet is printed once the custodian's folder has the heads that its operator remembers; a kubelet takes its time with it.
const PRINTED: Duration = Duration::from_mins(4);

/// A trust sheet of some registries, printed in the custodian's pod.
pub async fn trust_sheet(product: &Product, registries: &[&str]) -> Result<String> {
    let flags: Vec<String> = registries.iter().map(|id| format!("--registry={id}")).collect();
    let mut program = vec![SIDECAR, "store", "trust-sheet", "--config-dir=/etc/dataembassy"];
    program.extend(flags.iter().map(String::as_str));
    let what = format!("a trust sheet of {}", registries.join(", "));
    wait_for(&what, PRINTED, || async {
        in_custodian(product, &program).await.map(Some)
    })
    .await
}

/// The resources that an empty embassy starts from, as `store trust-sheet` makes them of a sheet.
pub async fn resources_of(product: &Product, sheet: &str) -> Result<String> {
    let script = format!(
        "printf %s \"$1\" | {SIDECAR} store trust-sheet --verify=/dev/stdin --custodies --custodian-key=\"$2\""
    );
    let key = &product.keys.custodian_public;
    in_custodian(product, &["sh", "-c", &script, "sh", sheet, key]).await
}

async fn in_custodian(product: &Product, program: &[&str]) -> Result<String> {
    let pod = format!("deployment/{EMBASSY}-custodian");
    product.bed.embassy().exec(RELEASE_NAMESPACE, &pod, program).await
}

/// Lets home read a registry's copies back through the gate, or does so no more.
pub async fn may_retrieve(product: &Product, registry: &str, may: bool) -> Result<()> {
    allow(product, registry, &json!({"homeMayRetrieve": may})).await
}

/// Changes what the embassy lets a registry do: fields of its custody's spec.
pub async fn allow(product: &Product, registry: &str, spec: &Value) -> Result<()> {
    let patch = json!({"spec": spec});
    let arguments = [
        "patch",
        "registrycustody",
        registry,
        "--type=merge",
        &format!("--patch={patch}"),
    ];
    product.bed.embassy().kubectl(arguments).await.map(drop)
}

/// One registry in custody.
#[derive(Clone)]
pub struct Custody {
    api: Api<RegistryCustody>,
    points: Api<RecoveryPoint>,
    name: String,
}

/// A recovery point, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The number of its entry.
    pub sequence: i64,
    /// Its copy.
    pub copy_id: String,
    /// Whether every byte was read back and equal.
    pub intact: bool,
}

impl Custody {
    /// A handle on a registry's custody, whether it is there yet or not.
    #[must_use]
    pub fn of(product: &Product, registry: &str) -> Self {
        let client = product.bed.embassy().client();
        Self {
            api: Api::all(client.clone()),
            points: Api::all(client.clone()),
            name: registry.to_owned(),
        }
    }

    /// The registry's id, and the resource's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<RegistryCustody> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Waits until a condition has a status (and a reason, if one is given); returns its message.
    pub async fn condition(
        &self,
        kind: &str,
        status: ConditionStatus,
        reason: Option<&str>,
        deadline: Duration,
    ) -> Result<String> {
        conditions::wait(&self.api, &self.name, kind, status, reason, deadline).await
    }

    /// The reason that a condition gives now; nothing while it is not there.
    pub async fn reason(&self, kind: &str) -> Result<String> {
        let status = self.get().await?.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        let found = conditions.find(|condition| condition.type_ == kind);
        Ok(found.map(|condition| condition.reason).unwrap_or_default())
    }

    /// Waits until an event about the registry gives this reason and says all of these words; returns what it says.
    pub async fn event(
        &self,
        product: &Product,
        reason: &str,
        words: &[String],
        deadline: Duration,
    ) -> Result<String> {
        let events: Api<Event> = Api::all(product.bed.embassy().client().clone());
        let what = format!("an event {reason} of {} that says {words:?}", self.name);
        wait_for(&what, deadline, || async {
            let listed = events.list(&ListParams::default()).await?;
            let mut notes = listed.into_iter().filter_map(|event| {
                let name = event.regarding.and_then(|regarding| regarding.name);
                let is_ours = event.reason.as_deref() == Some(reason) && name.as_ref() == Some(&self.name);
                event.note.filter(|_| is_ours)
            });
            Ok(notes.find(|note| words.iter().all(|word| note.contains(word))))
        })
        .await
    }

    /// Waits until the custodian's metrics count a fault of the registry; returns the line that does.
    pub async fn counted(&self, product: &Product, reason: &str, deadline: Duration) -> Result<String> {
        let labels = [
            format!("registry=\"{}\"", self.name),
            format!("reason=\"{reason}\""),
        ];
        wait_for(&format!("a metric of {reason}"), deadline, || async {
            let metrics = super::embassy::custodian_metrics(product).await?;
            let mut lines = metrics.lines();
            let found = lines.find(|line| {
                line.starts_with("dataembassy_custodian_alarms{")
                    && labels.iter().all(|label| line.contains(label))
                    && !line.ends_with(" 0")
            });
            Ok(found.map(str::to_owned))
        })
        .await
    }

    /// Waits until the operator has seen the newest change of its spec.
    pub async fn observed(&self, deadline: Duration) -> Result<()> {
        let what = format!("the change of custody {} to be seen", self.name);
        wait_for(&what, deadline, || async {
            let custody = self.get().await?;
            let seen = custody.status.and_then(|status| status.observed_generation);
            Ok((seen.is_some() && seen == custody.metadata.generation).then_some(()))
        })
        .await
    }

    /// Its recovery points, newest first.
    pub async fn points(&self) -> Result<Vec<Point>> {
        let mut points: Vec<_> = self
            .points
            .list(&ListParams::default())
            .await?
            .into_iter()
            .filter(|point| point.spec.registry == self.name)
            .map(|point| Point {
                sequence: point.spec.sequence,
                copy_id: point.spec.copy_id.clone(),
                intact: point.status.is_some_and(|status| status.intact == Known::True),
            })
            .collect();
        points.sort_by_key(|point| -point.sequence);
        Ok(points)
    }

    /// The newest recovery point.
    pub async fn newest(&self) -> Result<Point> {
        let points = self.points().await?;
        points
            .into_iter()
            .next()
            .with_context(|| format!("{} has no recovery point", self.name))
    }

    /// Waits until there are recovery points and each is intact; returns them.
    pub async fn proven(&self, deadline: Duration) -> Result<Vec<Point>> {
        let what = format!("every recovery point of {} to be intact", self.name);
        wait_for(&what, deadline, || async {
            let points = self.points().await?;
            Ok((!points.is_empty() && points.iter().all(|point| point.intact)).then_some(points))
        })
        .await
    }

    /// Deletes the resource, and waits until nothing in the cluster knows the registry any more: neither a recovery point, nor the custodian.
    pub async fn forget(&self, product: &Product, deadline: Duration) -> Result<()> {
        self.api
            .delete(&self.name, &kube::api::DeleteParams::default())
            .await?;
        let label = format!("registry=\"{}\"", self.name);
        wait_for(
            &format!("the end of the custody of {}", self.name),
            deadline,
            || async {
                let is_gone =
                    self.api.get_opt(&self.name).await?.is_none() && self.points().await?.is_empty();
                let known = super::embassy::custodian_metrics(product).await?.contains(&label);
                Ok((is_gone && !known).then_some(()))
            },
        )
        .await
    }

    /// Deletes a recovery point, as somebody might by hand.
    pub async fn delete_point(&self, sequence: i64) -> Result<()> {
        let points = self.points.list(&ListParams::default()).await?;
        let point = points
            .iter()
            .find(|point| point.spec.registry == self.name && point.spec.sequence == sequence)
            .with_context(|| format!("{} has no recovery point {sequence}", self.name))?;
        self.points
            .delete(&point.name_any(), &kube::api::DeleteParams::default())
            .await?;
        Ok(())
    }
}
