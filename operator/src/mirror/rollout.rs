//! When a mirror's pod may be replaced: not while it makes a copy.

use dataembassy_crds::{LastCopy, RegistryMirror};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::clock::{has_passed, lies_ahead};
use crate::mirror::dereference::Found;
use crate::mirror::validate::Checked;
use crate::pod;

/// Why a new pod has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The old one makes a copy.
    RunInProgress,
    /// Others are being replaced.
    OthersFirst,
}

/// Whether the sidecar makes a copy that is worth waiting for. A run past its deadline is not, whatever the report says its deadline
/// is; where the sidecar is silent, the status remembers. A process that does not run makes none, and one that was killed for its memory will be
/// killed again: whoever gives it more would wait for ever, because each time it begins another run.
#[must_use]
pub fn is_running(mirror: &RegistryMirror, checked: &Checked, found: &Found, now: Timestamp) -> bool {
    let copy = mirror
        .status
        .as_ref()
        .and_then(|status| status.last_copy.as_ref());
    let is_in_vain = |pod: &Pod| pod::is_down(pod) || killed_since(pod, copy, now).is_some();
    if found.pod.as_deref().is_some_and(is_in_vain) {
        return false;
    }
    let started = match &found.report {
        Some(Ok(report)) => report.run.as_ref().map(|run| run.started_at),
        Some(Err(_)) => mirror
            .status
            .as_ref()
            .and_then(|status| status.run.as_ref())
            .and_then(|run| run.started_at.parse().ok()),
        None => None,
    };
    let Ok(deadline) = SignedDuration::try_from(checked.config.schedule.deadline.as_std()) else {
        return false;
    };
    started.is_some_and(|started| !has_passed(started, deadline, now))
}

/// When the sidecar was killed at its memory limit, if it has made no copy since. One that is dated ahead of our time says nothing of when it was made.
#[must_use]
pub fn killed_since(pod: &Pod, copy: Option<&LastCopy>, now: Timestamp) -> Option<Timestamp> {
    let committed = copy.and_then(|copy| copy.committed_at.parse::<Timestamp>().ok());
    let committed = committed.filter(|committed| !lies_ahead(*committed, now));
    pod::out_of_memory_at(pod).filter(|at| committed.is_none_or(|committed| committed < *at))
}
