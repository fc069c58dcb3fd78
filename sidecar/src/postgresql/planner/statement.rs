//! The COPY statements that `pg_dump` meant to run, taken apart as far as cutting a table into ranges needs it.

/// What `pg_dump` would have copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CapturedCopy {
    /// `COPY schema.table (columns) TO stdout;`: a table as it stands.
    Table {
        /// The schema's name, without quotes.
        schema: Vec<u8>,
        /// The table's name, without quotes.
        table: Vec<u8>,
        /// The columns as written, without the parentheses; empty for a table without columns.
        columns: Vec<u8>,
    },
    /// `COPY (SELECT …) TO stdout;`: a part of a table, such as the rows of a configuration table that are not its
    /// extension's own.
    Query {
        /// The query.
        query: Vec<u8>,
    },
}

impl CapturedCopy {
    /// Whether a statement means to copy anything.
    #[must_use]
    pub fn is_copy(statement: &[u8]) -> bool {
        let statement = statement.trim_ascii_start();
        statement
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"COPY"))
            && !statement
                .get(4)
                .is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_')
    }

    /// Takes a statement apart; none where it is not of the two forms that `pg_dump` writes.
    #[must_use]
    pub fn parse(statement: &[u8]) -> Option<Self> {
        let inner = statement
            .trim_ascii_end()
            .strip_suffix(b" TO stdout;")?
            .strip_prefix(b"COPY ")?;
        if let Some(query) = inner.strip_prefix(b"(") {
            return Some(Self::Query {
                query: query.strip_suffix(b")")?.trim_ascii_end().to_vec(),
            });
        }
        let (schema, rest) = name(inner)?;
        let (table, rest) = name(rest.strip_prefix(b".")?)?;
        let rest = rest.trim_ascii();
        let columns = if rest.is_empty() {
            &[]
        } else {
            rest.strip_prefix(b"(")?.strip_suffix(b")")?
        };
        Some(Self::Table {
            schema,
            table,
            columns: columns.to_vec(),
        })
    }

    /// The statement that copies all of it.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        match self {
            Self::Table {
                schema,
                table,
                columns,
            } => {
                let relation = qualified(schema, table);
                if columns.is_empty() {
                    [b"COPY ", relation.as_slice(), b" TO stdout"].concat()
                } else {
                    [b"COPY ", relation.as_slice(), b" (", columns, b") TO stdout"].concat()
                }
            }
            Self::Query { query } => [b"COPY (", query.as_slice(), b") TO stdout"].concat(),
        }
    }

    /// The query for its rows within some pages of the heap; none where it cannot be cut.
    #[must_use]
    pub fn pages(&self, first: u64, end: Option<u64>) -> Option<Vec<u8>> {
        let Self::Table {
            schema,
            table,
            columns,
        } = self
        else {
            return None;
        };
        if columns.is_empty() {
            return None;
        }
        let relation = qualified(schema, table);
        // ONLY: children of the table have statements of their own.
        let mut query = [b"SELECT ", columns.as_slice(), b" FROM ONLY ", &relation].concat();
        query.extend_from_slice(format!(" WHERE ctid >= '({first},0)'::pg_catalog.tid").as_bytes());
        if let Some(end) = end {
            query.extend_from_slice(format!(" AND ctid < '({end},0)'::pg_catalog.tid").as_bytes());
        }
        Some(query)
    }

    /// A query that says whether there is any row to copy.
    #[must_use]
    pub fn has_rows(&self) -> Vec<u8> {
        match self {
            Self::Table { schema, table, .. } => [
                b"SELECT EXISTS (SELECT FROM ONLY ",
                qualified(schema, table).as_slice(),
                b")",
            ]
            .concat(),
            Self::Query { query } => [b"SELECT EXISTS (", query.as_slice(), b")"].concat(),
        }
    }
}

/// A schema and a name as a quoted, qualified name.
#[must_use]
pub fn qualified(schema: &[u8], name: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(schema.len() + name.len() + 5);
    quote(schema, &mut quoted);
    quoted.push(b'.');
    quote(name, &mut quoted);
    quoted
}

fn quote(name: &[u8], quoted: &mut Vec<u8>) {
    quoted.push(b'"');
    for byte in name {
        if *byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
}

/// One name, quoted or not, and what follows it. Server encodings never use an ASCII byte inside a longer character,
/// so looking at bytes is enough.
fn name(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if let Some(mut rest) = text.strip_prefix(b"\"") {
        let mut name = Vec::new();
        loop {
            match rest {
                [b'"', b'"', after @ ..] => {
                    name.push(b'"');
                    rest = after;
                }
                [b'"', after @ ..] => return Some((name, after)),
                [byte, after @ ..] => {
                    name.push(*byte);
                    rest = after;
                }
                [] => return None,
            }
        }
    }
    let length = text
        .iter()
        .take_while(|byte| **byte == b'_' || **byte == b'$' || byte.is_ascii_alphanumeric() || **byte >= 0x80)
        .count();
    (length > 0).then(|| (text[..length].to_vec(), &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, table: &str, columns: &str) -> CapturedCopy {
        CapturedCopy::Table {
            schema: schema.into(),
            table: table.into(),
            columns: columns.into(),
        }
    }

    #[test]
    fn names_are_taken_out_of_their_quotes() {
        let parse = |statement: &str| CapturedCopy::parse(statement.as_bytes()).unwrap();
        assert_eq!(
            parse("COPY public.person (id, name) TO stdout;"),
            table("public", "person", "id, name")
        );
        assert_eq!(
            parse("COPY public.nothing  TO stdout;"),
            table("public", "nothing", "")
        );
        assert_eq!(
            parse("COPY \"DATA\".\"a.\"\"b\"\" (c)\n\" (\"x) TO stdout;\", y) TO stdout;"),
            table("DATA", "a.\"b\" (c)\n", "\"x) TO stdout;\", y")
        );
        assert_eq!(
            parse("COPY (SELECT a, b FROM public.config WHERE a > 3) TO stdout;"),
            CapturedCopy::Query {
                query: b"SELECT a, b FROM public.config WHERE a > 3".to_vec()
            }
        );
    }

    #[test]
    fn other_forms_are_not_guessed_at() {
        for statement in [
            "COPY t TO stdout;",
            "COPY a.b FROM stdin;",
            "COPY a.b (c TO stdout;",
            "COPY a.b (c) TO '/etc/passwd';",
        ] {
            assert!(CapturedCopy::is_copy(statement.as_bytes()));
            assert_eq!(CapturedCopy::parse(statement.as_bytes()), None, "{statement}");
        }
        assert!(!CapturedCopy::is_copy(b"COPYRIGHT"));
    }

    #[test]
    fn ranges_name_their_pages_and_only_their_table() {
        let query = table("DATA", "x", "\"a\"").pages(5, Some(9)).unwrap();
        assert_eq!(
            String::from_utf8(query).unwrap(),
            "SELECT \"a\" FROM ONLY \"DATA\".\"x\" WHERE ctid >= '(5,0)'::pg_catalog.tid AND ctid < '(9,0)'::pg_catalog.tid"
        );
        assert_eq!(table("a", "b", "").pages(0, None), None);
    }
}
