//! `RegistryRestore`: one copy brought into one database, once.
//!
//! Each reconcile is `dereference → validate → build → apply → status`. There is one Job for a restore, ever: once it was made, nothing is
//! built again, and once it has ended, nothing happens any more.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod names;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_crds::{RegistryRestore, RestorePhase};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::apply::ApplyError;
use crate::backoff::jittered;
use crate::embassy::validate::Refusal;
use crate::run::{Context, Reconcile, ReconcileError, try_again as retry};
use crate::status::{Observed as _, write};

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/restore";
/// How often a restore that is at work is asked how far it is: somebody is watching.
const POLL: Duration = Duration::from_secs(3);
/// How often one that waits for something else is looked at.
const LOOK: Duration = Duration::from_secs(15);

/// What a reconcile came to, before it is put into words.
#[derive(Debug)]
pub enum Outcome {
    /// The resource cannot be followed yet.
    Refused(Refusal),
    /// Its Job is there, or was.
    Applied,
    /// The API server did not take an object.
    NotApplied(ApplyError),
    /// It was not begun within its deadline: what it was asked for may be something else by now.
    Late,
}

impl From<Result<(), ApplyError>> for Outcome {
    fn from(applied: Result<(), ApplyError>) -> Self {
        match applied {
            Ok(()) => Self::Applied,
            Err(error) => Self::NotApplied(error),
        }
    }
}

/// Brings one restore a step on.
pub fn reconcile(restore: Arc<RegistryRestore>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(restore, context))
}

async fn bring_on(restore: Arc<RegistryRestore>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if has_ended(&restore) {
        // Nothing is written any more; the identity may lie there all the same.
        let since = restore.status.as_ref().and_then(RegistryRestore::identity_since);
        context.metrics.keeps_identity(
            "RegistryRestore",
            &restore.namespace().unwrap_or_default(),
            &restore.name_any(),
            since.and_then(|since| since.parse().ok()),
        );
    }
    if restore.metadata.deletion_timestamp.is_some() || has_ended(&restore) {
        // What we made goes with the restore, by owner references.
        return Ok(Action::await_change());
    }
    let api: Api<RegistryRestore> =
        Api::namespaced(context.client.clone(), &restore.namespace().unwrap_or_default());
    let now = context.clock.now();
    let found = dereference::dereference(&restore, &context).await?;
    let outcome = if found.job.is_some() || has_begun(&restore) {
        apply::call(&found, &context, now).await
    } else {
        match validate::validate(&restore, &found) {
            Ok(_) if status::is_late(&restore, now) => Outcome::Late,
            Ok(_) if !is_still_due(&api, &restore).await? => return Ok(Action::requeue(POLL)),
            Ok(checked) => apply::begin(&build::build(&checked, &context.settings), &context).await,
            Err(refusal) => {
                context.metrics.refused(refusal.reason);
                Outcome::Refused(refusal)
            }
        }
    };
    let observed = status::observe(&restore, &found, &outcome, now);
    let ended = is_terminal(observed.phase);
    write(&api, &*restore, &observed, MANAGER, &context).await?;
    match outcome {
        Outcome::NotApplied(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        outcome => {
            context.failures.succeeded(&key(&restore));
            let refused = matches!(outcome, Outcome::Refused(_));
            context
                .metrics
                .reconciled("RegistryRestore", if refused { "refused" } else { "ok" });
            Ok(match outcome {
                _ if ended => Action::await_change(),
                Outcome::Applied => Action::requeue(jittered(POLL, context.chance.draw())),
                Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Late => {
                    Action::requeue(jittered(LOOK, context.chance.draw()))
                }
            })
        }
    }
}

const fn is_terminal(phase: RestorePhase) -> bool {
    matches!(phase, RestorePhase::Restored | RestorePhase::Failed)
}

/// Whether the resource is, in the API server's own words, still the one that has no Job: what the watch shows may be old, and a Job is made
/// once.
async fn is_still_due(api: &Api<RegistryRestore>, restore: &RegistryRestore) -> Result<bool, ReconcileError> {
    let live = api
        .get_opt(&restore.name_any())
        .await
        .map_err(|source| ReconcileError::NotRead {
            source: Box::new(source),
        })?;
    Ok(live.is_some_and(|live| {
        live.uid() == restore.uid()
            && live.metadata.deletion_timestamp.is_none()
            && !has_begun(&live)
            && !has_ended(&live)
    }))
}

/// Terminal is terminal.
fn has_ended(restore: &RegistryRestore) -> bool {
    restore
        .status
        .as_ref()
        .is_some_and(|status| is_terminal(status.phase))
}

/// Whether its Job was made; it may be gone by now.
fn has_begun(restore: &RegistryRestore) -> bool {
    restore
        .status
        .as_ref()
        .is_some_and(|status| status.job_uid.is_some())
}

/// What failures of this restore are counted under.
#[must_use]
pub fn key(restore: &RegistryRestore) -> String {
    format!(
        "RegistryRestore/{}/{}",
        restore.namespace().unwrap_or_default(),
        restore.name_any()
    )
}

/// What a reconcile that failed is followed by.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn try_again(restore: Arc<RegistryRestore>, error: &ReconcileError, context: Arc<Context>) -> Action {
    retry("RegistryRestore", &key(&restore), error, &context)
}
