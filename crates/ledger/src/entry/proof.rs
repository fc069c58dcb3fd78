//! The `proof`: what the custodian found, and what all custody entries before it say together.

use serde::{Deserialize, Serialize};

use super::custody::ascending;
use super::drill::StandingDrill;
use super::report::StandingReport;
use super::{EntryRef, Header};
use crate::signature::PublicKey;
use crate::value::{CopyId, OrderId, SegmentNumber, Sequence, Sha256Digest, Term, Timestamp};

/// The most ranges of copies that one `proof` says it has read back.
pub const MAX_VERIFIED: usize = 64;
/// The most copies that one `proof` says are broken.
pub const MAX_BROKEN: usize = 64;
/// The most openings, and the most pins, of a [`Standing`].
pub const MAX_STANDING: usize = 64;
/// The most void copies of a [`Standing`].
pub const MAX_STANDING_COPIES: usize = 256;
/// The most ranges of expired copies of a [`Standing`]. What lives between them is what a policy keeps.
pub const MAX_STANDING_RANGES: usize = 1_024;
/// The most drills of a [`Standing`].
pub const MAX_STANDING_DRILLS: usize = 128;
/// The most reports of a [`Standing`]: as many as a custodian is asked for at once.
pub const MAX_STANDING_REPORTS: usize = 16;
/// The most bytes that a [`Standing`] may take, so that a proof with everything else stays within the size of an entry.
const MAX_STANDING_BYTES: usize = 48 * 1024;

/// A `proof`: how far the custodian has walked the source chain, what it has read back since its last proof, and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofBody {
    /// The head of the source chain as the custodian found it.
    pub source_head: EntryRef,
    /// Copies whose every byte was read back since the last proof and equals the ledger: at most [`MAX_VERIFIED`] ranges, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<VerifiedRange>,
    /// The newest copy whose every byte was read back and equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intact: Option<IntactCopy>,
    /// Living copies that are not whole, as far as is known now: at most [`MAX_BROKEN`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<BrokenCopy>,
    /// How far the copy is read back that was being read when the proof was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<VerificationProgress>,
    /// What all entries before this one say together, so that a reader may start here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// Copies that were read back: every living one of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifiedRange {
    /// The first.
    pub from: Sequence,
    /// The last.
    pub until: Sequence,
    /// When reading the first of them back began.
    pub at: Timestamp,
}

/// A copy that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokenCopy {
    /// The number of its entry in the source chain.
    pub sequence: Sequence,
    /// What is wrong.
    pub fault: CopyFault,
}

/// What can be wrong with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CopyFault {
    /// An object is not in the store.
    Missing,
    /// An object has other bytes, or another size, than the ledger says.
    Changed,
    /// The store cannot read an object.
    Unreadable,
    /// The manifest cannot be read, or is not the one of the entry's totals.
    Manifest,
    /// It is sealed to other recipients than it should be.
    Recipients,
}

/// How far a copy is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerificationProgress {
    /// The number of its entry in the source chain.
    pub sequence: Sequence,
    /// How many segments, in the manifest's order, were read back and are equal.
    pub segments: u64,
    /// When reading it back began.
    pub since: Timestamp,
}

/// What all entries of a custody chain before a place say together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standing {
    /// The openings of all terms after the first: at most [`MAX_STANDING`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<StandingOpening>,
    /// The copies that were declared void, none twice, oldest declaration first: at most the latest [`MAX_STANDING_COPIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<CopyId>,
    /// The copies that were recorded as expired: at most [`MAX_STANDING_RANGES`] ranges, ascending and not touching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<SequenceRange>,
    /// The copies that are pinned: at most [`MAX_STANDING`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Sequence>,
    /// Drills, ascending by their entries: at most [`MAX_STANDING_DRILLS`], and fewer, but the latest 16, where there is no room for them. Of
    /// more those went first that say nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drills: Vec<StandingDrill>,
    /// The latest reports, ascending by their entries: at most [`MAX_STANDING_REPORTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<StandingReport>,
}

/// The opening of a term, as its entry said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingOpening {
    /// The entry.
    pub entry: EntryRef,
    /// Its kind.
    pub kind: OpeningKind,
    /// The last source entry that counts in the term before; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_head: Option<EntryRef>,
    /// The term it opened.
    pub next_term: Term,
    /// Who writes the source chain in that term.
    pub signer: PublicKey,
    /// The order that it carried out, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
}

/// Which kind of entry opened a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpeningKind {
    /// The embassy serves the registry.
    Activation,
    /// The registry goes back home.
    Release,
}

/// Numbers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceRange {
    /// The first.
    pub from: Sequence,
    /// The last.
    pub until: Sequence,
}

/// A copy that was found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntactCopy {
    /// The number of its entry in the source chain.
    pub sequence: Sequence,
    /// The SHA-256 of that entry's object.
    pub digest: Sha256Digest,
    /// When reading it back began.
    pub at: Timestamp,
}

