//! One table: what the inventory promises, and what has arrived.

use std::collections::BTreeMap;

use bytes::Bytes;
use dataembassy_archive::{
    FileName, Member, RowDigest,
    inventory::{Table, TableRange},
    member::TABLE_END,
};

use super::{Complete, LoadError};
use crate::{
    postgresql::toc::{Toc, TocEntry},
    restore::selection,
};

/// Bytes of the archive from which a table is worth telling of before the others are loaded.
const LARGE: u64 = 8 * 1024 * 1024;

/// A table whose rows are loaded.
#[derive(Clone, Debug)]
pub struct TableLoad {
    /// Schema and name, for messages.
    pub name: String,
    /// The statement that loads it.
    pub statement: Bytes,
    /// What the statement loads into, as it is written there.
    pub into: Bytes,
    /// Whether that is a partition root, which sends rows where they belong now.
    pub through_root: bool,
    promised: RowDigest,
    promised_bytes: u64,
    ranges: BTreeMap<u32, Arrived>,
    whole: bool,
    ended: bool,
    bytes: u64,
    loaded: RowDigest,
    untold: Option<Complete>,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    range: TableRange,
    chunks: u32,
}

/// What came of one table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableResult {
    /// Schema and name.
    pub name: String,
    /// Rows loaded.
    pub rows: u64,
    /// Their bytes in the archive.
    pub bytes: u64,
    /// Their digest, equal to the inventory's.
    pub digest: String,
}

/// Where a member stands in its table.
pub(super) enum Arrival {
    /// The end-of-data line: nothing to load.
    End,
    /// The whole file's rows.
    Whole(Bytes),
    /// Rows of a range; `last` where it was the range's last member.
    Rows { range: u32, body: Bytes, last: bool },
}

/// Pairs the inventory's tables with the entries of the table of contents, one to one.
pub fn plan_tables(
    toc: &Toc,
    tables: BTreeMap<FileName, Table>,
) -> Result<BTreeMap<FileName, TableLoad>, LoadError> {
    let mut left = tables;
    let mut planned = BTreeMap::new();
    for entry in toc
        .entries
        .iter()
        .filter(|entry| entry.description == "TABLE DATA")
    {
        let name = selection::name(entry);
        let file: Option<FileName> = entry.file.as_deref().and_then(|file| file.parse().ok());
        let table = file.as_ref().and_then(|file| left.remove(file));
        let (Some(file), Some(table)) = (file, table) else {
            return Err(LoadError::Disagreement(format!(
                "{name}, which the inventory does not have"
            )));
        };
        planned.insert(file, TableLoad::pair(entry, &table, name)?);
    }
    match left.into_values().next() {
        None => Ok(planned),
        Some(table) => Err(LoadError::Disagreement(format!(
            "{}.{}, which the table of contents does not have",
            table.schema, table.name
        ))),
    }
}

impl TableLoad {
    fn pair(entry: &TocEntry, table: &Table, name: String) -> Result<Self, LoadError> {
        let disagreement = |what: &str| LoadError::Disagreement(format!("{what} of {name}"));
        let statement = entry.copy_statement.as_deref().unwrap_or_default();
        if table.dump_id != entry.dump_id {
            return Err(disagreement("the dump id"));
        }
        if table.copy_statement.trim_ascii() != statement.trim_ascii() {
            return Err(disagreement("the statement"));
        }
        let into = loaded_relation(statement).ok_or_else(|| disagreement("the statement, no COPY,"))?;
        let remark = entry.definition.as_deref().unwrap_or_default();
        let ranges = table.ranges.iter();
        Ok(Self {
            statement: Bytes::copy_from_slice(statement),
            into: Bytes::copy_from_slice(into),
            through_root: remark.starts_with(b"-- load via partition root"),
            promised: table.row_digest(),
            promised_bytes: table.bytes,
            ranges: ranges
                .map(|range| {
                    let (range, chunks) = (*range, 0);
                    (range.range, Arrived { range, chunks })
                })
                .collect(),
            whole: table.ranges.is_empty(),
            ended: false,
            bytes: 0,
            loaded: RowDigest::default(),
            untold: (table.bytes >= LARGE).then(|| Complete {
                name: name.clone(),
                rows: table.rows,
            }),
            name,
        })
    }

