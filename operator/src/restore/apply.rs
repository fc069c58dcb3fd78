//! Makes the objects of a restore, once, and calls the kubelet while its Secrets are awaited.

use jiff::Timestamp;

use crate::job::{self, Desired};
use crate::pod;
use crate::restore::dereference::Found;
use crate::restore::{MANAGER, Outcome};
use crate::run::Context;

/// Makes everything, the Job last. Where that was interrupted, doing it again is harmless.
pub async fn begin(desired: &Desired, context: &Context) -> Outcome {
    job::make(desired, MANAGER, context).await.into()
}

/// A Secret that comes while the pod waits for it reaches it at once.
pub async fn call(found: &Found, context: &Context, now: Timestamp) -> Outcome {
    let (Some(pod), Some(Ok(report))) = (&found.pod, &found.report) else {
        return Outcome::Applied;
    };
    pod::call_for_secrets(pod, &report.missing_secrets, context, MANAGER, now)
        .await
        .into()
}
