//! What a mirror says about itself.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{
    FinishedRun, Head, LastCopy, Loaded, MAX_RECENT_RUNS, MissingSecret, Report,
};
use dataembassy_ledger::entry::{CopyBody, EntryRef};
use dataembassy_ledger::value::Timestamp as LedgerTime;
use jiff::Timestamp;

use super::drills::Drilled;
use super::proof::Judgement;
use crate::process::report::{self, judge, note, replace};
use crate::process::server::Status;

/// A mirror's report, shared between the process and its server.
pub type Board = report::Board<Report>;

impl Status for Board {
    type Report = Report;

    fn report(&self) -> Report {
        self.look(Report::clone).cleaned()
    }

    fn is_ready(&self) -> bool {
        self.look(|report| report.loaded.is_some())
    }
}

impl Board {
    /// An empty report of a process that has just started; `process` tells it from every other.
    #[must_use]
    pub fn new(process: String, now: Timestamp) -> Self {
        Self::begin(Report {
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(now),
            ..Report::default()
        })
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

    /// What the embassy has proven.
    pub fn proven(&self, judged: Judgement) {
        self.write(|report| {
            judge(&mut report.intact, judged.check);
            report.last_proof = judged.proof;
        });
    }

    /// What the embassy's drills have shown.
    pub fn drilled(&self, drilled: Drilled) {
        self.write(|report| {
            judge(&mut report.drilled, drilled.check);
            report.last_drilled = drilled.last;
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
