//! What a custodian says. To the operator it is a claim, bounded and cleaned before it reaches a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::MAX_ORDERS;
use crate::reason::Reason;
use crate::report::{
    Check, CheckState, Fault, Head, Loaded, MAX_MESSAGE, MAX_TEXT, MissingSecret, clean, clean_missing,
};

/// The most bytes of a custodian's report, or of a registry's, that the operator reads.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most copies of a registry's report: the newest 50, and the pinned ones.
pub const MAX_COPIES: usize = 114;
/// The most alarms of a report.
const MAX_ALARMS: usize = 16;
/// The most doors of a report.
pub const MAX_DOORS: usize = 96;
/// The most registries of a report.
const MAX_REGISTRIES: usize = 512;

/// The state of one custodian.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustodianReport {
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
    /// Keys of Secrets that are not there yet, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_secrets: Vec<MissingSecret>,
    /// The store's id, once its `embassy.json` was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// The public half of the key that signs custody entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Whether the store can be reached, and is set up as it must be.
    pub store: Check,
    /// The store's clock minus ours, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_difference_seconds: Option<i64>,
    /// Room in the store.
    pub space: SpaceReport,
    /// What the store itself would let through; absent while it was not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doors: Option<DoorsReport>,
    /// Each registry in a few words; at most 512.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistrySummary>,
    /// Registries that the store has and nobody accepted, at most 16; they are reported and never adopted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_registries: Vec<String>,
}

/// Room in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpaceReport {
    /// Whether it will be enough; `Unknown` where nobody said what the store can hold.
    pub sufficient: Check,
    /// Bytes of all versions of all registries.
    pub used_bytes: u64,
    /// What the store can hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// When it will be full at the rate of late; absent if never, or if nothing can be said yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_at: Option<Timestamp>,
}

/// What the store itself would let through of what only the gate refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoorsReport {
    /// When the store was probed.
    pub checked_at: Timestamp,
    /// The words of the probes that succeeded although none should, such as `UnpackOverVersion`, worst first; at most [`MAX_DOORS`].
    #[serde(default)]
    pub open: Vec<String>,
    /// How many probes were tried.
    pub tried: u32,
    /// What the store cannot do although it must, or why it could not be probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// A registry in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistrySummary {
    /// The registry's id.
    pub registry: String,
    /// The number of its latest copy; 0 while there is none.
    pub last_sequence: u64,
    /// Bytes of all its versions.
    pub used_bytes: u64,
    /// How many alarms it has.
    pub alarms: u32,
}

/// The state of one registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryReport {
    /// The registry's id.
    pub registry: String,
    /// The generation of the `RegistryCustody` that is in effect.
    pub generation: i64,
    /// The custodian's process, as in its own report.
    pub process: String,
    /// The term in which the source chain is written.
    pub term: u32,
    /// What opened the term; absent in term 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening: Option<TermOpening>,
    /// Whether nobody has said yet where the ledger stood before: then its heads are for people to compare, and for nobody to remember.
    /// True too until both chains were read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unwitnessed: bool,
    /// The head of the source chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_head: Option<Head>,
    /// The term in which that head was written: an earlier one than `term` until somebody has written in that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_term: Option<u32>,
    /// The head of the custody chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custody_head: Option<Head>,
    /// Whether the ledger is whole, in order, and signed by who may.
    pub ledger: Check,
    /// Whether every byte of the living copies was read back and equals the ledger.
    pub intact: Check,
    /// The latest new source entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_arrival: Option<Arrival>,
    /// What is wrong now, worst first, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// Living copies, newest first: the newest 50, and the pinned ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyReport>,
    /// From this number on every living copy is among [`copies`](Self::copies); below it only some are. Absent where all of them are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_from: Option<u64>,
    /// True until everything was taken in that stood in the ledger when the custodian began: until then copies, and what is known of them, are
    /// missing here, and nothing final may be decided by that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reading: bool,
    /// How far reading back is.
    pub verification: VerificationReport,
    /// What is kept and what will go.
    pub retention: RetentionReport,
    /// Bytes of all versions of the registry.
    pub used_bytes: u64,
    /// What became of the orders in the configuration that are about this registry; one that is missing was not thought of yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderAnswer>,
    /// The latest copy that passed a drill, as the custody chain says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_drilled: Option<LastDrilled>,
}

/// What opened a term after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermOpening {
    /// Who holds the registry in it.
    pub holder: TermHolder,
    /// The number of the custody entry that opened it.
    pub sequence: u64,
    /// The entry's SHA-256; the mirror that comes home names a release's.
    pub digest: String,
    /// The last source entry of the term before; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_head: Option<Head>,
    /// Who writes the source chain in it.
    pub signer: String,
    /// The order that it carried out, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// Who holds a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermHolder {
    /// It was activated: its home is fenced.
    Embassy,
    /// It was released.
    #[serde(other)]
    Home,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// Its id.
    pub id: String,
    /// What became of it.
    pub state: OrderState,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrderState {
    /// The custody chain has its entry.
    #[serde(rename_all = "camelCase")]
    Done {
        /// The number of the entry in the custody chain.
        sequence: u64,
    },
    /// It is not carried out, and never will be.
    Refused {
        /// Which of the known reasons.
        reason: Reason,
        /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
        message: String,
    },
    /// It cannot be carried out now, and is tried again.
    Waiting {
        /// Which of the known reasons.
        reason: Reason,
        /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
        message: String,
    },
}

/// A copy that passed a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDrilled {
    /// The number of the copy's entry in the source chain.
    pub sequence: u64,
    /// When the drill ended, by its own clock.
    pub at: Timestamp,
    /// The drill's order: its reports in the store are named by it.
    pub order: String,
}

