//! Makes the objects of a restore, once, and calls the kubelet while its Secrets are awaited.

use jiff::Timestamp;

use crate::job::{self, Desired};
use crate::pod::{self, Call};
use crate::restore::dereference::Found;
use crate::restore::{MANAGER, Outcome};
use crate::run::Context;

/// Makes everything, the Job last. Where that was interrupted, doing it again is harmless.
pub async fn begin(desired: &Desired, context: &Context) -> Outcome {
    match job::make(desired, MANAGER, context).await {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::NotApplied(error),
    }
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
