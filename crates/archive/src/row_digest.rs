//! The row digest: the sum mod 2^128 of XXH3-128 (seed 0) of each line without its LF, and the number of lines.
//!
//! It does not depend on the order of rows, nor on how a table was cut. It finds faults; it is no signature, as whoever may choose rows can
//! make two tables of equal digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Number of rows and their digest; digests of a table's pieces add up to the table's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowDigest {
    /// How many lines.
    pub rows: u64,
    /// The sum of their hashes.
    pub sum: HashSum,
}

/// A sum of 128-bit hashes; 32 lower-case hex digits as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HashSum(pub u128);

/// A digest's text is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest must be 32 lower-case hex digits")]
pub struct InvalidHashSum;

impl fmt::Display for HashSum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for HashSum {
    type Err = InvalidHashSum;

    fn from_str(text: &str) -> Result<Self, InvalidHashSum> {
        let valid = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(InvalidHashSum);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidHashSum)
    }
}

impl TryFrom<String> for HashSum {
    type Error = InvalidHashSum;

    fn try_from(text: String) -> Result<Self, InvalidHashSum> {
        text.parse()
    }
}

impl From<HashSum> for String {
    fn from(sum: HashSum) -> Self {
        sum.to_string()
    }
}

impl RowDigest {
    /// Adds the digest of another piece of the same table.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum.0 = self.sum.0.wrapping_add(other.sum.0);
    }

    fn add_hash(&mut self, hash: u128) {
        self.rows += 1;
        self.sum.0 = self.sum.0.wrapping_add(hash);
    }
}

/// The bytes ended inside a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rows end without a line feed: the data was cut off")]
pub struct UnfinishedLine;

/// Computes a [`RowDigest`] of bytes that arrive in slices cut anywhere. Allocates nothing after it is made.
#[derive(Clone)]
pub struct RowDigester {
    digest: RowDigest,
    /// The line whose end has not arrived; meaningful while `open` is true.
    line: Box<Xxh3>,
    open: bool,
    end_of_data: bool,
    /// The first bytes of the open line, to know an end-of-data line that arrives in pieces, and the length of the line.
    begin: [u8; 2],
    length: usize,
}

impl Default for RowDigester {
    fn default() -> Self {
        Self::new()
    }
}

impl RowDigester {
    /// Begins with no rows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            digest: RowDigest::default(),
            line: Box::new(Xxh3::new()),
            open: false,
            end_of_data: false,
            begin: [0; 2],
            length: 0,
        }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if self.open {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                return self.keep(bytes);
            };
            self.keep(&bytes[..end]);
            self.close();
            bytes = &bytes[end + 1..];
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            self.end_of_data |= line == b"\\.";
            self.digest.add_hash(xxh3_128(line));
            start = end + 1;
        }
        if start < bytes.len() {
            self.open = true;
            self.keep(&bytes[start..]);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.length < self.begin.len() {
            let taken = bytes.len().min(self.begin.len() - self.length);
            self.begin[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        }
        self.length = self.length.saturating_add(bytes.len());
        self.line.update(bytes);
    }

    fn close(&mut self) {
        self.end_of_data |= self.length == 2 && self.begin == *b"\\.";
        self.digest.add_hash(self.line.digest128());
        self.line.reset();
        self.open = false;
        self.length = 0;
    }

    /// Whether a line was exactly `\.`: a server that loads such text stops there without an error.
    #[must_use]
    pub const fn saw_end_of_data_line(&self) -> bool {
        self.end_of_data
    }

    /// The digest of all lines; an error if the last one is not finished.
    pub fn finish(self) -> Result<RowDigest, UnfinishedLine> {
        if self.open {
            Err(UnfinishedLine)
        } else {
            Ok(self.digest)
        }
    }
}

impl fmt::Debug for RowDigester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RowDigester({:?})", self.digest)
    }
}

/// Computes the digest of large objects: the sum mod 2^128 of XXH3-128 (seed 0) of each object's OID, as four bytes with the most
/// significant first, followed by its content.
#[derive(Clone)]
pub struct LargeObjectDigester {
    objects: u64,
    bytes: u64,
    sum: u128,
    object: Box<Xxh3>,
}

impl Default for LargeObjectDigester {
    fn default() -> Self {
        Self::new()
    }
}

impl LargeObjectDigester {
    /// Begins with no objects.
    #[must_use]
    pub fn new() -> Self {
        Self {
            objects: 0,
            bytes: 0,
            sum: 0,
            object: Box::new(Xxh3::new()),
        }
    }

    /// Begins an object. Every [`Self::begin`] is followed by one [`Self::end`].
    pub fn begin(&mut self, oid: u32) {
        self.object.reset();
        self.object.update(&oid.to_be_bytes());
    }

    /// Takes the next bytes of the object in; the zeros of sparse pages as well.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.object.update(bytes);
    }

    /// Ends the object.
    pub fn end(&mut self) {
        self.objects += 1;
        self.sum = self.sum.wrapping_add(self.object.digest128());
    }

    /// How many objects there were.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.objects
    }

    /// How many bytes they had.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their digest.
    #[must_use]
    pub const fn sum(&self) -> HashSum {
        HashSum(self.sum)
    }
}

impl fmt::Debug for LargeObjectDigester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "LargeObjectDigester({} objects, {} bytes)",
            self.objects, self.bytes
        )
    }
}