/// Something that is wrong with a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// Which of the known faults.
    pub reason: Reason,
    /// Registry, sequence, what is lost, what stands, what to do; at most [`MAX_MESSAGE`] characters.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// The source entry that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// A new source entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// Its number.
    pub sequence: u64,
    /// When the snapshot was taken, by the source's clock.
    pub taken_at: Timestamp,
    /// When the entry came, by the store's clock.
    pub arrived_at: Timestamp,
}

/// A living copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyReport {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// The SHA-256 of the entry object.
    pub digest: String,
    /// The copy's id.
    pub copy_id: String,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// When the entry came, by the store's clock.
    pub arrived_at: Timestamp,
    /// Sealed bytes.
    pub bytes: u64,
    /// Whether its bytes were read back and equal the ledger.
    pub intact: CheckState,
    /// When they were last read back, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// Whether it was restored and questioned.
    #[serde(default)]
    pub drilled: CheckState,
    /// The earliest end among the locks of its objects, as far as they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// Whether somebody pinned it.
    #[serde(default)]
    pub pinned: bool,
    /// What is wrong with it; empty if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far reading back is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerificationReport {
    /// Living copies.
    pub copies: u32,
    /// Of those, how many were read back within the period and found equal.
    pub verified: u32,
    /// The oldest proof of a living copy; absent while one was never read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_proof_at: Option<Timestamp>,
    /// Bytes that were read back since the process started.
    pub bytes_read: u64,
}

/// What is kept and what will go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionReport {
    /// Copies that are kept.
    pub kept: u32,
    /// Copies that the plan lets go, oldest first, at most 50: with `dryRun` nothing happens to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expiring: Vec<u64>,
    /// How many the plan lets go in all.
    pub expiring_copies: u32,
    /// Sealed bytes of all of them.
    pub expiring_bytes: u64,
    /// Copies that are recorded as expired and wait for their locks to end.
    pub waiting: u32,
    /// Bytes of those.
    pub waiting_bytes: u64,
    /// Expired copies whose objects were deleted since the process started.
    pub deleted: u32,
    /// Bytes that were deleted since then, those of copies without an entry among them.
    pub deleted_bytes: u64,
    /// Why what should go cannot, or a lock of what stays cannot be prolonged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Fault>,
}

impl CustodianReport {
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
        clean(&mut self.process, MAX_TEXT);
        clean(&mut self.version, MAX_TEXT);
        if let Some(loaded) = &mut self.loaded {
            clean(&mut loaded.digest, MAX_TEXT);
        }
        if let Some(fault) = &mut self.refused {
            clean(&mut fault.message, MAX_MESSAGE);
        }
        clean_missing(&mut self.missing_secrets);
        if let Some(store) = &mut self.store_id {
            clean(store, MAX_TEXT);
        }
        if let Some(signer) = &mut self.signer {
            clean(signer, MAX_TEXT);
        }
        clean(&mut self.store.message, MAX_MESSAGE);
        clean(&mut self.space.sufficient.message, MAX_MESSAGE);
        if let Some(doors) = &mut self.doors {
            doors.open.truncate(MAX_DOORS);
            for door in &mut doors.open {
                clean(door, MAX_TEXT);
            }
            if let Some(fault) = &mut doors.fault {
                clean(&mut fault.message, MAX_MESSAGE);
            }
        }
        self.registries.truncate(MAX_REGISTRIES);
        for registry in &mut self.registries {
            clean(&mut registry.registry, MAX_TEXT);
        }
        self.unknown_registries.truncate(MAX_ALARMS);
        for registry in &mut self.unknown_registries {
            clean(registry, MAX_TEXT);
        }
        self
    }
}

impl RegistryReport {
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
        clean(&mut self.registry, MAX_TEXT);
        clean(&mut self.process, MAX_TEXT);
        for head in [&mut self.source_head, &mut self.custody_head]
            .into_iter()
            .flatten()
        {
            clean(&mut head.digest, MAX_TEXT);
        }
        if let Some(opening) = &mut self.opening {
            clean(&mut opening.digest, MAX_TEXT);
            clean(&mut opening.signer, MAX_TEXT);
            if let Some(head) = &mut opening.source_head {
                clean(&mut head.digest, MAX_TEXT);
            }
            if let Some(order) = &mut opening.order {
                clean(order, MAX_TEXT);
            }
        }
        clean(&mut self.ledger.message, MAX_MESSAGE);
        clean(&mut self.intact.message, MAX_MESSAGE);
        self.alarms.truncate(MAX_ALARMS);
        for alarm in &mut self.alarms {
            clean(&mut alarm.message, MAX_MESSAGE);
        }
        self.copies.truncate(MAX_COPIES);
        for copy in &mut self.copies {
            clean(&mut copy.digest, MAX_TEXT);
            clean(&mut copy.copy_id, MAX_TEXT);
            clean(&mut copy.message, MAX_TEXT);
        }
        self.retention.expiring.truncate(50);
        if let Some(fault) = &mut self.retention.blocked {
            clean(&mut fault.message, MAX_MESSAGE);
        }
        self.orders.truncate(MAX_ORDERS);
        for answer in &mut self.orders {
            clean(&mut answer.id, MAX_TEXT);
            if let OrderState::Refused { message, .. } | OrderState::Waiting { message, .. } =
                &mut answer.state
            {
                clean(message, MAX_MESSAGE);
            }
        }
        if let Some(drilled) = &mut self.last_drilled {
            clean(&mut drilled.order, MAX_TEXT);
        }
        self
    }
}