    /// Takes a member in; tells what to load of it.
    pub(super) fn arrive(&mut self, member: Member) -> Result<Arrival, LoadError> {
        let out_of_place = |why| LoadError::OutOfPlace {
            member: member.name.to_string(),
            why,
        };
        if self.ended && (self.whole || member.name.is_table_end()) {
            return Err(out_of_place("its table has ended"));
        }
        let Some((range, chunk)) = member.name.place() else {
            if !self.whole {
                return Err(out_of_place("its table is cut into ranges"));
            }
            let rows = member.body.strip_suffix(TABLE_END).map(<[u8]>::len);
            let rows = rows.ok_or_else(|| out_of_place("it does not end with an end-of-data line"))?;
            self.ended = true;
            self.bytes = rows as u64;
            return Ok(Arrival::Whole(member.body.slice(..rows)));
        };
        if member.name.is_table_end() {
            self.ended = true;
            return Ok(Arrival::End);
        }
        let arrived = self
            .ranges
            .get_mut(&range)
            .ok_or_else(|| out_of_place("the inventory has no such range"))?;
        if chunk != arrived.chunks || chunk >= arrived.range.chunks {
            return Err(out_of_place("it is not the next one of its range"));
        }
        arrived.chunks += 1;
        self.bytes += member.body.len() as u64;
        Ok(Arrival::Rows {
            range,
            body: member.body,
            last: arrived.chunks == arrived.range.chunks,
        })
    }

    /// Counts rows that the server has loaded.
    pub(super) fn count(&mut self, piece: RowDigest) {
        self.loaded.add(piece);
    }

    /// What to tell, once, as soon as the server has all rows of a large table.
    pub(super) fn complete(&mut self) -> Option<Complete> {
        if self.loaded == self.promised {
            self.untold.take()
        } else {
            None
        }
    }

    /// Compares what was loaded with what was promised.
    pub(super) fn finish(&self) -> Result<TableResult, LoadError> {
        let wrong = |why: String| LoadError::WrongRows {
            table: self.name.clone(),
            why,
        };
        if !self.ended {
            return Err(wrong("its end-of-data line is missing".into()));
        }
        let incomplete = |arrived: &&Arrived| arrived.chunks != arrived.range.chunks;
        if let Some(Arrived { range, chunks }) = self.ranges.values().find(incomplete) {
            return Err(wrong(format!(
                "range {} has {chunks} of {} members",
                range.range, range.chunks
            )));
        }
        if self.loaded.rows != self.promised.rows {
            return Err(wrong(format!(
                "{} rows instead of {}",
                self.loaded.rows, self.promised.rows
            )));
        }
        if self.loaded != self.promised || self.bytes != self.promised_bytes {
            return Err(wrong("their digest or size differs".into()));
        }
        Ok(TableResult {
            name: self.name.clone(),
            rows: self.loaded.rows,
            bytes: self.bytes,
            digest: self.loaded.sum.to_string(),
        })
    }
}

/// The relation in `COPY <relation> [(columns)] FROM stdin`, which may be quoted and hold anything.
fn loaded_relation(statement: &[u8]) -> Option<&[u8]> {
    let rest = statement.trim_ascii().strip_prefix(b"COPY ")?;
    let mut quoted = false;
    let end = rest.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b' ' && !quoted
    })?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relation_of_a_copy_statement_may_hold_spaces_quotes_and_line_feeds() {
        for (statement, relation) in [
            (&b"COPY public.x (a, b) FROM stdin;\n"[..], &b"public.x"[..]),
            (b"COPY public.nothing  FROM stdin;\n", b"public.nothing"),
            (
                b"COPY \"DA TA\".\"we\"\"ird\nname (\" (\"a b\") FROM stdin;\n",
                b"\"DA TA\".\"we\"\"ird\nname (\"",
            ),
        ] {
            assert_eq!(loaded_relation(statement), Some(relation));
        }
        assert_eq!(loaded_relation(b"DROP TABLE x"), None);
    }
}
