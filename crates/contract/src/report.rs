//! What a mirror's sidecar says about itself at `GET /status`.
//!
//! To the operator this is a claim by a pod that somebody in the namespace may have replaced: it is bounded by [`MAX_BYTES`], and
//! every text is cut and cleaned by [`Report::cleaned`] before it reaches a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::custodian::LastDrilled;
use crate::reason::Reason;

/// The most bytes of a report that the operator reads.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most runs that a report remembers.
pub const MAX_RECENT_RUNS: usize = 10;
/// The most characters of a message.
pub const MAX_MESSAGE: usize = 1_024;
/// The most characters of any other text.
pub const MAX_TEXT: usize = 256;

/// The state of one mirror's sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Drawn at random when the process starts: another value means that it was restarted.
    pub process: String,
    /// The version of the sidecar.
    pub version: String,
    /// When the process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The configuration that is in effect; absent before the first was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<Loaded>,
    /// Why the newest configuration file is not in effect; the one in `loaded` still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Fault>,
    /// Secrets that are not there yet, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_secrets: Vec<MissingSecret>,
    /// Whether the database can be reached and used.
    pub source: Check,
    /// Whether the store can be reached and used.
    pub store: Check,
    /// Whether the embassy has proven the copies, as far as its custody chain says.
    pub intact: Check,
    /// The newest copy that the embassy has proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_proof: Option<LastProof>,
    /// Whether the embassy's newest drill of a copy passed, as far as its custody chain says.
    pub drilled: Check,
    /// The newest living copy that passed its latest drill, as the custody chain says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_drilled: Option<LastDrilled>,
    /// The run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The latest copy that the ledger holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_copy: Option<LastCopy>,
    /// The head of the source chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// The latest runs, newest first, at most [`MAX_RECENT_RUNS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent_runs: Vec<FinishedRun>,
    /// When the schedule is due next; absent while suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// Slots that passed without a run, since this process started.
    pub missed_runs: u32,
    /// Runs that failed since the last one that did not; interrupted ones do not count.
    pub consecutive_failures: u32,
    /// The latest trigger that a copy answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_trigger: Option<String>,
    /// Why the latest copy is worth a look although it was committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicious: Option<Fault>,
    /// Why this mirror must not write any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fenced: Option<Fault>,
    /// The public half of the key that signs entries: `ssh-ed25519 AAAA…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// A configuration in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// Its `generation`.
    pub generation: i64,
    /// The [`digest`](crate::config::digest) of the file.
    pub digest: String,
}

/// Something that is wrong, since when, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Which of the known faults.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// The result of the latest look at a neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    /// What was found.
    pub state: CheckState,
    /// Which of the known states.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    pub message: String,
    /// Since when it has been so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Whether a check passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckState {
    /// It passed.
    True,
    /// It failed.
    False,
    /// It was not made yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A key of a Secret that the sidecar needs and does not find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingSecret {
    /// Which of the mirror's Secrets.
    pub secret: SecretRole,
    /// The key in it, such as `password`.
    pub key: String,
}

/// What a Secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretRole {
    /// The store's deposit credentials.
    Deposit,
    /// The dump role's credentials.
    Database,
    /// The authorities of the database's certificate.
    DatabaseCa,
    /// The key that signs entries.
    Signing,
    /// The store's custody credentials.
    Custody,
    /// A gate's certificate and its key.
    GateTls,
    /// The store's retrieval credentials.
    Retrieval,
    /// The age identity that opens a copy.
    Identity,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

impl SecretRole {
    /// Every role that this version knows.
    pub const ALL: [Self; 8] = [
        Self::Deposit,
        Self::Database,
        Self::DatabaseCa,
        Self::Signing,
        Self::Custody,
        Self::GateTls,
        Self::Retrieval,
        Self::Identity,
    ];

    /// How many keys the sidecar needs in it. It sees files and no Secrets: where all are missing, the Secret may be.
    #[must_use]
    pub const fn keys(self) -> usize {
        match self {
            Self::Deposit | Self::Database | Self::Custody | Self::GateTls | Self::Retrieval => 2,
            Self::DatabaseCa | Self::Signing | Self::Identity | Self::Other => 1,
        }
    }
}

