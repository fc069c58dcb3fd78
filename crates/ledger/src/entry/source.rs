//! The one kind of source entry: a copy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Body, Chain, EntryRef, Header, unknown_kind};
use crate::key::CopyObject;
use crate::manifest;
use crate::signature::Role;
use crate::signed_line::ReadError;
use crate::value::{
    CopyId, DatabaseVersion, Recipient, Sha256Digest, SystemIdentifier, Timestamp, Trigger, VersionId,
};

/// The most recipients a copy may be sealed to.
pub const MAX_RECIPIENTS: usize = 16;
/// The most parts a manifest or an inventory may have.
pub const MAX_PARTS: usize = 64;
/// The most entries a copy may name as parents.
pub const MAX_PARENTS: usize = 16;
/// The longest `copyKey`, in base64 characters.
pub const MAX_COPY_KEY_LENGTH: usize = 48 * 1024;

/// What a source entry says. In JSON its fields stand beside the header's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SourceBody {
    /// A copy exists.
    Copy(Box<CopyBody>),
}

/// A committed copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyBody {
    /// The copy's id, which its objects have in their keys.
    pub copy_id: CopyId,
    /// When the run began, by the sidecar's clock.
    pub started_at: Timestamp,
    /// The moment whose image the copy is: `transaction_timestamp()` of the snapshot's leader, by the source's clock.
    pub taken_at: Timestamp,
    /// The scheduled time that the copy answers, if it answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
    /// The trigger that the copy answers, if it answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The database it was taken from.
    pub source: SourceIdentity,
    /// The age public keys that `copy_key` is sealed to: 1 to [`MAX_RECIPIENTS`], none twice.
    pub recipients: Vec<Recipient>,
    /// The copy's own age identity, sealed to the recipients: standard base64, on one line, of a binary age file.
    pub copy_key: String,
    /// The parts of the manifest, in order: 1 to [`MAX_PARTS`].
    pub manifest: Vec<PartRef>,
    /// The parts of the inventory, in order: 1 to [`MAX_PARTS`].
    pub inventory: Vec<PartRef>,
    /// Sums over all segments.
    pub totals: CopyTotals,
    /// Entries whose objects this copy needs as well; none for a full copy.
    pub parents: Vec<EntryRef>,
    /// The head of the custody chain that the writer had read; absent while that chain is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody_head: Option<EntryRef>,
}

/// Which database a copy was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceIdentity {
    /// The kind of database.
    pub engine: Engine,
    /// The server's version as it reports it.
    pub version: DatabaseVersion,
    /// What tells the server from every other.
    pub system_identifier: SystemIdentifier,
    /// The database's OID on that server.
    pub database_oid: u32,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL.
    Postgresql,
}

/// One object of a manifest or an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRef {
    /// The last component of its key.
    pub name: CopyObject,
    /// The version the store gave it.
    pub version: VersionId,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
}

/// Sums over the segments of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyTotals {
    /// How many there are: at least 1.
    pub segments: u64,
    /// The sum of their sizes as stored, in bytes.
    pub sealed_bytes: u64,
}

impl Body for SourceBody {
    const CHAIN: Chain = Chain::Source;
    const ROLE: Role = Role::Source;

    fn kind(&self) -> &'static str {
        match self {
            Self::Copy(_) => "copy",
        }
    }

    fn read(kind: &str, fields: Map<String, Value>) -> Result<Self, ReadError> {
        match kind {
            "copy" => Ok(Self::Copy(Box::new(serde_json::from_value(Value::Object(
                fields,
            ))?))),
            _ => Err(unknown_kind(kind)),
        }
    }

    fn check(&self, header: &Header) -> Result<(), &'static str> {
        let Self::Copy(copy) = self;
        copy.check(header)
    }
}

impl CopyBody {
    fn check(&self, header: &Header) -> Result<(), &'static str> {
        if self.recipients.is_empty() || self.recipients.len() > MAX_RECIPIENTS {
            return Err("a copy must have 1 to 16 recipients");
        }
        if self
            .recipients
            .iter()
            .enumerate()
            .any(|(index, one)| self.recipients[..index].contains(one))
        {
            return Err("a copy must not name a recipient twice");
        }
        if self.copy_key.is_empty() || self.copy_key.len() > MAX_COPY_KEY_LENGTH {
            return Err("copyKey must have 1 to 49152 characters");
        }
        if STANDARD.decode(&self.copy_key).is_err() {
            return Err("copyKey must be standard base64 with padding, on one line");
        }
        check_parts(&self.manifest, |name| matches!(name, CopyObject::Manifest(_)))?;
        check_parts(&self.inventory, |name| matches!(name, CopyObject::Inventory(_)))?;
        let mut parts = self.manifest.iter().chain(&self.inventory);
        if parts.any(|part| part.size > manifest::MAX_PART_BYTES as u64) {
            return Err("a manifest or inventory part must have at most 8 MiB");
        }
        if self.totals.segments == 0 {
            return Err("a copy must have at least one segment");
        }
        if self.parents.len() > MAX_PARENTS {
            return Err("a copy must have at most 16 parents");
        }
        if self
            .parents
            .iter()
            .any(|parent| parent.sequence >= header.sequence)
        {
            return Err("a copy's parents must be earlier entries");
        }
        Ok(())
    }
}

fn check_parts(parts: &[PartRef], belongs: impl Fn(&CopyObject) -> bool) -> Result<(), &'static str> {
    if parts.is_empty() || parts.len() > MAX_PARTS {
        return Err("a copy must have 1 to 64 manifest parts and 1 to 64 inventory parts");
    }
    if !parts.iter().all(|part| belongs(&part.name)) {
        return Err("manifest parts must be named manifest-<n> and inventory parts inventory-<n>");
    }
    // Numbers need not ascend: a part put without an answer is put again under the next free number.
    if parts
        .iter()
        .enumerate()
        .any(|(index, part)| parts[..index].iter().any(|other| other.name == part.name))
    {
        return Err("a copy must not name a part twice");
    }
    if parts.iter().any(|part| part.size == 0) {
        return Err("a part must not be empty");
    }
    Ok(())
}
