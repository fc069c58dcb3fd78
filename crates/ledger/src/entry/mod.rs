//! Entries of the two chains: what they say, how they are written and read. Whether one counts is the chain's question.

mod custody;
mod drill;
mod forms;
mod proof;
mod report;
mod source;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use custody::{
    ConfirmBody, CustodyBody, ExpiredCopy, ExpiryBody, MAX_EXPIRED, MAX_PIN_REASON, MAX_VOID, PinBody,
    TermBody, VoidBody,
};
pub use drill::{DrillBody, StandingDrill};
pub use forms::{MAX_REPORT_BYTES, ReportForms, ReportRef};
pub use proof::{
    BrokenCopy, CopyFault, IntactCopy, MAX_BROKEN, MAX_STANDING, MAX_STANDING_COPIES, MAX_STANDING_DRILLS,
    MAX_STANDING_RANGES, MAX_STANDING_REPORTS, MAX_VERIFIED, OpeningKind, ProofBody, SequenceRange, Standing,
    StandingOpening, VerificationProgress, VerifiedRange,
};
pub use report::{ReportBody, ReportOutcome, StandingReport};
pub use source::{
    CopyBody, CopyTotals, Engine, MAX_COPY_KEY_LENGTH, MAX_PARENTS, MAX_PARTS, MAX_RECIPIENTS, PartRef,
    SourceBody, SourceIdentity,
};

pub use crate::signed_line::{MAX_OBJECT_BYTES, ReadError, SignedObject, WriteError};

use crate::FORMAT;
use crate::key::ObjectKey;
use crate::signature::{PublicKey, Role, SigningKey};
use crate::signed_line;
use crate::value::{RegistryId, Sequence, Sha256Digest, StoreId, Term, Timestamp};

/// One of a registry's two chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Written by whoever holds the registry in the current term.
    Source,
    /// Written by the custodian.
    Custody,
}

impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Source => "source",
            Self::Custody => "custody",
        })
    }
}

/// What every entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store it was written for.
    pub store_id: StoreId,
    /// The registry it is about.
    pub registry: RegistryId,
    /// Its place in its chain.
    pub sequence: Sequence,
    /// The SHA-256 of the whole object before it in its chain; for the first one, of `embassy.json`.
    pub prev: Sha256Digest,
    /// The term in force when it was written. An entry that opens a term is written in the one before.
    pub term: Term,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
}

/// A place in a chain and the object that stands there: enough to find it and to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryRef {
    /// The place.
    pub sequence: Sequence,
    /// The SHA-256 of the whole object.
    pub digest: Sha256Digest,
}

/// An entry, as its writer means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<B> {
    /// What every entry says.
    pub header: Header,
    /// What an entry of its kind says.
    pub body: B,
}

/// An entry of the source chain.
pub type SourceEntry = Entry<SourceBody>;
/// An entry of the custody chain.
pub type CustodyEntry = Entry<CustodyBody>;

/// An entry read from a store, its signature right. Whether its signer has authority is the chain's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEntry<B> {
    /// What it says.
    pub entry: Entry<B>,
    /// Whose signature it bears.
    pub signer: PublicKey,
    /// The SHA-256 of the whole object.
    pub digest: Sha256Digest,
}

/// An object whose signature is right, as far as this version can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose signature it bears.
    pub signer: PublicKey,
    /// What it says of its place; none where not even that can be read.
    pub header: Option<Header>,
}

/// The content of a chain's entries. Implemented for [`SourceBody`] and [`CustodyBody`] only.
pub trait Body: Sized + Serialize + Clone {
    /// The chain.
    const CHAIN: Chain;
    /// What its signers sign for.
    const ROLE: Role;

    /// The kind, as the entry names it.
    fn kind(&self) -> &'static str;

    /// Reads the fields that are not the header's.
    fn read(kind: &str, fields: Map<String, Value>) -> Result<Self, ReadError>;

