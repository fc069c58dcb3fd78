//! Makes the objects of a run, removes its Job when it has served, and calls the kubelet while its Secrets are awaited.

use dataembassy_crds::{CurrentDrill, RegistryDrill};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::apply::ApplyError;
use crate::drill::dereference::Found;
use crate::drill::{MANAGER, names};
use crate::job::{self, Desired};
use crate::pod;
use crate::run::{Context, ReconcileError};

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

/// Removes the Jobs of the run's former attempts, of which none should be there: each goes before the next attempt is in the status. But if the
/// lease is lost while that status is on its way, whoever leads then sees neither Job nor attempt, and makes the former one again.
pub async fn remove_former(drill: &RegistryDrill, context: &Context) -> Result<(), ReconcileError> {
    let Some(current) = drill.status.as_ref().and_then(|status| status.current.as_ref()) else {
        return Ok(());
    };
    let (namespace, owner) = (
        drill.namespace().unwrap_or_default(),
        drill.uid().unwrap_or_default(),
    );
    for attempt in 1..current.attempt {
        let former = names::job(&CurrentDrill {
            attempt,
            ..current.clone()
        });
        if let Some(job) = job::find(&context.client, (&namespace, &former), &owner, None).await? {
            let removed = job::remove(&context.client, &job, &context.metrics).await;
            removed.map_err(ReconcileError::NotApplied)?;
        }
    }
    Ok(())
}

/// A Secret that comes while the pod waits for it reaches it at once.
pub async fn call(found: &Found, context: &Context, now: Timestamp) -> Result<(), ApplyError> {
    let (Some(pod), Some(Ok(report))) = (&found.pod, &found.report) else {
        return Ok(());
    };
    pod::call_for_secrets(pod, &report.missing_secrets, context, MANAGER, now).await
}
