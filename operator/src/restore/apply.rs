//! Makes the objects of a restore, once, and calls the kubelet while its Secrets are awaited.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::apply::{ApplyError, Owner, Writer};
use crate::pod::{self, Call};
use crate::restore::build::Desired;
use crate::restore::dereference::Found;
use crate::restore::{MANAGER, Outcome};
use crate::run::Context;

/// Makes everything, the Job last. Where that was interrupted, doing it again is harmless.
pub async fn begin(desired: &Desired, context: &Context) -> Outcome {
    match make(desired, context).await {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::NotApplied(error),
    }
}

async fn make(desired: &Desired, context: &Context) -> Result<(), ApplyError> {
    let owner = Owner::Resource(&desired.owner);
    let writer = Writer::new(context.client.clone(), MANAGER, &context.metrics);
    writer
        .apply::<ServiceAccount>(None, &desired.service_account, owner)
        .await?;
    writer
        .apply::<ConfigMap>(None, &desired.config_map, owner)
        .await?;
    writer
        .apply::<NetworkPolicy>(None, &desired.network_policy, owner)
        .await?;
    writer.apply::<Job>(None, &desired.job, owner).await
}

/// A Secret that comes while the pod waits for it reaches it at once.
pub async fn call(found: &Found, context: &Context, now: Timestamp) -> Outcome {
    let (Some(pod), Some(Ok(report))) = (&found.pod, &found.report) else {
        return Outcome::Applied;
    };
    if report.missing_secrets.is_empty() {
        return Outcome::Applied;
    }
    let call = Call {
        config_digest: None,
        awaits_secret: true,
    };
    match pod::call(pod, call, &context.client, MANAGER, &context.metrics, now).await {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::NotApplied(error),
    }
}
