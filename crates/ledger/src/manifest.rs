//! The manifest: which versions of which segments a copy consists of, in which order, in a form that `sha256sum -c` reads.
//!
//! Two lines a segment: `# <n> <versionId> <size>` and `<sha256>  <name>`. Parts hold whole pairs and have at most 8 MiB, so that a copy of
//! any size is written and read within a fixed memory.

use std::fmt::Write as _;

use crate::key::CopyObject;
use crate::value::{InvalidValue, SegmentNumber, Sha256Digest, VersionId};

/// The most bytes of one manifest part.
pub const MAX_PART_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of one segment.
pub const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// One segment of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    /// The number in its key.
    pub number: SegmentNumber,
    /// The version the store gave it.
    pub version: VersionId,
    /// Its size in bytes: 1 to [`MAX_SEGMENT_BYTES`].
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
}

/// Why a manifest cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A part is larger than allowed.
    #[error("manifest part has {size} bytes, more than the {MAX_PART_BYTES} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A part has no record.
    #[error("manifest part is empty")]
    Empty,
    /// A line does not have its form.
    #[error("manifest line {line} does not have its form: expected {expected}")]
    InvalidLine {
        /// The line's number in its part, from 1.
        line: u64,
        /// The form it must have.
        expected: &'static str,
    },
    /// A value breaks its rule.
    #[error("manifest line {line}: {source}")]
    InvalidValue {
        /// The line's number in its part, from 1.
        line: u64,
        /// The rule.
        source: InvalidValue,
    },
    /// The running number is not the next one: a part or a record is missing, or parts are in the wrong order.
    #[error(
        "manifest line {line} has running number {found}, expected {expected}: a part is missing or out of order"
    )]
    WrongOrder {
        /// The line's number in its part, from 1.
        line: u64,
        /// The next running number.
        expected: u64,
        /// The number that stands there.
        found: u64,
    },
    /// A segment is named twice.
    #[error("manifest names segment {number} twice")]
    NamedTwice {
        /// The number.
        number: u32,
    },
    /// A segment's size is out of bounds.
    #[error("manifest names segment {number} with {size} bytes: a segment has 1 to {MAX_SEGMENT_BYTES}")]
    WrongSize {
        /// The segment's number.
        number: u32,
        /// The size named.
        size: u64,
    },
}

/// What reader and writer both watch while records go by.
#[derive(Clone, Debug, Default)]
struct Course {
    records: u64,
    bytes: u64,
    seen: NumberSet,
}

/// Segment numbers in one bit each: at most 12.5 MB whatever a manifest says, 80 kB for a copy of 10 TB.
#[derive(Clone, Debug, Default)]
struct NumberSet(Vec<u64>);

impl NumberSet {
    /// Adds a number; false if it was there.
    fn insert(&mut self, number: SegmentNumber) -> bool {
        let (word, bit) = ((number.get() / 64) as usize, 1 << (number.get() % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }
}

impl Course {
    fn take(&mut self, record: &SegmentRecord) -> Result<(), ManifestError> {
        if !(1..=MAX_SEGMENT_BYTES).contains(&record.size) {
            return Err(ManifestError::WrongSize {
                number: record.number.get(),
                size: record.size,
            });
        }
        // Numbers need not ascend: a segment put without an answer is put again under the next free number, and keeps its place here.
        if !self.seen.insert(record.number) {
            return Err(ManifestError::NamedTwice {
                number: record.number.get(),
            });
        }
        self.records += 1;
        self.bytes += record.size;
        Ok(())
    }
}

/// Writes a manifest, part by part.
#[derive(Clone, Debug)]
pub struct ManifestWriter {
    part: String,
    course: Course,
    max_part_bytes: usize,
}

impl Default for ManifestWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ManifestWriter {
    /// Begins a manifest whose parts have at most [`MAX_PART_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_part_bytes(MAX_PART_BYTES)
    }

    /// Begins a manifest with smaller parts; the format's limit still holds, and a part has at least one record.
    #[must_use]
    pub fn with_part_bytes(max_part_bytes: usize) -> Self {
        Self {
            part: String::new(),
            course: Course::default(),
            max_part_bytes: max_part_bytes.min(MAX_PART_BYTES),
        }
    }

    /// Adds the next segment. Returns a part when one is full; put it before the next call's part.
    pub fn push(&mut self, record: &SegmentRecord) -> Result<Option<Vec<u8>>, ManifestError> {
        self.course.take(record)?;
        let before = self.part.len();
        self.write(record);
        if before == 0 || self.part.len() <= self.max_part_bytes {
            return Ok(None);
        }
        let next = self.part.split_off(before);
        Ok(Some(std::mem::replace(&mut self.part, next).into_bytes()))
    }

    fn write(&mut self, record: &SegmentRecord) {
        let SegmentRecord {
            number,
            version,
            size,
            sha256,
        } = record;
        let (n, name) = (self.course.records, CopyObject::Segment(*number));
        // Writing to a String cannot fail.
        let _ = writeln!(self.part, "# {n} {version} {size}\n{sha256}  {name}");
    }

    /// How many segments were added.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.course.records
    }

