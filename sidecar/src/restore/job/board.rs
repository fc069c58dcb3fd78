//! What a restore says about itself while it works.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use dataembassy_contract::{
    Reason,
    report::{Fault, MissingSecret},
    restore::{ChosenCopy, RestorePhase, RestoreProgress, RestoreReport},
};
use jiff::Timestamp;

use crate::process::{report, server::Status};
use crate::restore::progress::{Phase, Progress};

/// The report, shared between the restore and its server.
#[derive(Clone, Debug)]
pub(super) struct Board {
    report: report::Board<RestoreReport>,
    progress: Progress,
    is_configured: Arc<AtomicBool>,
}

impl Default for Board {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            report: report::Board::begin(RestoreReport {
                version,
                ..RestoreReport::default()
            }),
            progress: Progress::default(),
            is_configured: Arc::default(),
        }
    }
}

impl Board {
    /// Where the restore tells how far it is.
    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Everything that must be there is.
    pub(super) fn configured(&self) {
        self.is_configured.store(true, Relaxed);
        self.report.write(|report| report.missing_secrets.clear());
    }

    /// Secrets are not there yet.
    pub(super) fn misses(&self, missing: &[MissingSecret]) {
        self.report
            .write(|report| report.missing_secrets = missing.to_vec());
    }

    /// Something that is needed is out of reach.
    pub(super) fn waits(&self, reason: Reason, message: String) {
        self.report.write(|report| {
            let since = report
                .waits
                .as_ref()
                .map_or_else(Timestamp::now, |waits| waits.since);
            report.waits = Some(Fault {
                reason,
                message,
                since,
            });
        });
    }

    /// Nothing is waited for any more.
    pub(super) fn goes_on(&self) {
        self.report.write(|report| report.waits = None);
    }

    /// The copy was chosen.
    pub(super) fn chosen(&self, copy: ChosenCopy) {
        self.report.write(|report| report.copy = Some(copy));
    }

    /// The copy, once it was chosen.
    pub(super) fn copy(&self) -> Option<ChosenCopy> {
        self.report.look(|report| report.copy.clone())
    }
}

impl Status for Board {
    type Report = RestoreReport;

    fn report(&self) -> RestoreReport {
        let mut report = self.report.look(Clone::clone);
        report.progress = told(&self.progress);
        if !self.is_ready() {
            report.progress.phase = RestorePhase::Waiting;
        }
        // What was waited for came.
        if self.progress.has_written() {
            report.waits = None;
        }
        report
    }

    fn is_ready(&self) -> bool {
        self.is_configured.load(Relaxed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is for people")]
fn told(progress: &Progress) -> RestoreProgress {
    let phase = progress.phases().borrow().clone();
    let counters = &progress.counters;
    let (bytes, rows) = (counters.bytes.load(Relaxed), counters.rows.load(Relaxed));
    let elapsed = progress.loading_for().unwrap_or_default().as_millis().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000 / elapsed).unwrap_or(u64::MAX);
    let (share, eta_seconds) = match phase {
        Phase::Rows { bytes: 0, .. } => (Some(1.0), Some(0)),
        Phase::Rows { bytes: all, .. } => {
            let eta = all.saturating_sub(bytes).checked_div(rate);
            (Some((bytes as f64 / all as f64).min(1.0)), eta)
        }
        _ => (None, None),
    };
    RestoreProgress {
        phase: word(&phase),
        bytes,
        rows,
        share,
        rate,
        eta_seconds,
    }
}

const fn word(phase: &Phase) -> RestorePhase {
    match phase {
        Phase::Checking => RestorePhase::Checking,
        Phase::Definitions => RestorePhase::Definitions,
        Phase::Rows { .. } => RestorePhase::Rows,
        Phase::Constraints => RestorePhase::Constraints,
        Phase::Analysing => RestorePhase::Analysing,
        Phase::Comparing => RestorePhase::Comparing,
        Phase::Done => RestorePhase::Done,
    }
}
