//! Writing one segment.

use std::collections::HashSet;

use super::{MAX_MEMBERS, MAX_PLAIN_BYTES, MAX_SEALED_BYTES, SegmentPosition, TARGET_SEALED_BYTES};
use crate::key::CopyRecipient;
use crate::member::{MAX_BODY_BYTES, Member, MemberName};
use crate::sealing::{CompressionLevel, SealError, SealWriter, Sealed};
use crate::ustar;

/// The most that one more member can add, plain or sealed: its header, body and padding, what the compressor holds back and what it may
/// grow by.
const MEMBER_BOUND: u64 = (MAX_BODY_BYTES + 3 * ustar::BLOCK + 512 * 1024) as u64;
/// Address space that is reserved for a segment's buffer, twice what the target and the member that crosses it fill. glibc takes what has more than
/// 32 MiB from the kernel and gives it back as a whole; what is smaller it keeps, once one of that size was freed, among everything else, where
/// segments that are filled side by side took 50 MB more than there was in them.
const EXPECTED_BYTES: usize = 33 * 1024 * 1024;
const ZEROS: [u8; ustar::BLOCK] = [0; ustar::BLOCK];

/// Writes one segment. A segment exists only when [`SegmentWriter::finish`] returns it.
///
/// It is synchronous and burns a processor: run it on a blocking thread.
pub struct SegmentWriter {
    sealing: SealWriter,
    names: HashSet<MemberName>,
}

impl SegmentWriter {
    /// Begins a segment. 33 MiB of address space are reserved; memory is used as it fills, up to about 18 MiB.
    pub fn new(recipient: &CopyRecipient, level: CompressionLevel) -> Result<Self, SealError> {
        Ok(Self {
            sealing: SealWriter::new(recipient, level, EXPECTED_BYTES)?,
            names: HashSet::new(),
        })
    }

    /// Adds a whole member.
    ///
    /// Refused are a member that breaks the grammar, one that is in this segment already, and any once the segment is so full that a
    /// limit of the format could be passed; it never is for a caller who cuts when [`Self::is_full`] says so.
    pub fn add(&mut self, member: &Member) -> Result<(), SealError> {
        member.check()?;
        let exhausted = self.names.len() >= MAX_MEMBERS
            || self.sealing.plain_bytes() + MEMBER_BOUND > MAX_PLAIN_BYTES
            || self.sealing.sealed_bytes() + MEMBER_BOUND > MAX_SEALED_BYTES;
        if exhausted {
            return Err(SealError::SegmentFull);
        }
        if !self.names.insert(member.name.clone()) {
            return Err(SealError::Duplicate {
                name: member.name.to_string(),
            });
        }
        let size = member.body.len();
        self.sealing.write(&ustar::header(&member.name, size))?;
        self.sealing.write(&member.body)?;
        self.sealing.write(&ZEROS[..ustar::padding(size)])
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.names.len()
    }

    /// How many bytes it has before compression.
    #[must_use]
    pub const fn plain_bytes(&self) -> u64 {
        self.sealing.plain_bytes()
    }

    /// About how many bytes it would have if it were finished now; up to 128 KiB that the compressor holds back are not counted.
    #[must_use]
    pub fn sealed_estimate(&self) -> u64 {
        self.sealing.sealed_bytes()
    }

    /// Whether it is time to cut: the target is reached, or a limit is near.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sealed_estimate() >= TARGET_SEALED_BYTES
            || self.plain_bytes() + 2 * MEMBER_BOUND > MAX_PLAIN_BYTES
            || self.names.len() >= MAX_MEMBERS
    }

    /// Ends the segment. The last one of a copy gets the end-of-archive blocks; it may have no members.
    pub fn finish(mut self, position: SegmentPosition) -> Result<Sealed, SealError> {
        if position == SegmentPosition::Last {
            self.sealing.write(&ustar::END_OF_ARCHIVE)?;
        }
        self.sealing.finish(MAX_SEALED_BYTES)
    }
}
