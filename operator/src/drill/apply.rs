//! Makes the objects of a run, removes its Job when it has served, and calls the kubelet while its Secrets are awaited.

use jiff::Timestamp;

use crate::apply::ApplyError;
use crate::drill::MANAGER;
use crate::drill::dereference::Found;
use crate::job::{self, Desired};
use crate::pod;
use crate::run::Context;

/// Makes everything, the Job last. Where that was interrupted, doing it again is harmless.
pub async fn start(desired: &Desired, context: &Context) -> Result<(), ApplyError> {
    job::make(desired, MANAGER, context).await
}

/// Removes the Job, and with it the pod, the throw-away database and the identity that was mounted.
pub async fn remove(found: &Found, context: &Context) -> Result<(), ApplyError> {
    match &found.job {
        Some(job) if job.metadata.deletion_timestamp.is_none() => {
            job::remove(&context.client, job, &context.metrics).await
        }
        Some(_) | None => Ok(()),
    }
}

/// A Secret that comes while the pod waits for it reaches it at once.
pub async fn call(found: &Found, context: &Context, now: Timestamp) -> Result<(), ApplyError> {
    let (Some(pod), Some(Ok(report))) = (&found.pod, &found.report) else {
        return Ok(());
    };
    pod::call_for_secrets(pod, &report.missing_secrets, context, MANAGER, now).await
}
