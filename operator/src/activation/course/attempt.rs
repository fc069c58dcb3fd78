//! The restores of a registry: one `RegistryRestore` for each attempt. One that fails for a passing reason is followed by another; one that
//! fails for the copy's, the target's or the questions' fault is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_crds::{
    ActivationRestore, CopyChoice, EmbassyRef, IfNotEmpty, RegistryPhase, RegistryRestore,
    RegistryRestoreSpec, Rehearsal, RestorePhase, RestoredRegistry, Target,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::{Act, Walk};
use crate::activation::{clean_up, names, restores, steps};
use crate::backoff::after_failure;
use crate::clock::has_passed;
use crate::condition::find;
use crate::identity;

/// How often a registry is restored under one order.
const MOST: i32 = 5;
/// The most attempts that have a name.
const LAST: i64 = 99;

impl Walk<'_> {
    /// Brings the restore a step on.
    pub(super) fn restore(&mut self) -> Option<Act> {
        let now = self.scene.now;
        steps::begin(&mut self.state, steps::RESTORE, now);
        self.remember_what_was_written();
        let Some(current) = self.state.restore.clone() else {
            return self.attempt(1);
        };
        let Some(restore) = self.find(&current).cloned() else {
            if current.uid.is_some() {
                return self.again(
                    &current,
                    Timestamp::UNIX_EPOCH,
                    "somebody has deleted its RegistryRestore",
                );
            }
            return self.make();
        };
        if current.uid.is_none() {
            self.state.restore = Some(ActivationRestore {
                uid: restore.uid(),
                ..current.clone()
            });
        }
        let status = restore.status.clone().unwrap_or_default();
        self.state.identity = identity::together(self.state.identity.as_ref(), status.identity.as_ref());
        let ready = find(&status.conditions, "Ready");
        let (reason, message) = ready.map_or((Reason::Applying, "its restore is beginning"), |ready| {
            (
                ready.reason.parse().unwrap_or(Reason::Other),
                ready.message.as_str(),
            )
        });
        match status.phase {
            RestorePhase::Restored => {
                steps::end(&mut self.state, steps::RESTORE, now);
                Some(self.serve())
            }
            RestorePhase::Failed => {
                if !is_passing(reason) {
                    return self.fail(reason, &format!("the restore {} failed: {message}", current.name));
                }
                let ended = status.ended_at.as_ref().and_then(|time| time.parse().ok());
                self.again(&current, ended.unwrap_or(now), message)
            }
            RestorePhase::Pending | RestorePhase::Running => {
                let words = status.progress.as_ref().map(|progress| progress.words.as_str());
                let message = match (reason, words) {
                    (Reason::Restoring, Some(words)) => format!("attempt {}: {words}", current.attempt),
                    _ => format!("attempt {}: {message}", current.attempt),
                };
                self.say(RegistryPhase::Restoring, reason, &message);
                None
            }
        }
    }

    /// The restore that the status names, if it is there: the watch shows only this activation's own.
    fn find(&self, current: &ActivationRestore) -> Option<&RegistryRestore> {
        let restores = self.scene.found.restores.iter().map(Arc::as_ref);
        let mut named = restores
            .filter(|restore| restore.name_any() == current.name && restore.spec.registry.id == self.spec.id);
        named.find(|restore| current.uid.is_none() || restore.uid() == current.uid)
    }

    /// Whatever this activation has written into the database that the registry is restored into may be replaced, also under a later order.
    fn remember_what_was_written(&mut self) {
        let Some((target, ..)) = self.target() else { return };
        let here = restores::place(&target);
        let mut ours = self.scene.found.restores.iter().filter(|restore| {
            let spec = &restore.spec;
            spec.registry.id == self.spec.id
                && restores::place(&spec.target) == here
                && !clean_up::empties(restore)
        });
        if ours.any(|restore| restore.status.as_ref().is_some_and(|status| status.has_written)) {
            self.state.written_into = Some(here);
        }
    }

    /// An attempt stands in the status, and so does the copy, before it is made.
    fn attempt(&mut self, attempt: i32) -> Option<Act> {
        let name = self.scene.activation.name_any();
        self.state.attempts = (self.state.attempts + 1).min(LAST);
        self.state.restore = Some(ActivationRestore {
            name: names::restore(&name, &self.spec.id, self.state.attempts),
            uid: None,
            attempt,
        });
        self.note_rehearsal();
        let message = format!("attempt {attempt} begins");
        self.say(RegistryPhase::Restoring, Reason::Restoring, &message);
        None
    }

    /// Another attempt, when a while has passed since the last one ended.
    fn again(&mut self, last: &ActivationRestore, ended: Timestamp, why: &str) -> Option<Act> {
        if last.attempt >= MOST || self.state.attempts >= LAST {
            let message = format!(
                "it was restored {} times, and failed each time; at last: {why}",
                last.attempt
            );
            return self.fail(Reason::RestoreFailed, &message);
        }
        let wait = after_failure(last.attempt.unsigned_abs() + 2, chance(&last.name));
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        if !has_passed(ended, wait, self.scene.now) {
            let message = format!("attempt {} failed, and another one follows: {why}", last.attempt);
            self.say(RegistryPhase::Restoring, Reason::Restoring, &message);
            return None;
        }
        self.attempt(last.attempt + 1)
    }

    fn make(&mut self) -> Option<Act> {
        let current = self.state.restore.as_ref()?;
        // What is being restored under an earlier order would write into the same database.
        if self.is_another_at_work(&current.name) {
            self.say(
                RegistryPhase::Restoring,
                Reason::Restoring,
                "a restore of an earlier order is being ended first",
            );
            return None;
        }
        let restore = self.build(&current.name)?;
        Some(Act::Restore {
            registry: self.spec.id.clone(),
            restore: Box::new(restore),
        })
    }

    fn is_another_at_work(&self, name: &str) -> bool {
        self.scene.found.restores.iter().any(|restore| {
            restore.spec.registry.id == self.spec.id && restore.name_any() != name && is_at_work(restore)
        })
    }

    fn serve(&mut self) -> Act {
        if !self.rehearses() {
            steps::begin(&mut self.state, steps::SERVE, self.scene.now);
        }
        self.say(
            RegistryPhase::Restoring,
            Reason::Restored,
            "its copy is restored, and every question answered",
        );
        Act::Serve {
            registry: self.spec.id.clone(),
        }
    }

    fn build(&self, name: &str) -> Option<RegistryRestore> {
        let (activation, registry) = (self.scene.activation, self.spec);
        let copy = self.state.copy.as_ref()?;
        let (target, accept_different_collation, further) = self.target()?;
        // What nobody saw written is known by its mark alone: a database that may be somebody else's is never emptied. What a rehearsal wrote has
        // its mark until it is dropped, and may be anybody's afterwards.
        let is_ours = self.state.written_into == Some(restores::place(&target))
            && !clean_up::marks(activation, registry);
        let if_not_empty = if is_ours {
            IfNotEmpty::Replace
        } else {
            IfNotEmpty::ReplaceUnfinished
        };
        Some(RegistryRestore {
            metadata: restores::metadata(activation, name.to_owned(), further)?,
            spec: RegistryRestoreSpec {
                embassy_ref: EmbassyRef {
                    name: activation.spec.embassy_ref.name.clone(),
                },
                registry: RestoredRegistry {
                    id: registry.id.clone(),
                },
                copy: CopyChoice {
                    sequence: Some(copy.sequence),
                    ..CopyChoice::default()
                },
                retrieval_credentials_ref: registry.retrieval_credentials_ref.clone(),
                identity_ref: registry.identity_ref.clone(),
                target,
                if_not_empty,
                trust_source: registry.trust_source,
                allowed_extensions: registry.allowed_extensions.clone(),
                accept_different_collation,
                jobs: registry.jobs,
                assertions: registry.assertions.clone(),
                rehearsal: clean_up::marks(activation, registry).then(|| Rehearsal {
                    uid: activation.uid().unwrap_or_default(),
                    empties: false,
                }),
                deadline: activation.spec.deadlines.restore.clone(),
                sidecar: registry.sidecar.clone(),
            },
            status: None,
        })
    }

    /// Where a rehearsal has to clean up is known before there is anything, and until it is clean.
    pub(super) fn note_rehearsal(&mut self) {
        if self.rehearses() && !steps::has_ended(&self.state, steps::CLEAN) {
            let target = restores::target_of(self.scene.activation, self.spec);
            self.state.rehearsed_in = target.as_ref().map(restores::place);
        }
    }

    /// The database; whether it may sort text in another way than the source, as one that we make may have to; and labels by which it lets the
    /// restore in.
    fn target(&self) -> Option<(Target, bool, BTreeMap<String, String>)> {
        let target = restores::target_of(self.scene.activation, self.spec)?;
        let external = self.spec.target.external.as_ref();
        let accepts = external.is_none_or(|external| external.accept_different_collation);
        let managed = self.managed().map(|managed| managed.restore_labels());
        Some((target, accepts, managed.unwrap_or_default()))
    }
}

/// Whether a restore may still write.
#[must_use]
pub fn is_at_work(restore: &RegistryRestore) -> bool {
    let phase = restore
        .status
        .as_ref()
        .map_or(RestorePhase::Pending, |status| status.phase);
    matches!(phase, RestorePhase::Pending | RestorePhase::Running)
}

/// Whether a restore that failed so may well succeed when it is made again.
const fn is_passing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Interrupted
            | Reason::DeadlineExceeded
            | Reason::OutOfMemory
            | Reason::RestoreFailed
            | Reason::TargetUnreachable
            | Reason::TargetRefused
            | Reason::TargetFull
            | Reason::StoreUnreachable
            | Reason::StoreTlsFailed
            | Reason::StoreStalled
            | Reason::StoreFailed
    )
}

/// A number from 0.0 to 1.0 that is another one for each restore, and always the same for one.
fn chance(name: &str) -> f64 {
    f64::from(Sha256::digest(name)[0]) / 255.0
}