    /// Checks what JSON types cannot say; the message names the broken rule.
    fn check(&self, header: &Header) -> Result<(), &'static str>;
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineToWrite<'a, B: Serialize> {
    format: &'static str,
    store_id: StoreId,
    registry: &'a RegistryId,
    chain: Chain,
    sequence: Sequence,
    prev: Sha256Digest,
    kind: &'static str,
    term: Term,
    at: Timestamp,
    #[serde(flatten)]
    body: &'a B,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderLine {
    format: String,
    store_id: StoreId,
    registry: RegistryId,
    chain: Chain,
    sequence: Sequence,
    prev: Sha256Digest,
    kind: String,
    term: Term,
    at: Timestamp,
}

const HEADER_FIELDS: [&str; 9] = [
    "format", "storeId", "registry", "chain", "sequence", "prev", "kind", "term", "at",
];

impl<B: Body> Entry<B> {
    /// Writes and signs the entry.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedObject, WriteError> {
        self.body.check(&self.header).map_err(WriteError::BrokenRule)?;
        let header = &self.header;
        let line = LineToWrite {
            format: FORMAT,
            store_id: header.store_id,
            registry: &header.registry,
            chain: B::CHAIN,
            sequence: header.sequence,
            prev: header.prev,
            kind: self.body.kind(),
            term: header.term,
            at: header.at,
            body: &self.body,
        };
        signed_line::write(&line, B::ROLE, key)
    }

    /// The key under which the entry is stored.
    #[must_use]
    pub fn object_key(&self) -> ObjectKey {
        let registry = self.header.registry.clone();
        match B::CHAIN {
            Chain::Source => ObjectKey::Source {
                registry,
                term: self.header.term,
                sequence: self.header.sequence,
            },
            Chain::Custody => ObjectKey::Custody {
                registry,
                sequence: self.header.sequence,
            },
        }
    }

    /// Reads an object and checks size, signature, JSON, header and the rules of its kind, in this order.
    pub fn verify(object: &[u8]) -> Result<VerifiedEntry<B>, ReadError> {
        let verified = signed_line::read(object, B::ROLE)?;
        let mut fields = verified.fields?;
        let (kind, header) = read_header::<B>(&mut fields)?;
        let body = B::read(&kind, fields)?;
        body.check(&header).map_err(ReadError::BrokenRule)?;
        Ok(VerifiedEntry {
            entry: Self { header, body },
            signer: verified.signer,
            digest: verified.digest,
        })
    }

    /// What can be told of an object that may be no entry of this version; none where nobody has signed it for this chain.
    #[must_use]
    pub fn signed(object: &[u8]) -> Option<Signed> {
        let verified = signed_line::read(object, B::ROLE).ok()?;
        let header = verified.fields.ok().and_then(|mut fields| {
            let (_, header) = read_header::<B>(&mut fields).ok()?;
            Some(header)
        });
        Some(Signed {
            signer: verified.signer,
            header,
        })
    }
}

/// Takes the header's fields out of a line: the kind that it names, and the header.
fn read_header<B: Body>(fields: &mut Map<String, Value>) -> Result<(String, Header), ReadError> {
    let header: Map<String, Value> = HEADER_FIELDS
        .iter()
        .filter_map(|name| fields.remove_entry(*name))
        .collect();
    let line: HeaderLine = serde_json::from_value(Value::Object(header))?;
    if line.format != FORMAT {
        return Err(ReadError::BrokenRule("format must be dataembassy/1"));
    }
    if line.chain != B::CHAIN {
        return Err(ReadError::BrokenRule(
            "chain must be the one under whose key the entry is stored",
        ));
    }
    let header = Header {
        store_id: line.store_id,
        registry: line.registry,
        sequence: line.sequence,
        prev: line.prev,
        term: line.term,
        at: line.at,
    };
    Ok((line.kind, header))
}

impl<B> VerifiedEntry<B> {
    /// Its place and digest.
    #[must_use]
    pub const fn reference(&self) -> EntryRef {
        EntryRef {
            sequence: self.entry.header.sequence,
            digest: self.digest,
        }
    }
}

/// The kind cut short, for an error message about text of any length.
fn unknown_kind(kind: &str) -> ReadError {
    ReadError::UnknownKind {
        kind: kind.chars().take(64).collect(),
    }
}
