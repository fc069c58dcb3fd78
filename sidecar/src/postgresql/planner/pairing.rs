//! Which statement belongs to which entry of the table of contents.

use std::collections::HashSet;

use super::{CapturedCopy, PlannerError};
use crate::postgresql::toc::{Toc, TocEntry};

/// A table whose rows are to be copied.
#[derive(Clone, Debug)]
pub struct PlannedTable {
    /// The dump id of its data.
    pub dump_id: u32,
    /// Its OID.
    pub oid: u32,
    /// Its schema, in the archive's encoding.
    pub schema: Vec<u8>,
    /// Its name, in the archive's encoding.
    pub name: Vec<u8>,
    /// The file of its data.
    pub file: String,
    /// What `pg_dump` would have copied.
    pub copy: CapturedCopy,
    /// The statement that loads it.
    pub load: Vec<u8>,
}

/// `pg_dump` copies in the order of its table of contents, so the n-th statement belongs to the n-th entry with rows.
pub(super) fn pair(toc: &Toc, copies: Vec<Vec<u8>>) -> Result<Vec<PlannedTable>, PlannerError> {
    let entries: Vec<&TocEntry> = toc
        .entries
        .iter()
        .filter(|entry| entry.has_data && entry.description == "TABLE DATA")
        .collect();
    if entries.len() != copies.len() {
        return Err(PlannerError::Unpaired(format!(
            "{} tables with rows, {} statements",
            entries.len(),
            copies.len()
        )));
    }
    let mut files = HashSet::new();
    let mut tables = Vec::with_capacity(entries.len());
    for (entry, statement) in entries.into_iter().zip(copies) {
        let unpaired = |what: &str| {
            let statement = String::from_utf8_lossy(&statement).into_owned();
            PlannerError::Unpaired(format!("entry {} and {statement:?}: {what}", entry.dump_id))
        };
        let copy =
            CapturedCopy::parse(&statement).ok_or_else(|| unpaired("the statement is of no known form"))?;
        let schema = entry
            .namespace
            .clone()
            .ok_or_else(|| unpaired("the entry has no schema"))?;
        let load = entry
            .copy_statement
            .clone()
            .ok_or_else(|| unpaired("the entry has no statement"))?;
        let file = entry
            .file
            .clone()
            .ok_or_else(|| unpaired("the entry has no file"))?;
        if let CapturedCopy::Table {
            schema: copied_schema,
            table,
            columns,
        } = &copy
        {
            if (copied_schema, table) != (&schema, &entry.tag) {
                return Err(unpaired("they name different tables"));
            }
            // The statement that loads may name the partition's root, but never other columns.
            if !contains(&load, columns) {
                return Err(unpaired("they name different columns"));
            }
        }
        if !files.insert(file.clone()) {
            return Err(unpaired("the file is named twice"));
        }
        tables.push(PlannedTable {
            dump_id: entry.dump_id,
            oid: entry.oid,
            schema,
            name: entry.tag.clone(),
            file,
            copy,
            load,
        });
    }
    Ok(tables)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
