//! What a gate says about itself at `GET /status`. To the operator it is a claim, bounded and cleaned before it reaches a resource.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::report::{Check, Fault, Loaded, MAX_MESSAGE, MAX_TEXT, MissingSecret, clean, clean_missing};

/// The most bytes of a gate's report that the operator reads: 512 lanes fit.
pub const MAX_BYTES: usize = 256 * 1024;
/// The most lanes of a report.
const MAX_LANES: usize = 512;
/// The most rows of refused requests, of a lane or of nobody's.
const MAX_REFUSED: usize = 32;
/// Clocks that differ by no more are taken for one: so long a report may have been on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(2);

/// The state of one gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GateReport {
    /// Drawn at random when the process starts: another value means that it was restarted and that its counts begin anew.
    pub process: String,
    /// The version of the sidecar.
    pub version: String,
    /// When the process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The time of day at the gate when it said this: its other times are of the same clock, and how long ago something was is the difference.
    /// Absent in reports of a version that does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The configuration that is in effect; absent before the first was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<Loaded>,
    /// Registries into which the configuration in effect lets anybody put, at most 512; absent before one was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<String>>,
    /// Why the newest configuration file, or certificate, is not in effect; the one before still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Fault>,
    /// Keys of Secrets that are not there yet, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_secrets: Vec<MissingSecret>,
    /// Whether the store behind the gate can be reached.
    pub store: Check,
    /// When the gate's certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_ends_at: Option<Timestamp>,
    /// What passed, and what did not, of each registry that sent anything; at most 512.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneReport>,
    /// Requests that were refused and claimed no registry that the gate knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unclaimed: Vec<RefusedRequests>,
}

/// What a gate saw of one registry since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaneReport {
    /// The registry's id.
    pub registry: String,
    /// When the store last answered a request of its deposit user with success: a proof that somebody there holds the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// When its retrieval user last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieved_at: Option<Timestamp>,
    /// Bytes of bodies that were put.
    pub bytes_put: u64,
    /// Requests that passed.
    pub passed: u64,
    /// Requests that did not, by reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedRequests>,
}

/// Requests that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRequests {
    /// The word of the refusal, such as `OtherPlace`.
    pub refusal: String,
    /// How many.
    pub count: u64,
    /// When the last one came.
    pub last_at: Timestamp,
}

impl GateReport {
    /// Reads a report that came over the network; `None` if it is too long or none at all.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        serde_json::from_slice::<Self>(bytes).ok().map(Self::cleaned)
    }

    /// The same report, received when another clock shows `now`, with the times of what the gate saw as that clock tells them. A gate that does not
    /// tell its own time is believed as it is.
    #[must_use]
    pub fn by_clock_at(mut self, now: Timestamp) -> Self {
        let behind = self.at.map(|at| now.duration_since(at));
        let Some(behind) = behind.filter(|behind| behind.abs() > ON_ITS_WAY) else {
            return self;
        };
        let tell = |time: &mut Timestamp| *time = time.checked_add(behind).unwrap_or(*time);
        for lane in &mut self.lanes {
            lane.heard_at.iter_mut().for_each(tell);
            lane.retrieved_at.iter_mut().for_each(tell);
            lane.refused.iter_mut().for_each(|row| tell(&mut row.last_at));
        }
        self.unclaimed.iter_mut().for_each(|row| tell(&mut row.last_at));
        self.started_at.iter_mut().for_each(tell);
        self.at.iter_mut().for_each(tell);
        self
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
        clean(&mut self.store.message, MAX_MESSAGE);
        // What is cut off such a list would be taken for closed.
        self.open = self.open.filter(|open| open.len() <= MAX_LANES);
        for registry in self.open.iter_mut().flatten() {
            clean(registry, MAX_TEXT);
        }
        self.lanes.truncate(MAX_LANES);
        for lane in &mut self.lanes {
            clean(&mut lane.registry, MAX_TEXT);
            clean_refused(&mut lane.refused);
        }
        clean_refused(&mut self.unclaimed);
        self
    }
}

fn clean_refused(refused: &mut Vec<RefusedRequests>) {
    refused.truncate(MAX_REFUSED);
    for row in refused {
        clean(&mut row.refusal, MAX_TEXT);
    }
}
