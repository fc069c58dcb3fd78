//! What a restore, or a drill, says about itself while it works.

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

/// A report of a Job that restores.
pub(crate) trait JobReport: Clone + Send + 'static {
    /// The report of a Job that has just begun.
    fn begin(version: String) -> Self;

    /// What all of them have.
    fn parts(&mut self) -> Parts<'_>;
}

/// The parts that all of them have.
pub(crate) struct Parts<'a> {
    pub(crate) missing_secrets: &'a mut Vec<MissingSecret>,
    pub(crate) waits: &'a mut Option<Fault>,
    pub(crate) copy: &'a mut Option<ChosenCopy>,
    pub(crate) progress: &'a mut RestoreProgress,
}

impl JobReport for RestoreReport {
    fn begin(version: String) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            missing_secrets: &mut self.missing_secrets,
            waits: &mut self.waits,
            copy: &mut self.copy,
            progress: &mut self.progress,
        }
    }
}

/// The report, shared between the Job and its server.
#[derive(Debug)]
pub(crate) struct Board<R> {
    report: report::Board<R>,
    progress: Progress,
    is_configured: Arc<AtomicBool>,
}

impl<R> Clone for Board<R> {
    fn clone(&self) -> Self {
        Self {
            report: self.report.clone(),
            progress: self.progress.clone(),
            is_configured: Arc::clone(&self.is_configured),
        }
    }
}

impl<R: JobReport> Default for Board<R> {
    fn default() -> Self {
        Self {
            report: report::Board::begin(R::begin(env!("CARGO_PKG_VERSION").to_owned())),
            progress: Progress::default(),
            is_configured: Arc::default(),
        }
    }
}

impl<R: JobReport> Board<R> {
    /// Where the restore tells how far it is.
    pub(crate) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Everything that must be there is.
    pub(crate) fn configured(&self) {
        self.is_configured.store(true, Relaxed);
        self.report.write(|report| report.parts().missing_secrets.clear());
    }

    /// Secrets are not there yet.
    pub(crate) fn misses(&self, missing: &[MissingSecret]) {
        self.report
            .write(|report| *report.parts().missing_secrets = missing.to_vec());
    }

    /// Something that is needed is out of reach.
    pub(crate) fn waits(&self, reason: Reason, message: String) {
        self.report.write(|report| {
            let waits = report.parts().waits;
            let since = waits.as_ref().map_or_else(Timestamp::now, |waits| waits.since);
            *waits = Some(Fault {
                reason,
                message,
                since,
            });
        });
    }

    /// Nothing is waited for any more.
    pub(crate) fn goes_on(&self) {
        self.report.write(|report| *report.parts().waits = None);
    }

    /// The copy was chosen.
    pub(crate) fn chosen(&self, copy: ChosenCopy) {
        self.report.write(|report| *report.parts().copy = Some(copy));
    }

    /// Looks at the report as it was written last.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&R) -> T) -> T {
        self.report.look(look)
    }

    /// Changes the report.
    pub(crate) fn write(&self, change: impl FnOnce(&mut R)) {
        self.report.write(change);
    }

    /// How far it is.
    pub(crate) fn told(&self) -> RestoreProgress {
        let mut progress = told(&self.progress);
        if !self.has_everything() {
            progress.phase = RestorePhase::Waiting;
        }
        progress
    }

    /// The report as it is now.
    pub(crate) fn now(&self) -> R {
        let mut report = self.report.look(Clone::clone);
        let parts = report.parts();
        *parts.progress = self.told();
        // What was waited for came.
        if self.progress.has_written() {
            *parts.waits = None;
        }
        report
    }

    /// Whether configuration and Secrets are there.
    pub(crate) fn has_everything(&self) -> bool {
        self.is_configured.load(Relaxed)
    }
}

impl Status for Board<RestoreReport> {
    type Report = RestoreReport;

    fn report(&self) -> RestoreReport {
        self.now()
    }

    fn is_ready(&self) -> bool {
        self.has_everything()
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
        Phase::Questioning => RestorePhase::Questioning,
        Phase::Done => RestorePhase::Done,
    }
}
