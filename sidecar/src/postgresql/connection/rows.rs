//! Rows of a simple query, in text.

use std::{ops::Range, str::FromStr};

use bytes::{Buf, Bytes};

use super::{Connection, ConnectionError};

/// The rows of a query, read one by one.
pub struct Rows<'a> {
    connection: &'a mut Connection,
    limit: usize,
    done: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(connection: &'a mut Connection, limit: usize) -> Self {
        Self {
            connection,
            limit,
            done: false,
        }
    }

    /// The next row; none once the server is ready again.
    pub async fn next(&mut self) -> Result<Option<Row>, ConnectionError> {
        while !self.done {
            let frame = self.connection.frames.next().await?;
            match frame.tag {
                b'D' => return Row::parse(self.connection.frames.body(self.limit).await?).map(Some),
                // Row description, command complete, empty query: nothing that a text row needs.
                b'T' | b'C' | b'I' => {}
                b'Z' => {
                    self.connection.ready().await?;
                    self.done = true;
                }
                _ => self.connection.asynchronous(frame).await?,
            }
        }
        Ok(None)
    }
}

/// One row: columns as the server wrote them, in the session's client encoding.
#[derive(Clone, Debug)]
pub struct Row {
    body: Bytes,
    columns: Vec<Option<Range<usize>>>,
}

impl Row {
    pub(super) fn parse(body: Bytes) -> Result<Self, ConnectionError> {
        let malformed = || ConnectionError::Protocol("a malformed row".into());
        let mut rest = body.as_ref();
        let count = rest.try_get_u16().map_err(|_| malformed())?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let length = rest.try_get_i32().map_err(|_| malformed())?;
            let start = body.len() - rest.len();
            columns.push(match usize::try_from(length) {
                Err(_) => None,
                Ok(length) if length <= rest.len() => {
                    rest.advance(length);
                    Some(start..start + length)
                }
                Ok(_) => return Err(malformed()),
            });
        }
        Ok(Self { body, columns })
    }

    /// Bytes of the row on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// How many columns it has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Whether the row has no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A column's bytes; none for NULL.
    #[must_use]
    pub fn bytes(&self, column: usize) -> Option<&[u8]> {
        self.columns.get(column)?.clone().map(|range| &self.body[range])
    }

    /// A column that may be NULL, as UTF-8.
    pub fn optional(&self, column: usize) -> Result<Option<&str>, ConnectionError> {
        self.bytes(column)
            .map(std::str::from_utf8)
            .transpose()
            .map_err(|_| ConnectionError::Protocol(format!("column {column} is no UTF-8")))
    }

    /// A column that is not NULL, as UTF-8.
    pub fn text(&self, column: usize) -> Result<&str, ConnectionError> {
        self.optional(column)?
            .ok_or_else(|| ConnectionError::Protocol(format!("column {column} is missing")))
    }

    /// A column that is not NULL, parsed from its text.
    pub fn value<T: FromStr>(&self, column: usize) -> Result<T, ConnectionError> {
        let text = self.text(column)?;
        text.parse()
            .map_err(|_| ConnectionError::Protocol(format!("column {column} has the odd value {text:?}")))
    }

    /// A boolean column; NULL is false.
    pub fn flag(&self, column: usize) -> Result<bool, ConnectionError> {
        Ok(self.optional(column)? == Some("t"))
    }
}
