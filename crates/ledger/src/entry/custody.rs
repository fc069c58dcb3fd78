//! Custody entries: what the custodian says about a registry's copies and terms.
//!
//! This version writes none and follows the chain to know who may write the source chain. Kinds whose fields it has no use for are read as
//! [`CustodyBody::Opaque`]: header, signature and JSON are checked as strictly, the fields are kept as they are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Body, Chain, EntryRef, Header, unknown_kind};
use crate::signature::{PublicKey, Role};
use crate::signed_line::ReadError;
use crate::value::{CopyId, OrderId, Term};

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
    /// A kind of the format that this version has no use for.
    Opaque(OpaqueBody),
}

/// A `proof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofBody {
    /// The head of the source chain as the custodian found it.
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
    /// Copies are about to be deleted.
    Expiry,
    /// A copy is to be kept.
    Pin,
    /// A person confirmed something the custodian had asked.
    Confirm,
}

impl OpaqueKind {
    const ALL: [Self; 4] = [Self::Drill, Self::Expiry, Self::Pin, Self::Confirm];

    /// The kind, as the entry names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Expiry => "expiry",
            Self::Pin => "pin",
            Self::Confirm => "confirm",
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
            _ => Ok(()),
        }
    }
}
