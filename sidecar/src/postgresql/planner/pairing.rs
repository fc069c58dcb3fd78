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

#[cfg(test)]
mod tests {
    use dataembassy_ledger::Sha256Digest;

    use super::*;
    use crate::postgresql::toc::Section;

    fn entry(dump_id: u32, schema: &str, table: &str) -> TocEntry {
        TocEntry {
            dump_id,
            has_data: true,
            oid: 16_000 + dump_id,
            tag: table.into(),
            description: "TABLE DATA".into(),
            section: Section::Data,
            copy_statement: Some(format!("COPY {schema}.{table} (a, b) FROM stdin;\n").into()),
            namespace: Some(schema.into()),
            owner: None,
            dependencies: Vec::new(),
            file: Some(format!("{dump_id}.dat")),
            definition: None,
            not_valid: false,
        }
    }

    fn toc(entries: Vec<TocEntry>) -> Toc {
        Toc {
            server_version: "17.12".into(),
            program_version: "17.12".into(),
            encoding: "UTF8".into(),
            entries,
            schema_digest: Sha256Digest::of(b"schema"),
        }
    }

    /// Pairs two tables with these statements.
    fn paired(change: impl FnOnce(&mut Vec<TocEntry>), copies: &[&str]) -> Result<Vec<u32>, String> {
        let mut entries = vec![entry(7, "public", "person"), entry(9, "public", "house")];
        change(&mut entries);
        let copies = copies.iter().map(|copy| copy.as_bytes().to_vec()).collect();
        let tables = pair(&toc(entries), copies).map_err(|error| error.to_string())?;
        Ok(tables.iter().map(|table| table.dump_id).collect())
    }

    const PERSON: &str = "COPY public.person (a, b) TO stdout;";
    const HOUSE: &str = "COPY public.house (a, b) TO stdout;";

    #[test]
    fn the_nth_statement_belongs_to_the_nth_entry_with_rows() {
        let comment = |entries: &mut Vec<TocEntry>| {
            let mut comment = entry(8, "public", "person");
            comment.has_data = false;
            entries.insert(1, comment);
        };
        assert_eq!(paired(comment, &[PERSON, HOUSE]), Ok(vec![7, 9]));
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let as_it_is = |_: &mut Vec<TocEntry>| {};
        for (copies, told) in [
            (&[PERSON][..], "2 tables with rows, 1 statements"),
            (&[PERSON, HOUSE, HOUSE], "2 tables with rows, 3 statements"),
            (&[HOUSE, PERSON], "they name different tables"),
            (
                &[PERSON, "COPY public.house (b, a) TO stdout;"],
                "they name different columns",
            ),
            (
                &[PERSON, "COPY public.house (a, b) TO '/tmp/x';"],
                "of no known form",
            ),
        ] {
            let refused = paired(as_it_is, copies).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        let same_file = |entries: &mut Vec<TocEntry>| entries[1].file = Some("7.dat".into());
        assert!(
            paired(same_file, &[PERSON, HOUSE])
                .unwrap_err()
                .contains("named twice")
        );
        let no_statement = |entries: &mut Vec<TocEntry>| entries[1].copy_statement = None;
        assert!(
            paired(no_statement, &[PERSON, HOUSE])
                .unwrap_err()
                .contains("no statement")
        );
    }
}
