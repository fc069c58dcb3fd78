//! Lines about what the copy's members hold.

use serde::{Deserialize, Serialize};

use crate::member::FileName;
use crate::row_digest::{HashSum, RowDigest};

/// A table whose rows are in the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// The id of its data in the table of contents.
    pub dump_id: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its OID at the source.
    pub oid: u32,
    /// The file of its data, as the table of contents names it.
    pub file: FileName,
    /// The statement that the table of contents loads it with, in the archive's encoding; base64 in JSON.
    #[serde(with = "super::base64_bytes")]
    pub copy_statement: Vec<u8>,
    /// The ranges it is cut into, in the order of their numbers. None: the file is one member `archive/<file>`, end-of-data line included.
    pub ranges: Vec<TableRange>,
    /// How many rows.
    pub rows: u64,
    /// How many bytes its rows have, each with its LF; the end-of-data line is not counted.
    pub bytes: u64,
    /// The sum of its rows' hashes.
    pub digest: HashSum,
}

/// One range of a table: members `parts/<file>/<range>.00000000` and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableRange {
    /// Its number.
    pub range: u32,
    /// How many members it has, numbered from 0; 0 where it holds no rows.
    pub chunks: u32,
    /// How many rows.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Table {
    /// Rows and digest together.
    #[must_use]
    pub const fn row_digest(&self) -> RowDigest {
        RowDigest {
            rows: self.rows,
            sum: self.digest,
        }
    }
}

/// A sequence and where it stood at the snapshot or later: sequences are not part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SequenceValue {
    /// The id of its value in the table of contents.
    pub dump_id: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its last value; decimal text in JSON.
    #[serde(with = "super::decimal")]
    pub last_value: i64,
    /// Whether that value has been given out.
    pub is_called: bool,
}

/// All large objects together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LargeObjects {
    /// How many.
    pub objects: u64,
    /// How many bytes they have, the zeros of sparse pages included.
    pub bytes: u64,
    /// The sum of their hashes; see [`crate::LargeObjectDigester`].
    pub digest: HashSum,
}
