//! Writes what differs, and only that.

use dataembassy_crds::RegistryMirror;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::apply::{ApplyError, Owner, Writer, is_owned};
use crate::mirror::build::Desired;
use crate::mirror::dereference::Found;
use crate::mirror::rollout::{Wait, is_running};
use crate::mirror::validate::{self, Checked};
use crate::mirror::{MANAGER, key, signing_key};
use crate::pod::{self, Call};
use crate::rollout;
use crate::run::Context;

/// What was written, as far as the status tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Why the Deployment is not yet as it should be.
    pub waits: Option<Wait>,
    /// Whether another pod takes the place of the one that was found.
    pub replaces: bool,
    /// The Secret that holds the signing key, where the operator made it.
    pub signing_key_secret: Option<String>,
    /// Whether there should be a pod.
    pub runs: bool,
}

/// Brings the objects of a mirror to what is desired.
pub async fn apply(
    mirror: &RegistryMirror,
    checked: &Checked,
    found: &Found,
    desired: &Desired,
    context: &Context,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    let signing_key_secret = ensure_signing_key(mirror, checked, context).await?;
    let owner = Owner::Resource(&checked.config.mirror.uid);
    let writer = Writer::new(context.client.clone(), MANAGER, &context.metrics);
    writer
        .apply(found.service_account.as_deref(), &desired.service_account, owner)
        .await?;
    writer
        .apply(found.config_map.as_deref(), &desired.config_map, owner)
        .await?;
    writer
        .apply(found.network_policy.as_deref(), &desired.network_policy, owner)
        .await?;
    let replaces = rollout::replaces_pod(found.deployment.as_deref(), &desired.deployment);
    let waits = if replaces {
        wait(mirror, checked, found, context, now)
    } else {
        None
    };
    if waits.is_none() {
        writer
            .apply(found.deployment.as_deref(), &desired.deployment, owner)
            .await?;
    }
    if let Some(pod) = &found.pod {
        // A report of the old pod does not mean that the new one is there.
        let rolled = !replaces && found.deployment.as_deref().is_some_and(rollout::is_rolled_out);
        if rolled && matches!(found.report, Some(Ok(_))) {
            context.rollouts.end(&key(mirror));
        }
        let call = Call {
            config_digest: Some(&desired.config_digest),
            awaits_secret: matches!(&found.report, Some(Ok(report)) if !report.missing_secrets.is_empty()),
        };
        pod::call(pod, call, &context.client, MANAGER, &context.metrics, now).await?;
    }
    Ok(Applied {
        replaces: replaces && waits.is_none(),
        waits,
        signing_key_secret,
        runs: checked.runs,
    })
}

/// Makes the signing key if that was not done before; the status remembers, because a Secret cannot be looked at.
async fn ensure_signing_key(
    mirror: &RegistryMirror,
    checked: &Checked,
    context: &Context,
) -> Result<Option<String>, ApplyError> {
    if !checked.makes_signing_key {
        return Ok(None);
    }
    let name = &checked.secrets.signing;
    let made = mirror
        .status
        .as_ref()
        .and_then(|status| status.signing_key_secret.as_ref());
    if made != Some(name) {
        let identity = &checked.config.mirror;
        signing_key::make(context.client.clone(), &identity.namespace, &identity.name, name).await?;
        context.metrics.wrote("Secret");
    }
    Ok(Some(name.clone()))
}

fn wait(
    mirror: &RegistryMirror,
    checked: &Checked,
    found: &Found,
    context: &Context,
    now: Timestamp,
) -> Option<Wait> {
    if is_running(mirror, checked, found, now) {
        Some(Wait::RunInProgress)
    } else if context.rollouts.begin(&key(mirror)) {
        None
    } else {
        Some(Wait::OthersFirst)
    }
}

/// A mirror whose resource is not valid goes on as it is, save that it can still be told to stop.
pub async fn suspend_if_told(
    mirror: &RegistryMirror,
    found: &Found,
    context: &Context,
) -> Result<(), ApplyError> {
    let Some(deployment) = &found.deployment else {
        return Ok(());
    };
    let stopped = deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(0);
    let ours = mirror.uid().is_some_and(|uid| is_owned(&**deployment, &uid));
    if stopped || !ours || validate::runs(mirror, mirror.spec.trigger.as_ref()) {
        return Ok(());
    }
    let name = deployment.name_any();
    let api: Api<Deployment> =
        Api::namespaced(context.client.clone(), &mirror.namespace().unwrap_or_default());
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(
        &name,
        &parameters,
        &Patch::Merge(json!({"spec": {"replicas": 0}})),
    )
    .await
    .map_err(|source| ApplyError::Refused {
        kind: "Deployment".to_owned(),
        name,
        source: Box::new(source),
    })?;
    context.metrics.wrote("Deployment");
    Ok(())
}
