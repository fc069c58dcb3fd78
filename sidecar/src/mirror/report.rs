//! What the sidecar says about itself, kept in one place and changed under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataembassy_contract::Reason;
use dataembassy_contract::report::{
    Check, CheckState, Fault, FinishedRun, Head, LastCopy, Loaded, MAX_RECENT_RUNS, MissingSecret, Report,
};
use dataembassy_ledger::entry::{CopyBody, EntryRef};
use dataembassy_ledger::value::Timestamp as LedgerTime;
use jiff::Timestamp;

/// The report, shared between the process and its server.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Report>>);

impl Board {
    /// An empty report of a process that has just started; `process` tells it from every other.
    #[must_use]
    pub fn new(process: String, now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Report {
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(now),
            ..Report::default()
        })))
    }

    /// The report as it is now, within its bounds.
    #[must_use]
    pub fn read(&self) -> Report {
        self.lock().clone().cleaned()
    }

    /// Changes the report.
    pub fn write<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A configuration is in effect.
    pub fn loaded(&self, loaded: Loaded, signer: String) {
        self.write(|report| {
            report.loaded = Some(loaded);
            report.signer = Some(signer);
            report.refused = None;
            report.missing_secrets.clear();
        });
    }

    /// The newest configuration is not in effect.
    pub fn refused(&self, reason: Reason, message: String, missing: Vec<MissingSecret>) {
        self.write(|report| {
            report.missing_secrets = missing;
            replace(&mut report.refused, Some((reason, message)));
        });
    }

    /// The store was looked at.
    pub fn store(&self, found: Result<(), (Reason, String)>) {
        self.write(|report| note(&mut report.store, found));
    }

    /// The database was looked at.
    pub fn source(&self, found: Result<(), (Reason, String)>) {
        self.write(|report| note(&mut report.source, found));
    }

    /// Why this mirror must not write any more, if so.
    pub fn fenced(&self, found: Option<(Reason, String)>) {
        self.write(|report| replace(&mut report.fenced, found));
    }

    /// Why the latest copy, or the ledger, is worth a look, if so.
    pub fn suspicious(&self, found: Option<(Reason, String)>) {
        self.write(|report| replace(&mut report.suspicious, found));
    }

    /// The latest copy of the ledger.
    pub fn copy(&self, reference: EntryRef, copy: &CopyBody, at: LedgerTime) {
        self.write(|report| {
            let (sequence, digest) = (reference.sequence.get(), reference.digest.to_string());
            report.head = Some(Head {
                sequence,
                digest: digest.clone(),
            });
            report.last_copy = Some(LastCopy {
                sequence,
                digest,
                taken_at: copy.taken_at.as_jiff(),
                committed_at: at.as_jiff(),
                bytes: copy.totals.sealed_bytes,
            });
        });
    }

    /// A run has ended.
    pub fn finished(&self, run: FinishedRun) {
        self.write(|report| {
            report.run = None;
            report.recent_runs.insert(0, run);
            report.recent_runs.truncate(MAX_RECENT_RUNS);
        });
    }
}

/// Keeps `since` while the same is found again.
fn note(check: &mut Check, found: Result<(), (Reason, String)>) {
    let (state, reason, message) = match found {
        Ok(()) => (CheckState::True, Reason::Reachable, String::new()),
        Err((reason, message)) => (CheckState::False, reason, message),
    };
    let since = check
        .since
        .filter(|_| check.state == state && check.reason == reason);
    *check = Check {
        state,
        reason,
        message,
        since: since.or_else(|| Some(Timestamp::now())),
    };
}

fn replace(fault: &mut Option<Fault>, found: Option<(Reason, String)>) {
    *fault = found.map(|(reason, message)| {
        let since = fault
            .as_ref()
            .filter(|fault| fault.reason == reason)
            .map(|fault| fault.since);
        Fault {
            reason,
            message,
            since: since.unwrap_or_else(Timestamp::now),
        }
    });
}
