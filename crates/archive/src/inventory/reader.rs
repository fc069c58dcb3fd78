//! Reading an inventory, line by line.

use std::io::BufRead;

use super::{End, FORMAT, Line, MAX_LINE_BYTES, MAX_PLAIN_BYTES, strict};
use crate::key::CopyKey;
use crate::sealing::{OpenError, OpenReader};

/// How many bytes are decompressed at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why an inventory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A part does not open, or is not authentic.
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    /// A line is not what the format allows.
    #[error("inventory line {line} breaks the format: {source}")]
    InvalidLine {
        /// The line, from 1, through all parts.
        line: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("inventory line {line} has more than {MAX_LINE_BYTES} bytes")]
    LineTooLong {
        /// The line, from 1, through all parts.
        line: u64,
    },
    /// A part ends inside a line.
    #[error("inventory line {line} has no end: parts hold whole lines")]
    UnfinishedLine {
        /// The line, from 1, through all parts.
        line: u64,
    },
    /// A part expands beyond its limit.
    #[error("inventory part expands beyond 1 GiB")]
    TooLarge,
    /// The header is not the first line, or the end not the last, or one of them is there twice.
    #[error(
        "inventory line {line} is out of place: a header begins an inventory, an end ends it, and both are there once"
    )]
    OutOfPlace {
        /// The line, from 1, through all parts.
        line: u64,
    },
    /// The header is of a format that this version does not know.
    #[error("inventory is of a format that this version does not know: a newer version may have written it")]
    UnknownFormat,
    /// The sums of the end line are not those of the lines.
    #[error("inventory has other sums than its end says: lines are missing or were added")]
    WrongSums,
    /// The last part was read and no end line came, or a part was not read to its end.
    #[error("inventory has no end: a part is missing")]
    Incomplete,
}

/// Reads an inventory, part by part in the entry's order.
#[derive(Debug)]
pub struct InventoryReader<'k> {
    key: &'k CopyKey,
    sums: End,
    end: Option<End>,
    /// A part is being read, or its reading was given up.
    inside_part: bool,
}

impl<'k> InventoryReader<'k> {
    /// Begins before the first part.
    #[must_use]
    pub fn new(key: &'k CopyKey) -> Self {
        Self {
            key,
            sums: End::default(),
            end: None,
            inside_part: false,
        }
    }

    /// Opens the next part. Read its lines until there are none.
    pub fn part<R: BufRead>(&mut self, sealed: R) -> Result<PartLines<'_, 'k, R>, InventoryError> {
        if self.inside_part {
            return Err(InventoryError::Incomplete);
        }
        let content = OpenReader::new(sealed, self.key)?;
        self.inside_part = true;
        let (buffer, done) = (Vec::new(), 0);
        Ok(PartLines {
            inventory: self,
            content,
            buffer,
            done,
            searched: 0,
            plain_bytes: 0,
        })
    }

    /// Ends reading: all parts were read to their ends and the end line's sums are right.
    pub fn finish(self) -> Result<End, InventoryError> {
        match self.end {
            Some(end) if !self.inside_part => Ok(end),
            _ => Err(InventoryError::Incomplete),
        }
    }

    fn take(&mut self, text: &[u8]) -> Result<Line, InventoryError> {
        let number = self.sums.lines + 1;
        let line: Line = strict::check(text)
            .and_then(|()| serde_json::from_slice(text))
            .map_err(|source| InventoryError::InvalidLine { line: number, source })?;
        let first = number == 1;
        if self.end.is_some() || first != matches!(line, Line::Header(_)) {
            return Err(InventoryError::OutOfPlace { line: number });
        }
        match &line {
            Line::Header(header) if header.format != FORMAT => return Err(InventoryError::UnknownFormat),
            Line::End(end) if *end != self.sums => return Err(InventoryError::WrongSums),
            Line::End(end) => self.end = Some(*end),
            other => self.sums.count(other),
        }
        Ok(line)
    }
}

/// The lines of one part.
pub struct PartLines<'r, 'k, R: BufRead> {
    inventory: &'r mut InventoryReader<'k>,
    content: OpenReader<R>,
    buffer: Vec<u8>,
    /// Up to here the buffer was given out.
    done: usize,
    /// Up to here the buffer holds no line end.
    searched: usize,
    plain_bytes: u64,
}

impl<R: BufRead> PartLines<'_, '_, R> {
    /// The next line, or none when the part has ended and all of it was authentic.
    pub fn next_line(&mut self) -> Result<Option<Line>, InventoryError> {
        let number = self.inventory.sums.lines + 1;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let end = self.searched + length;
                if end + 1 - self.done > MAX_LINE_BYTES {
                    return Err(InventoryError::LineTooLong { line: number });
                }
                let line = self.inventory.take(&self.buffer[self.done..end])?;
                self.done = end + 1;
                self.searched = self.done;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.done);
            self.done = 0;
            self.searched = self.buffer.len();
            if self.buffer.len() >= MAX_LINE_BYTES {
                return Err(InventoryError::LineTooLong { line: number });
            }
            if self.fill()? == 0 {
                if !self.buffer.is_empty() {
                    return Err(InventoryError::UnfinishedLine { line: number });
                }
                self.inventory.inside_part = false;
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> Result<usize, InventoryError> {
        let held = self.buffer.len();
        self.buffer.resize(held + READ_BYTES, 0);
        let read = self.content.read_some(&mut self.buffer[held..])?;
        self.buffer.truncate(held + read);
        self.plain_bytes += read as u64;
        if self.plain_bytes > MAX_PLAIN_BYTES {
            Err(InventoryError::TooLarge)
        } else {
            Ok(read)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::{CompressionLevel, SealWriter};

    #[test]
    fn a_part_expands_to_its_limit_and_not_one_byte_further() {
        let (key, text) = (CopyKey::generate(), b"no line\n");
        let mut writer = SealWriter::new(&key.recipient(), CompressionLevel::DEFAULT, 0).unwrap();
        writer.write(text).unwrap();
        let sealed = writer.finish(u64::MAX).unwrap().bytes;
        let read = |before: u64| {
            let mut inventory = InventoryReader::new(&key);
            let mut part = inventory.part(&sealed[..]).unwrap();
            part.plain_bytes = before;
            part.next_line().unwrap_err()
        };
        let most = MAX_PLAIN_BYTES - text.len() as u64;
        for before in [0, most] {
            let error = read(before);
            assert!(
                matches!(error, InventoryError::InvalidLine { line: 1, .. }),
                "{error}"
            );
        }
        for before in [most + 1, MAX_PLAIN_BYTES] {
            let error = read(before);
            assert!(matches!(error, InventoryError::TooLarge), "{error}");
        }
    }

    #[test]
    fn what_was_expanded_before_counts() {
        let key = CopyKey::generate();
        let mut writer = SealWriter::new(&key.recipient(), CompressionLevel::DEFAULT, 0).unwrap();
        writer.write(&vec![b'x'; 3 * READ_BYTES]).unwrap();
        let sealed = writer.finish(u64::MAX).unwrap().bytes;
        let mut inventory = InventoryReader::new(&key);
        let mut part = inventory.part(&sealed[..]).unwrap();
        part.plain_bytes = MAX_PLAIN_BYTES - 2 * READ_BYTES as u64;
        let error = part.next_line().unwrap_err();
        assert!(matches!(error, InventoryError::TooLarge), "{error}");
        assert_eq!(inventory.sums, End::default());
    }
}
