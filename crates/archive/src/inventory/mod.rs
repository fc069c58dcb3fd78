//! The inventory: what a copy holds, and what it does not, as data. Sealed like a segment, in parts of whole JSON lines.
//!
//! The first line is the header, the last one the end, and between them stands one line per object, in any order. It is written and read
//! line by line: ten thousand tables do not need memory for ten thousand tables.

mod database;
mod reader;
mod role;
mod strict;
mod table;
mod writer;

use dataembassy_ledger::{CopyId, RegistryId, Timestamp};
use serde::{Deserialize, Serialize};

pub use database::{Database, Extension, LocaleProvider, NotCarried, Planner, Server, Tablespace, Warning};
pub use reader::{InventoryError, InventoryReader, PartLines};
pub use role::{Membership, Role, Setting, Settings};
pub use table::{LargeObjects, SequenceValue, Table, TableRange};
pub use writer::InventoryWriter;

/// The value of `format` in an inventory's header line.
pub const FORMAT: &str = "dataembassy-inventory/1";
/// The most bytes of one line, its LF included: 1 MiB.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// The most bytes of a sealed part: 8 MiB.
pub const MAX_PART_BYTES: u64 = 8 * 1024 * 1024;
/// The most bytes of a part before compression: 1 GiB. It bounds the work that a hostile part can cause.
pub const MAX_PLAIN_BYTES: u64 = 1024 * 1024 * 1024;

/// One line of an inventory. In JSON its `kind` stands beside its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Line {
    /// The first line: which copy this is and where it was taken from.
    Header(Box<Header>),
    /// A role that the copy names.
    Role(Box<Role>),
    /// A role's membership in another.
    Membership(Membership),
    /// Settings of a role, of the database, or of a role in the database.
    Settings(Settings),
    /// A tablespace that the copy names.
    Tablespace(Tablespace),
    /// An installed extension.
    Extension(Extension),
    /// A table whose rows are in the copy.
    Table(Box<Table>),
    /// A sequence and where it stood.
    Sequence(SequenceValue),
    /// All large objects together; absent where there are none.
    LargeObjects(LargeObjects),
    /// Something that the copy does not carry.
    NotCarried(NotCarried),
    /// Something that the planner said and nobody knew.
    Warning(Warning),
    /// The last line, written by [`InventoryWriter::finish`].
    End(End),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The registry.
    pub registry: RegistryId,
    /// The copy.
    pub copy_id: CopyId,
    /// The moment whose image the copy is, as in its entry.
    pub taken_at: Timestamp,
    /// The server it was taken from.
    pub server: Server,
    /// The database it was taken from.
    pub database: Database,
    /// The program that planned the dump, and its plan.
    pub planner: Planner,
}

/// The last line: sums over the lines between header and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    /// How many lines stand before this one, the header included.
    pub lines: u64,
    /// How many tables.
    pub tables: u64,
    /// The sum of their rows.
    pub rows: u64,
    /// The sum of their bytes.
    pub bytes: u64,
}

impl End {
    /// Takes a line into the sums.
    fn count(&mut self, line: &Line) {
        self.lines += 1;
        if let Line::Table(table) = line {
            self.tables += 1;
            self.rows = self.rows.saturating_add(table.rows);
            self.bytes = self.bytes.saturating_add(table.bytes);
        }
    }
}

/// Integers that may pass 2^53 are written as decimal text.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(super) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number: i64 = text.parse().map_err(serde::de::Error::custom)?;
        if number.to_string() == text {
            return Ok(number);
        }
        Err(serde::de::Error::custom(
            "a decimal number must be in its shortest form",
        ))
    }
}

/// Bytes that need not be UTF-8 are written as standard base64.
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD
            .decode(String::deserialize(deserializer)?)
            .map_err(serde::de::Error::custom)
    }
}
