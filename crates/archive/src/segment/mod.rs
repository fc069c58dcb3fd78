//! Segments: whole tar members, compressed as one frame, sealed to the copy's key.

mod reader;
mod writer;

pub use reader::{SegmentError, SegmentReader};
pub use writer::SegmentWriter;

/// The most bytes of a sealed segment: 64 MiB.
pub const MAX_SEALED_BYTES: u64 = dataembassy_ledger::manifest::MAX_SEGMENT_BYTES;
/// At this size a segment should be cut: 16 MiB sealed.
pub const TARGET_SEALED_BYTES: u64 = 16 * 1024 * 1024;
/// The most bytes of a segment before compression: 1 GiB. It bounds the work that a hostile segment can cause.
pub const MAX_PLAIN_BYTES: u64 = 1024 * 1024 * 1024;
/// The most members of a segment.
pub const MAX_MEMBERS: usize = 65_536;

/// Where a segment stands in its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentPosition {
    /// More follow.
    Inner,
    /// It is the last one, and ends with the end-of-archive blocks.
    Last,
}
