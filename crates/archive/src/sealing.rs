//! Sealing: one zstd frame inside one binary age file, both ways. Segments and inventory parts are made of it.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use age::stream::StreamReader;
use bytes::Bytes;
use dataembassy_ledger::Sha256Digest;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};
use zstd::zstd_safe::CCtx;

use crate::age_file::AgeWriter;
use crate::key::{CopyKey, CopyRecipient};

/// The largest zstd window that a reader must hold: 2^23 bytes.
const MAX_WINDOW_LOG: u32 = 23;
/// The longest age header of a sealed object; one X25519 stanza and one meant to be skipped are far below.
const MAX_AGE_HEADER_BYTES: usize = 4096;
/// The longest header of a zstd frame.
const MAX_FRAME_HEADER_BYTES: usize = 18;
const FRAME_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// How much decrypted content is handed to zstd at a time.
const INPUT_BYTES: usize = 64 * 1024;

/// How hard zstd works: 1 to 19. Higher ones would need a window that readers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompressionLevel(i32);

impl CompressionLevel {
    /// The level unless told otherwise: 3.
    pub const DEFAULT: Self = Self(3);

    /// The easiest: 1.
    pub const EASIEST: Self = Self(Self::LEAST);

    const LEAST: i32 = 1;
    const MOST: i32 = 19;

    /// Checks a level.
    #[must_use]
    pub fn new(level: i32) -> Option<Self> {
        (Self::LEAST..=Self::MOST).contains(&level).then_some(Self(level))
    }

    /// One level more, where there is one.
    #[must_use]
    pub fn harder(self) -> Self {
        Self(self.0 + 1).min(Self(Self::MOST))
    }

    /// One level less, where there is one.
    #[must_use]
    pub fn easier(self) -> Self {
        Self(self.0 - 1).max(Self(Self::LEAST))
    }
}

impl Default for CompressionLevel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A sealed object, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The whole object.
    pub bytes: Bytes,
    /// Its SHA-256, computed while it was written.
    pub sha256: Sha256Digest,
    /// How many bytes went in before compression.
    pub plain_bytes: u64,
}

/// Why something cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// age or zstd failed.
    #[error("sealing failed: {0}")]
    Failed(#[from] io::Error),
    /// The sealed object would be larger than allowed.
    #[error("sealed object has {size} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most it may have.
        max: u64,
    },
    /// The segment is full; begin another.
    #[error("segment is full: cut it before adding another member")]
    SegmentFull,
    /// What was added breaks the grammar.
    #[error(transparent)]
    InvalidMember(#[from] crate::member::InvalidMember),
    /// A member was added twice.
    #[error("member {name} was added twice")]
    Duplicate {
        /// The member.
        name: String,
    },
    /// A line of the inventory is too long.
    #[error("inventory line has {size} bytes, more than the {max} allowed")]
    LineTooLong {
        /// Its size in bytes.
        size: usize,
        /// The most it may have.
        max: usize,
    },
    /// A line of the inventory cannot be written as JSON.
    #[error("inventory line cannot be written: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The inventory's lines do not come in their order.
    #[error(
        "inventory line is out of place: the header is given once, at the beginning, and the end is written by finishing"
    )]
    LineOutOfPlace,
}

/// Why a sealed object cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The input could not be read, or it is cut off or changed: age authenticates every 64 KiB.
    #[error("sealed object cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is no binary age file with a header of at most 4 KiB.
    #[error("sealed object is not a binary age file with a header of at most 4 KiB")]
    NotAge,
    /// It is sealed to another key.
    #[error("sealed object does not open with this copy's key: it belongs to another copy")]
    OtherKey,
    /// Inside is not one zstd frame of the allowed form.
    #[error("sealed object does not hold one zstd frame with content checksum and a window of at most 8 MiB")]
    WrongFrame,
    /// Something follows the zstd frame.
    #[error("sealed object holds something after its zstd frame")]
    TrailingData,
}

/// Seals what is written to it. Without [`SealWriter::finish`] there is no object: what was cut off cannot be mistaken for whole.
pub(crate) struct SealWriter {
    frame: Encoder<'static>,
    /// What the compressor has given last: it has room for a whole block, which the compressor then writes here and nowhere before.
    compressed: Vec<u8>,
    file: AgeWriter,
    plain_bytes: u64,
}

