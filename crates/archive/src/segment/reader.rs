//! Reading one segment, member by member, within fixed bounds.

use std::collections::HashSet;
use std::io::BufRead;

use bytes::BytesMut;

use super::{MAX_MEMBERS, MAX_PLAIN_BYTES, SegmentPosition};
use crate::key::CopyKey;
use crate::member::{InvalidMember, MAX_BODY_BYTES, Member, MemberName};
use crate::sealing::{OpenError, OpenReader};
use crate::ustar::{self, Header};

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// It does not open, or is not authentic.
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    /// A header is not one that the format allows.
    #[error("segment holds a tar header that the format does not allow, at byte {at}")]
    WrongHeader {
        /// Its place in the decompressed segment.
        at: u64,
    },
    /// A member breaks the grammar.
    #[error(transparent)]
    InvalidMember(#[from] InvalidMember),
    /// A member appears twice.
    #[error("segment holds member {name} twice")]
    Duplicate {
        /// The member.
        name: String,
    },
    /// The segment ends inside a member, or inside the end-of-archive blocks.
    #[error("segment ends inside a member")]
    CutOff,
    /// A body's padding or the end-of-archive blocks hold something else than zeros, or something follows them.
    #[error("segment holds bytes where only zeros may be, or after its end, at byte {at}")]
    NotZero {
        /// The place in the decompressed segment.
        at: u64,
    },
    /// It is larger, or has more members, than a writer may put into one.
    #[error("segment expands beyond the limits: 1 GiB, 65536 members")]
    TooLarge,
}

/// Reads one segment. Only `Ok(None)` of [`SegmentReader::next_member`] says that the segment was whole.
pub struct SegmentReader<R: BufRead> {
    content: OpenReader<R>,
    names: HashSet<MemberName>,
    /// Bodies are cut from here; the memory is used again once the members given out are dropped.
    bodies: BytesMut,
    at: u64,
    end: Option<SegmentPosition>,
}

impl<R: BufRead> SegmentReader<R> {
    /// Opens a segment with its copy's key.
    pub fn new(sealed: R, key: &CopyKey) -> Result<Self, SegmentError> {
        Ok(Self {
            content: OpenReader::new(sealed, key)?,
            names: HashSet::new(),
            bodies: BytesMut::new(),
            at: 0,
            end: None,
        })
    }

    /// The next member, or none when the segment has ended and all of it was authentic.
    pub fn next_member(&mut self) -> Result<Option<Member>, SegmentError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let mut header: Header = [0; ustar::BLOCK];
        let read = self.content.read_full(&mut header)?;
        if read == 0 {
            self.end = Some(SegmentPosition::Inner);
            return Ok(None);
        }
        if read < header.len() {
            return Err(SegmentError::CutOff);
        }
        if header.iter().all(|byte| *byte == 0) {
            self.read_end()?;
            return Ok(None);
        }
        let (name, size) = ustar::parse(&header).ok_or(SegmentError::WrongHeader { at: self.at })?;
        if size > MAX_BODY_BYTES {
            return Err(InvalidMember::TooLarge {
                name: name.to_string(),
                size: size as u64,
            }
            .into());
        }
        let padded = size + ustar::padding(size);
        let after = self.at + (header.len() + padded) as u64;
        if after > MAX_PLAIN_BYTES || self.names.len() >= MAX_MEMBERS {
            return Err(SegmentError::TooLarge);
        }
        if !self.names.insert(name.clone()) {
            return Err(SegmentError::Duplicate {
                name: name.to_string(),
            });
        }
        let member = self.read_body(name, size, padded)?;
        self.at = after;
        Ok(Some(member))
    }

    fn read_body(&mut self, name: MemberName, size: usize, padded: usize) -> Result<Member, SegmentError> {
        self.bodies.resize(padded, 0);
        if self.content.read_full(&mut self.bodies)? < padded {
            return Err(SegmentError::CutOff);
        }
        if self.bodies[size..].iter().any(|byte| *byte != 0) {
            return Err(SegmentError::NotZero { at: self.at });
        }
        let body = self.bodies.split_to(size).freeze();
        self.bodies.clear();
        Ok(Member::new(name, body)?)
    }

    /// After the first block of zeros: the second one, and then nothing.
    fn read_end(&mut self) -> Result<(), SegmentError> {
        let mut second: Header = [0; ustar::BLOCK];
        if self.content.read_full(&mut second)? < second.len() {
            return Err(SegmentError::CutOff);
        }
        let mut beyond = [0; 1];
        if second.iter().any(|byte| *byte != 0) || self.content.read_full(&mut beyond)? != 0 {
            return Err(SegmentError::NotZero { at: self.at });
        }
        self.end = Some(SegmentPosition::Last);
        Ok(())
    }

    /// Whether the segment is the last one of its copy: known once [`Self::next_member`] has returned none.
    #[must_use]
    pub const fn position(&self) -> Option<SegmentPosition> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::CompressionLevel;
    use crate::segment::SegmentWriter;

    #[test]
    fn a_segment_expands_to_its_limit_and_not_one_block_further() {
        let key = CopyKey::generate();
        let mut writer = SegmentWriter::new(&key.recipient(), CompressionLevel::DEFAULT).unwrap();
        let name = MemberName::whole("a".parse().unwrap());
        writer
            .add(&Member::new(name, vec![7_u8; 513].into()).unwrap())
            .unwrap();
        let sealed = writer.finish(SegmentPosition::Inner).unwrap().bytes;
        let blocks = 3 * ustar::BLOCK as u64;
        let read = |at: u64| {
            let mut reader = SegmentReader::new(&sealed[..], &key).unwrap();
            reader.at = at;
            reader.next_member()
        };
        for at in [0, MAX_PLAIN_BYTES - blocks] {
            assert!(read(at).unwrap().is_some(), "{at}");
        }
        for at in [MAX_PLAIN_BYTES - blocks + 1, MAX_PLAIN_BYTES] {
            assert!(matches!(read(at), Err(SegmentError::TooLarge)), "{at}");
        }
    }
}