    /// The sum of their sizes in bytes.
    #[must_use]
    pub const fn sealed_bytes(&self) -> u64 {
        self.course.bytes
    }

    /// Ends the manifest; returns the last part.
    pub fn finish(self) -> Result<Vec<u8>, ManifestError> {
        if self.part.is_empty() {
            Err(ManifestError::Empty)
        } else {
            Ok(self.part.into_bytes())
        }
    }
}

/// Reads a manifest, part by part in the entry's order. Digests of the parts are the caller's to check before.
#[derive(Clone, Debug, Default)]
pub struct ManifestReader {
    course: Course,
}

impl ManifestReader {
    /// Begins before the first part.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many segments were read so far; in the end it must equal the entry's `totals.segments`.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.course.records
    }

    /// The sum of their sizes; in the end it must equal the entry's `totals.sealedBytes`.
    #[must_use]
    pub const fn sealed_bytes(&self) -> u64 {
        self.course.bytes
    }

    /// Reads one whole part.
    pub fn read_part(&mut self, part: &[u8]) -> Result<Vec<SegmentRecord>, ManifestError> {
        self.records(part)?.collect()
    }

    /// Reads one whole part record by record, for those who must not hold them all. The part is read when the records have ended.
    pub fn records<'a>(&'a mut self, part: &'a [u8]) -> Result<PartRecords<'a>, ManifestError> {
        if part.len() > MAX_PART_BYTES {
            return Err(ManifestError::TooLarge { size: part.len() });
        }
        if part.is_empty() {
            return Err(ManifestError::Empty);
        }
        Ok(PartRecords {
            reader: self,
            rest: part,
            line: 1,
        })
    }

    fn read_pair(&self, head: &str, sum: &str, line: u64) -> Result<SegmentRecord, ManifestError> {
        let invalid = |line, expected| ManifestError::InvalidLine { line, expected };
        let mut words = head.split(' ');
        let (Some("#"), Some(n), Some(version), Some(size), None) = (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) else {
            return Err(invalid(line, HEAD_FORM));
        };
        let found = plain_number(n).ok_or_else(|| invalid(line, HEAD_FORM))?;
        let expected = self.course.records + 1;
        if found != expected {
            return Err(ManifestError::WrongOrder {
                line,
                expected,
                found,
            });
        }
        let size = plain_number(size).ok_or_else(|| invalid(line, HEAD_FORM))?;
        let version = version
            .parse()
            .map_err(|source| ManifestError::InvalidValue { line, source })?;
        let line = line + 1;
        let (sha256, name) = sum.split_once("  ").ok_or_else(|| invalid(line, SUM_FORM))?;
        let sha256 = sha256
            .parse()
            .map_err(|source| ManifestError::InvalidValue { line, source })?;
        let Ok(CopyObject::Segment(number)) = name.parse() else {
            return Err(invalid(line, SUM_FORM));
        };
        Ok(SegmentRecord {
            number,
            version,
            size,
            sha256,
        })
    }
}

/// The records of one part, as they are read. After an error there are no more.
#[derive(Debug)]
pub struct PartRecords<'a> {
    reader: &'a mut ManifestReader,
    rest: &'a [u8],
    line: u64,
}

impl PartRecords<'_> {
    fn read_next(&mut self) -> Result<SegmentRecord, ManifestError> {
        let head = take_line(&mut self.rest, self.line, HEAD_FORM)?;
        let sum = take_line(&mut self.rest, self.line + 1, SUM_FORM)?;
        let record = self.reader.read_pair(head, sum, self.line)?;
        self.reader.course.take(&record)?;
        self.line += 2;
        Ok(record)
    }
}

impl Iterator for PartRecords<'_> {
    type Item = Result<SegmentRecord, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read_next();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

const HEAD_FORM: &str = "'# <n> <versionId> <size>'";
const SUM_FORM: &str = "'<sha256>  <segment number, 8 digits>'";

fn take_line<'a>(rest: &mut &'a [u8], line: u64, expected: &'static str) -> Result<&'a str, ManifestError> {
    let invalid = ManifestError::InvalidLine { line, expected };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return Err(invalid);
    };
    let text = std::str::from_utf8(&rest[..end]).map_err(|_| invalid)?;
    *rest = &rest[end + 1..];
    Ok(text)
}

/// A decimal number in its one spelling: no sign, no leading zero.
fn plain_number(text: &str) -> Option<u64> {
    let plain = (text == "0" || !text.starts_with('0')) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
