//! When a mirror's pod may be replaced: not while it makes a copy.

use dataembassy_crds::RegistryMirror;
use jiff::{SignedDuration, Timestamp};

use crate::mirror::dereference::Found;
use crate::mirror::validate::Checked;

/// Why a new pod has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The old one makes a copy.
    RunInProgress,
    /// Others are being replaced.
    OthersFirst,
}

/// Whether the sidecar makes a copy that is worth waiting for. A run past its deadline is not, whatever the report says its deadline
/// is; where the sidecar is silent, the status remembers.
#[must_use]
pub fn is_running(mirror: &RegistryMirror, checked: &Checked, found: &Found, now: Timestamp) -> bool {
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
    started.is_some_and(|started| now.duration_since(started) < deadline)
}
