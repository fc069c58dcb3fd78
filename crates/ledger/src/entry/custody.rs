//! Custody entries: what the custodian says about a registry's copies and terms.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::drill::DrillBody;
use super::proof::ProofBody;
use super::report::ReportBody;
use super::{Body, Chain, EntryRef, Header, unknown_kind};
use crate::activation::Warrant;
use crate::signature::{PublicKey, Role};
use crate::signed_line::ReadError;
use crate::value::{CopyId, OrderId, Sequence, Term};

/// The most copies that one `expiry` names.
pub const MAX_EXPIRED: usize = 256;
/// The most copies that one `void` names.
pub const MAX_VOID: usize = 256;
/// The most characters of a pin's reason.
pub const MAX_PIN_REASON: usize = 253;

/// What a custody entry says. In JSON its fields stand beside the header's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CustodyBody {
    /// The custodian has walked the source chain up to an entry.
    Proof(ProofBody),
    /// Copies whose entries never came are given up; an entry for one of them first seen later does not count.
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
    /// A copy was restored and questioned.
    Drill(DrillBody),
    /// An order of people was carried out, or could not be.
    Report(ReportBody),
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
    /// The copy's number in the source chain. (`sequence` is the pin's own number in the custody chain.)
    pub source_sequence: Sequence,
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

/// A `void`. It names many copies at once, so that a flood of objects that nobody commits does not become a flood of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VoidBody {
    /// The copies that do not count: 1 to [`MAX_VOID`], ascending.
    pub copies: Vec<CopyId>,
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
    /// Who ordered it: home believes no activation without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warrant: Option<Warrant>,
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
            Self::Drill(_) => "drill",
            Self::Report(_) => "report",
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
            "drill" => Self::Drill(serde_json::from_value(value)?),
            "report" => Self::Report(serde_json::from_value(value)?),
            _ => return Err(unknown_kind(kind)),
        })
    }

    fn check(&self, header: &Header) -> Result<(), &'static str> {
        match self {
            Self::Activation(body) | Self::Release(body) if header.term.next() != Some(body.next_term) => {
                Err("nextTerm must be the entry's own term + 1")
            }
            Self::Activation(body) | Self::Release(body) => {
                body.warrant.as_ref().map_or(Ok(()), Warrant::check)
            }
            Self::Proof(body) => body.check(header),
            Self::Drill(body) => body.check(),
            Self::Report(body) => body.check(),
            Self::Void(body) => {
                if body.copies.is_empty() || body.copies.len() > MAX_VOID {
                    return Err("copies must name 1 to 256 copies");
                }
                ascending(&body.copies, |copy| *copy, "copies must ascend")
            }
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

/// Whether each member's key is greater than the one before; else the broken rule.
pub(super) fn ascending<T, K: PartialOrd>(
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
