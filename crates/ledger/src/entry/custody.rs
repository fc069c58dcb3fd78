//! Custody entries: what the custodian says about a registry's copies and terms.
//!
//! A kind whose fields this version has no use for is read as [`CustodyBody::Opaque`]: header, signature and JSON are checked as
//! strictly, the fields are kept as they are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Body, Chain, EntryRef, Header, unknown_kind};
use crate::signature::{PublicKey, Role};
use crate::signed_line::ReadError;
use crate::value::{CopyId, OrderId, Sequence, Sha256Digest, Term, Timestamp};

/// The most ranges of copies that one `proof` says it has read back.
pub const MAX_VERIFIED: usize = 64;
/// The most copies that one `proof` says are broken.
pub const MAX_BROKEN: usize = 64;
/// The most copies that one `expiry` names.
pub const MAX_EXPIRED: usize = 256;
/// The most openings, and the most pins, of a [`Standing`].
pub const MAX_STANDING: usize = 64;
/// The most void copies, and the most ranges of expired ones, of a [`Standing`].
pub const MAX_STANDING_COPIES: usize = 256;
/// The most characters of a pin's reason.
pub const MAX_PIN_REASON: usize = 253;

/// What a custody entry says. In JSON its fields stand beside the header's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CustodyBody {
    /// The custodian has walked the source chain up to an entry.
    Proof(ProofBody),
    /// A copy whose entry never came is given up; an entry for it first seen later does not count.
    Void(VoidBody),
    /// The registry is served from the embassy: the embassy's signer writes the next term.
    Activation(TermBody),
    /// The registry goes back home: the named signer writes the next term.
    Release(TermBody),
    /// Copies are about to be deleted.
    Expiry(ExpiryBody),
    /// A copy is to be kept whatever its age, or no longer.
    Pin(PinBody),
    /// A person vouches for a head of the source chain.
    Confirm(ConfirmBody),
    /// A kind of the format that this version has no use for.
    Opaque(OpaqueBody),
}

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
    /// The copies that do not count: at most [`MAX_STANDING_COPIES`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<CopyId>,
    /// The copies that were recorded as expired: at most [`MAX_STANDING_COPIES`] ranges, ascending and not touching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<SequenceRange>,
    /// The copies that are pinned: at most [`MAX_STANDING`], ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Sequence>,
}

/// The opening of a term, as its entry said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// An `expiry`: the objects of these copies will be deleted when their locks have ended. The entries stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpiryBody {
    /// The copies: 1 to [`MAX_EXPIRED`], ascending.
    pub copies: Vec<ExpiredCopy>,
}

/// A copy that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpiredCopy {
    /// The number of its entry in the source chain.
    pub sequence: Sequence,
    /// The copy.
    pub copy_id: CopyId,
}

/// A `pin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinBody {
    /// The copy's number in the source chain.
    pub sequence: Sequence,
    /// Whether it is kept from now on, or no longer.
    pub pinned: bool,
    /// Why: at most [`MAX_PIN_REASON`] characters, none of them a control character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A `confirm`: the chain that leads to this head is the one that a person knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmBody {
    /// The source entry that the person named.
    pub source_head: EntryRef,
}

/// A `void`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VoidBody {
    /// The copy that does not count.
    pub copy_id: CopyId,
    /// The order that this entry carries out, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
}

/// An `activation` or a `release`: the end of one term and the opening of the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TermBody {
    /// The last source entry of the term that ends; absent when there is none. Later entries of that term do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_head: Option<EntryRef>,
    /// The term that opens: the header's term + 1.
    pub next_term: Term,
    /// Who writes the source chain in the term that opens.
    pub signer: PublicKey,
    /// The order that this entry carries out, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
}

/// An entry of a kind that this version only walks past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpaqueBody {
    /// Which kind.
    #[serde(skip)]
    pub kind: OpaqueKind,
    /// Its fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// The kinds that this version only walks past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpaqueKind {
    /// A copy was restored and questioned.
    Drill,
}

impl OpaqueKind {
    const ALL: [Self; 1] = [Self::Drill];

    /// The kind, as the entry names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drill => "drill",
        }
    }
}

impl Body for CustodyBody {
    const CHAIN: Chain = Chain::Custody;
    const ROLE: Role = Role::Custody;

    fn kind(&self) -> &'static str {
        match self {
            Self::Proof(_) => "proof",
            Self::Void(_) => "void",
            Self::Activation(_) => "activation",
            Self::Release(_) => "release",
            Self::Expiry(_) => "expiry",
            Self::Pin(_) => "pin",
            Self::Confirm(_) => "confirm",
            Self::Opaque(body) => body.kind.as_str(),
        }
    }

    fn read(kind: &str, fields: Map<String, Value>) -> Result<Self, ReadError> {
        let value = Value::Object(fields);
        Ok(match kind {
            "proof" => Self::Proof(serde_json::from_value(value)?),
            "void" => Self::Void(serde_json::from_value(value)?),
            "activation" => Self::Activation(serde_json::from_value(value)?),
            "release" => Self::Release(serde_json::from_value(value)?),
            "expiry" => Self::Expiry(serde_json::from_value(value)?),
            "pin" => Self::Pin(serde_json::from_value(value)?),
            "confirm" => Self::Confirm(serde_json::from_value(value)?),
            _ => {
                let known = OpaqueKind::ALL.into_iter().find(|known| known.as_str() == kind);
                let kind = known.ok_or_else(|| unknown_kind(kind))?;
                Self::Opaque(OpaqueBody {
                    kind,
                    fields: serde_json::from_value(value)?,
                })
            }
        })
    }

    fn check(&self, header: &Header) -> Result<(), &'static str> {
        match self {
            Self::Activation(body) | Self::Release(body) if header.term.next() != Some(body.next_term) => {
                Err("nextTerm must be the entry's own term + 1")
            }
            Self::Proof(body) => body.check(),
            Self::Expiry(body) => {
                if body.copies.is_empty() || body.copies.len() > MAX_EXPIRED {
                    return Err("copies must name 1 to 256 copies");
                }
                ascending(
                    &body.copies,
                    |copy| copy.sequence,
                    "copies must ascend by sequence",
                )
            }
            Self::Pin(PinBody {
                reason: Some(reason), ..
            }) if reason.is_empty()
                || reason.chars().count() > MAX_PIN_REASON
                || reason.chars().any(char::is_control) =>
            {
                Err("reason must have 1 to 253 characters, none of them a control character")
            }
            _ => Ok(()),
        }
    }
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

    fn check(&self) -> Result<(), &'static str> {
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
        self.standing.as_ref().map_or(Ok(()), Standing::check)
    }
}

impl Standing {
    /// Whether it is small enough for an entry.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.openings.len() <= MAX_STANDING
            && self.pins.len() <= MAX_STANDING
            && self.void.len() <= MAX_STANDING_COPIES
            && self.expired.len() <= MAX_STANDING_COPIES
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.fits() {
            return Err("standing has more members than the format allows");
        }
        ascending(
            &self.openings,
            |opening| opening.next_term,
            "openings must ascend by term",
        )?;
        ascending(&self.void, |copy| *copy, "void must ascend")?;
        ascending(&self.pins, |pin| *pin, "pins must ascend")?;
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
}

fn ascending<T, K: PartialOrd>(
    list: &[T],
    key: impl Fn(&T) -> K,
    rule: &'static str,
) -> Result<(), &'static str> {
    if list.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])) {
        Ok(())
    } else {
        Err(rule)
    }
}