impl ProofBody {
    /// A proof that has walked the chain and read nothing back.
    #[must_use]
    pub const fn new(source_head: EntryRef) -> Self {
        Self {
            source_head,
            verified: Vec::new(),
            intact: None,
            broken: Vec::new(),
            progress: None,
            standing: None,
        }
    }

    pub(super) fn check(&self, header: &Header) -> Result<(), &'static str> {
        if self.verified.len() > MAX_VERIFIED || self.broken.len() > MAX_BROKEN {
            return Err("verified and broken must have at most 64 members each");
        }
        if self.verified.iter().any(|range| range.until < range.from) {
            return Err("a range of verified copies must not end before it begins");
        }
        let disjoint = self.verified.windows(2).all(|pair| pair[0].until < pair[1].from);
        if !disjoint {
            return Err("ranges of verified copies must ascend and not overlap");
        }
        ascending(
            &self.broken,
            |copy| copy.sequence,
            "broken must ascend by sequence",
        )?;
        let verified = self.verified.last().map(|range| range.until);
        let broken = self.broken.last().map(|copy| copy.sequence);
        let intact = self.intact.map(|copy| copy.sequence);
        let reading = self.progress.map(|progress| progress.sequence);
        if [verified, broken, intact, reading].into_iter().max().flatten() > Some(self.source_head.sequence) {
            return Err("a proof must not speak of copies beyond its sourceHead");
        }
        if self.broken.iter().any(|copy| Some(copy.sequence) == intact) {
            return Err("the intact copy must not be among the broken ones");
        }
        if self
            .progress
            .is_some_and(|progress| progress.segments > u64::from(SegmentNumber::LAST.get()))
        {
            return Err("progress must be at most 99999999 segments");
        }
        self.standing
            .as_ref()
            .map_or(Ok(()), |standing| standing.check(header))
    }
}

impl Standing {
    /// Whether it is small enough for an entry, whatever else its proof says. One that is not is left out of the proof whole, and late
    /// readers start further back: half of it would mislead them.
    #[must_use]
    pub fn fits(&self) -> bool {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        self.is_bounded() && bytes <= MAX_STANDING_BYTES
    }

    const fn is_bounded(&self) -> bool {
        self.openings.len() <= MAX_STANDING
            && self.pins.len() <= MAX_STANDING
            && self.void.len() <= MAX_STANDING_COPIES
            && self.expired.len() <= MAX_STANDING_RANGES
            && self.drills.len() <= MAX_STANDING_DRILLS
            && self.reports.len() <= MAX_STANDING_REPORTS
    }

    fn check(&self, header: &Header) -> Result<(), &'static str> {
        if !self.is_bounded() {
            return Err("standing has more members than the format allows");
        }
        self.check_openings(header)?;
        ascending(&self.pins, |pin| *pin, "pins must ascend")?;
        ascending(
            &self.drills,
            |drill| drill.entry,
            "drills must ascend by their entries",
        )?;
        if self
            .drills
            .last()
            .is_some_and(|drill| drill.entry >= header.sequence)
        {
            return Err("drills must be entries before the proof");
        }
        ascending(
            &self.reports,
            |report| report.entry,
            "reports must ascend by their entries",
        )?;
        if self
            .reports
            .last()
            .is_some_and(|report| report.entry >= header.sequence)
        {
            return Err("reports must be entries before the proof");
        }
        let repeated = |(place, copy)| self.void[..place].contains(copy);
        if self.void.iter().enumerate().any(repeated) {
            return Err("void must not name a copy twice");
        }
        let ordered = self.expired.iter().all(|range| range.from <= range.until)
            && self
                .expired
                .windows(2)
                .all(|pair| pair[0].until.next().is_some_and(|next| next < pair[1].from));
        if ordered {
            Ok(())
        } else {
            Err("ranges of expired copies must ascend and not touch")
        }
    }

    /// A reader that starts here knows of no other openings, so none may be missing: each opens the term after the one before, and the last
    /// one the term that the proof is written in.
    fn check_openings(&self, header: &Header) -> Result<(), &'static str> {
        let mut term = Term::FIRST;
        for opening in &self.openings {
            if term.next() != Some(opening.next_term) {
                return Err("openings must open each term from the second on, in order");
            }
            term = opening.next_term;
        }
        if term != header.term {
            return Err("the last opening must be that of the proof's own term");
        }
        ascending(
            &self.openings,
            |opening| opening.entry.sequence,
            "openings must ascend by their entries",
        )?;
        let last = self.openings.last();
        if last.is_some_and(|opening| opening.entry.sequence >= header.sequence) {
            return Err("openings must be entries before the proof");
        }
        let head = |opening: &StandingOpening| opening.source_head.map(|head| head.sequence);
        if self
            .openings
            .windows(2)
            .any(|pair| head(&pair[1]) < head(&pair[0]))
        {
            return Err("openings must not go back in the source chain");
        }
        Ok(())
    }
}
