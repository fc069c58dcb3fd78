//! Members of the archive: `archive/<file>` for a whole file, `parts/<file>/<range>.<chunk>` for a piece of one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The most bytes of a member's body: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The body of a table's last part: the end-of-data line and two empty lines, as `pg_dump` writes them.
pub const TABLE_END: &[u8] = b"\\.\n\n\n";

/// The name of a file in a directory-format dump: 1 to 64 of `a-z`, `0-9`, `_` and `.`, not beginning with `.`.
///
/// Cloning is cheap: a file's many parts share one text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(Arc<str>);

/// Why something is no member of an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMember {
    /// The name does not follow the grammar.
    #[error(
        "member name does not follow the grammar: 'archive/<file>' or 'parts/<file>/<range, 6 digits>.<chunk, 8 digits>'"
    )]
    Name,
    /// A file name does not follow the grammar.
    #[error(
        "file name does not follow the grammar: 1 to 64 of a-z, 0-9, '_' and '.', not beginning with '.'"
    )]
    FileName,
    /// A range or chunk number has no key.
    #[error("range {range} or chunk {chunk} is out of bounds: ranges are 0 to 999998, chunks 0 to 99999999")]
    Number {
        /// The range.
        range: u32,
        /// The chunk.
        chunk: u32,
    },
    /// The body is larger than 1 MiB.
    #[error("member {name} has {size} bytes, more than the {MAX_BODY_BYTES} allowed")]
    TooLarge {
        /// The member.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A last part does not have the one body it may have.
    #[error("member {name} must be the end-of-data line and two empty lines, and nothing else")]
    WrongEnd {
        /// The member.
        name: String,
    },
}

impl FileName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        let valid = (1..=Self::MAX_LENGTH).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(allowed);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidMember::FileName)
        }
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidMember;

    fn try_from(text: String) -> Result<Self, InvalidMember> {
        text.parse()
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

/// The name of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Name);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    Whole(FileName),
    Part { file: FileName, range: u32, chunk: u32 },
}

impl MemberName {
    /// The number that only a table's last part has as its range.
    pub const END_RANGE: u32 = 999_999;
    /// The number that only a table's last part has as its chunk together with [`Self::END_RANGE`].
    pub const END_CHUNK: u32 = 99_999_999;
    /// The longest name in bytes; it fits the name field of a ustar header.
    pub const MAX_LENGTH: usize = "parts/".len() + FileName::MAX_LENGTH + "/999999.99999999".len();

    /// `archive/<file>`: a whole file of at most 1 MiB.
    #[must_use]
    pub const fn whole(file: FileName) -> Self {
        Self(Name::Whole(file))
    }

    /// `parts/<file>/<range>.<chunk>`: a piece of a file; ranges 0 to 999,998, chunks 0 to 99,999,999.
    pub fn part(file: FileName, range: u32, chunk: u32) -> Result<Self, InvalidMember> {
        if range >= Self::END_RANGE || chunk > Self::END_CHUNK {
            return Err(InvalidMember::Number { range, chunk });
        }
        Ok(Self(Name::Part { file, range, chunk }))
    }

    /// `parts/<file>/999999.99999999`: the last part of a table's file.
    #[must_use]
    pub const fn table_end(file: FileName) -> Self {
        Self(Name::Part {
            file,
            range: Self::END_RANGE,
            chunk: Self::END_CHUNK,
        })
    }

    /// The file that the member is, or is a piece of.
    #[must_use]
    pub const fn file(&self) -> &FileName {
        match &self.0 {
            Name::Whole(file) | Name::Part { file, .. } => file,
        }
    }

    /// Range and chunk of a piece; none for a whole file.
    #[must_use]
    pub const fn place(&self) -> Option<(u32, u32)> {
        match &self.0 {
            Name::Whole(_) => None,
            Name::Part { range, chunk, .. } => Some((*range, *chunk)),
        }
    }

    /// Whether it is the last part of a table's file.
    #[must_use]
    pub const fn is_table_end(&self) -> bool {
        matches!(
            self.0,
            Name::Part {
                range: Self::END_RANGE,
                ..
            }
        )
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Whole(file) => write!(formatter, "archive/{file}"),
            Name::Part { file, range, chunk } => write!(formatter, "parts/{file}/{range:06}.{chunk:08}"),
        }
    }
}

impl FromStr for MemberName {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        if let Some(file) = text.strip_prefix("archive/") {
            return Ok(Self::whole(file.parse().map_err(|_| InvalidMember::Name)?));
        }
        let rest = text.strip_prefix("parts/").ok_or(InvalidMember::Name)?;
        let (file, place) = rest.split_once('/').ok_or(InvalidMember::Name)?;
        let file: FileName = file.parse().map_err(|_| InvalidMember::Name)?;
        let (range, chunk) = place.split_once('.').ok_or(InvalidMember::Name)?;
        let (range, chunk) = (fixed_number(range, 6)?, fixed_number(chunk, 8)?);
        if (range, chunk) == (Self::END_RANGE, Self::END_CHUNK) {
            return Ok(Self::table_end(file));
        }
        Self::part(file, range, chunk)
    }
}

fn fixed_number(digits: &str, length: usize) -> Result<u32, InvalidMember> {
    if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidMember::Name);
    }
    digits.parse().map_err(|_| InvalidMember::Name)
}

/// A member: a name and at most 1 MiB.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: MemberName,
    /// Its content.
    pub body: Bytes,
}

impl Member {
    /// Puts a name and a body together and checks them.
    pub fn new(name: MemberName, body: Bytes) -> Result<Self, InvalidMember> {
        let member = Self { name, body };
        member.check()?;
        Ok(member)
    }

    /// The last part of a table's file.
    #[must_use]
    pub fn table_end(file: FileName) -> Self {
        Self {
            name: MemberName::table_end(file),
            body: Bytes::from_static(TABLE_END),
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidMember> {
        if self.body.len() > MAX_BODY_BYTES {
            return Err(InvalidMember::TooLarge {
                name: self.name.to_string(),
                size: self.body.len() as u64,
            });
        }
        if self.name.is_table_end() && self.body != TABLE_END {
            return Err(InvalidMember::WrongEnd {
                name: self.name.to_string(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Member {
    /// Shows name and size only: bodies are a registry's data and must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Member({}, {} bytes)", self.name, self.body.len())
    }
}