/// A run in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// When it began.
    pub started_at: Timestamp,
    /// When it will be stopped.
    pub deadline_at: Timestamp,
    /// The slot that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
    /// The trigger that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How far it is.
    pub progress: Progress,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Plain bytes read from the database.
    pub bytes: u64,
    /// Rows read from the database.
    pub rows: u64,
    /// The done share of the expected bytes, 0.0 to 1.0; absent before planning ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Plain bytes per second, lately.
    pub rate: f64,
    /// Seconds left at this rate; absent while nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// The steps of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Reading the ledger and probing the store.
    #[default]
    Preparing,
    /// `pg_dump` plans.
    Planning,
    /// Rows are read, sealed and uploaded.
    Copying,
    /// The manifest and the entry are written.
    Committing,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// A copy that the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCopy {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// The SHA-256 of the entry object.
    pub digest: String,
    /// The moment of the snapshot.
    pub taken_at: Timestamp,
    /// When its entry was written.
    pub committed_at: Timestamp,
    /// Sealed bytes in the store.
    pub bytes: u64,
}

/// A copy whose every byte the embassy has read back from its store and found equal to the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastProof {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// The SHA-256 of the entry object.
    pub digest: String,
    /// The moment of its snapshot; absent where its entry cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// When reading it back began, by the embassy's clock.
    pub read_back_at: Timestamp,
    /// When the proof was signed, by the embassy's clock.
    pub proven_at: Timestamp,
}

/// The head of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its number.
    pub sequence: u64,
    /// The SHA-256 of the entry object.
    pub digest: String,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishedRun {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// `Copied`, or why not.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    #[serde(default)]
    pub message: String,
    /// The slot that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
    /// The trigger that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// The number of its entry, if it committed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Sealed bytes put into the store.
    #[serde(default)]
    pub bytes: u64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A copy was committed.
    Copied,
    /// It was stopped from outside and is not held against the mirror.
    Interrupted,
    /// It failed.
    #[serde(other)]
    Failed,
}

impl Report {
    /// Reads a report that came over the network; `None` if it is too long or none at all.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        serde_json::from_slice::<Self>(bytes).ok().map(Self::cleaned)
    }

    /// The same report with every list and text within bounds and without control characters.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        self.recent_runs.truncate(MAX_RECENT_RUNS);
        clean(&mut self.process, MAX_TEXT);
        clean(&mut self.version, MAX_TEXT);
        if let Some(loaded) = &mut self.loaded {
            clean(&mut loaded.digest, MAX_TEXT);
        }
        clean_missing(&mut self.missing_secrets);
        for fault in [&mut self.refused, &mut self.suspicious, &mut self.fenced]
            .into_iter()
            .flatten()
        {
            clean(&mut fault.message, MAX_MESSAGE);
        }
        clean(&mut self.source.message, MAX_MESSAGE);
        clean(&mut self.store.message, MAX_MESSAGE);
        clean(&mut self.intact.message, MAX_MESSAGE);
        if let Some(proof) = &mut self.last_proof {
            clean(&mut proof.digest, MAX_TEXT);
        }
        clean(&mut self.drilled.message, MAX_MESSAGE);
        if let Some(drilled) = &mut self.last_drilled {
            clean(&mut drilled.order, MAX_TEXT);
        }
        for run in &mut self.recent_runs {
            clean(&mut run.message, MAX_MESSAGE);
            clean_option(&mut run.trigger);
        }
        if let Some(run) = &mut self.run {
            clean_option(&mut run.trigger);
        }
        clean_option(&mut self.last_trigger);
        clean_option(&mut self.signer);
        if let Some(copy) = &mut self.last_copy {
            clean(&mut copy.digest, MAX_TEXT);
        }
        if let Some(head) = &mut self.head {
            clean(&mut head.digest, MAX_TEXT);
        }
        self
    }
}

pub(crate) fn clean_missing(missing: &mut Vec<MissingSecret>) {
    missing.truncate(16);
    for missing in missing {
        clean(&mut missing.key, MAX_TEXT);
    }
}

fn clean_option(text: &mut Option<String>) {
    if let Some(text) = text {
        clean(text, MAX_TEXT);
    }
}

/// Cuts a text and takes out what could fool a terminal: control characters and those that turn the writing direction.
pub fn clean(text: &mut String, limit: usize) {
    let hidden = |letter: &char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    *text = text
        .chars()
        .filter(|letter| !hidden(letter))
        .take(limit)
        .collect();
}