impl SealWriter {
    /// Begins an object. `expected_bytes` is reserved at once, so that the buffer is not copied while it grows.
    pub(crate) fn new(
        recipient: &CopyRecipient,
        level: CompressionLevel,
        expected_bytes: usize,
    ) -> Result<Self, SealError> {
        let mut frame = Encoder::new(level.0)?;
        frame.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            frame,
            compressed: Vec::with_capacity(CCtx::out_size()),
            file: AgeWriter::new(&recipient.0, expected_bytes)?,
            plain_bytes: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SealError> {
        let mut input = InBuffer::around(bytes);
        loop {
            self.frame
                .run(&mut input, &mut OutBuffer::around(&mut self.compressed))?;
            self.file.write(&self.compressed)?;
            // Where there was no more room, more may be waiting.
            if input.pos() == bytes.len() && self.compressed.len() < self.compressed.capacity() {
                break;
            }
        }
        self.plain_bytes += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// What the object would have if it were finished now, but for up to 128 KiB that the compressor holds back.
    pub(crate) const fn sealed_bytes(&self) -> u64 {
        self.file.size()
    }

    pub(crate) fn finish(mut self, max_bytes: u64) -> Result<Sealed, SealError> {
        loop {
            let left = self
                .frame
                .finish(&mut OutBuffer::around(&mut self.compressed), true)?;
            self.file.write(&self.compressed)?;
            if left == 0 {
                break;
            }
        }
        let (bytes, sha256) = self.file.finish()?;
        within(bytes.len() as u64, max_bytes)?;
        Ok(Sealed {
            bytes: bytes.into(),
            sha256,
            plain_bytes: self.plain_bytes,
        })
    }
}

/// Refuses an object that is larger than its readers take.
fn within(size: u64, max: u64) -> Result<(), SealError> {
    if size > max {
        return Err(SealError::TooLarge { size, max });
    }
    Ok(())
}

type Restored<R> = io::Chain<Cursor<Vec<u8>>, R>;
type Content<R> = BufReader<StreamReader<Restored<R>>>;
type Frame<R> = zstd::stream::read::Decoder<'static, io::Chain<Cursor<Vec<u8>>, Content<R>>>;

/// Opens a sealed object and gives its content. Reading 0 bytes means that all of it was there and authentic.
pub(crate) struct OpenReader<R: BufRead> {
    frame: Option<Frame<R>>,
}

impl<R: BufRead> OpenReader<R> {
    pub(crate) fn new(mut sealed: R, key: &CopyKey) -> Result<Self, OpenError> {
        // Without this bound a hostile object could hold a million stanzas, each costing a key exchange.
        let begin = read_up_to(&mut sealed, MAX_AGE_HEADER_BYTES)?;
        if memchr::memmem::find(&begin, b"\n---").is_none() {
            return Err(OpenError::NotAge);
        }
        let restored = Cursor::new(begin).chain(sealed);
        let decryptor = age::Decryptor::new_buffered(restored).map_err(|_| OpenError::NotAge)?;
        let identity = std::iter::once(&key.0 as &dyn age::Identity);
        // Nothing is read here: header and nonce were before, and content is later.
        let content = decryptor.decrypt(identity).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => OpenError::OtherKey,
            _ => OpenError::NotAge,
        })?;
        let mut content = BufReader::with_capacity(INPUT_BYTES, content);
        let begin = read_up_to(&mut content, MAX_FRAME_HEADER_BYTES)?;
        check_frame(&begin)?;
        let mut frame =
            zstd::stream::read::Decoder::with_buffer(Cursor::new(begin).chain(content))?.single_frame();
        frame.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Self { frame: Some(frame) })
    }

    /// Fills `buffer` as far as there is content; fewer bytes mean that the object has ended, whole.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.read_some(&mut buffer[filled..])?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Reads once; 0 bytes mean that the object has ended, whole.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let Some(frame) = &mut self.frame else {
            return Ok(0);
        };
        let read = frame.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            // The frame has ended. Only now age's last chunk is read: it proves that nothing was cut off.
            if !frame.get_mut().fill_buf()?.is_empty() {
                return Err(OpenError::TrailingData);
            }
            self.frame = None;
        }
        Ok(read)
    }
}

fn read_up_to(reader: &mut impl Read, bytes: usize) -> Result<Vec<u8>, OpenError> {
    let mut begin = Vec::with_capacity(bytes);
    reader.take(bytes as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

/// Checks what the decoder would let through: skippable frames, frames without checksum, frames that need a dictionary.
fn check_frame(begin: &[u8]) -> Result<(), OpenError> {
    let [magic @ .., descriptor] = begin.get(..5).ok_or(OpenError::WrongFrame)? else {
        return Err(OpenError::WrongFrame);
    };
    let (dictionary, checksum, reserved) = (descriptor & 0b11, descriptor & 0b100, descriptor & 0b1000);
    if magic == FRAME_MAGIC && checksum != 0 && dictionary == 0 && reserved == 0 {
        return Ok(());
    }
    Err(OpenError::WrongFrame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_may_have_as_many_bytes_as_its_readers_take_and_not_one_more() {
        assert!(within(9, 10).is_ok() && within(10, 10).is_ok());
        assert!(matches!(
            within(11, 10),
            Err(SealError::TooLarge { size: 11, max: 10 })
        ));
        let key = CopyKey::generate();
        let writer = SealWriter::new(&key.recipient(), CompressionLevel::DEFAULT, 0).unwrap();
        assert!(matches!(
            writer.finish(10),
            Err(SealError::TooLarge { max: 10, .. })
        ));
    }
}
