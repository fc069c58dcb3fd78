//! The one form of tar header that the format allows: ustar, a regular file, mode 0644, owner, group and time 0.

use crate::member::{MAX_BODY_BYTES, MemberName};

/// The size of a header and the unit that bodies are padded to.
pub(crate) const BLOCK: usize = 512;
/// A whole archive ends with two blocks of zeros.
pub(crate) const END_OF_ARCHIVE: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

pub(crate) type Header = [u8; BLOCK];

const NAME: std::ops::Range<usize> = 0..100;
const MODE: usize = 100;
const USER: usize = 108;
const GROUP: usize = 116;
const SIZE: std::ops::Range<usize> = 124..135;
const TIME: usize = 136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: usize = 257;
const DEVICE_MAJOR: usize = 329;
const DEVICE_MINOR: usize = 337;

// The name must fit its field without the prefix field, and the largest body must fit 11 octal digits.
const _: () = assert!(MemberName::MAX_LENGTH <= NAME.end && MAX_BODY_BYTES < 1 << 33);

/// Builds the header of a member.
pub(crate) fn header(name: &MemberName, size: usize) -> Header {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(NAME.start, name.to_string().as_bytes());
    put(MODE, b"0000644");
    put(USER, b"0000000");
    put(GROUP, b"0000000");
    put(SIZE.start, format!("{size:011o}").as_bytes());
    put(TIME, b"00000000000");
    put(CHECKSUM.start, b"        ");
    put(TYPE, b"0");
    put(MAGIC, b"ustar\x0000");
    put(DEVICE_MAJOR, b"0000000");
    put(DEVICE_MINOR, b"0000000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Reads a header: the name and the size of the body. None if it is not exactly what [`header`] builds for them, so that links, devices,
/// extensions, other owners and wrong checksums all end here.
pub(crate) fn parse(block: &Header) -> Option<(MemberName, usize)> {
    let end = block[NAME].iter().position(|byte| *byte == 0).unwrap_or(NAME.end);
    let name: MemberName = std::str::from_utf8(&block[..end]).ok()?.parse().ok()?;
    let size = usize::from_str_radix(std::str::from_utf8(&block[SIZE]).ok()?, 8).ok()?;
    (header(&name, size) == *block).then_some((name, size))
}

/// How many zeros follow a body of this size.
pub(crate) const fn padding(size: usize) -> usize {
    size.wrapping_neg() % BLOCK
}
