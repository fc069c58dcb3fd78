//! Writing an age file: its header by the `age` crate, its content where it lies, by the cipher that TLS uses here too.
//!
//! That crate's own writer copies what it seals three times, with a cipher of about half the speed. Readers see no difference, and the crate is the
//! judge of that: the tests open with it what is written here.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;

use age::secrecy::ExposeSecret;
use age::x25519;
use age_core::format::{FileKey, Stanza};
use age_core::primitives::hkdf;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::value::Sha256Stream;
use zeroize::Zeroizing;

/// The content that one tag authenticates; only the last chunk may have less, and it is empty only where there is no content at all.
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
/// What stands between header and content, and makes its key.
const FILE_NONCE_BYTES: usize = 16;
const CONTENT_KEY_LABEL: &[u8] = b"payload";

/// Writes one age file into memory and hashes it on the way. Without [`AgeWriter::finish`] there is no file.
pub(crate) struct AgeWriter {
    key: LessSafeKey,
    /// The header, chunks that are sealed, and the one that is being filled, still in the clear.
    bytes: Vec<u8>,
    /// Where the chunk that is being filled begins.
    open: usize,
    sealed_chunks: u64,
    hash: Sha256Stream,
}

impl AgeWriter {
    /// Begins a file. `expected_bytes` is reserved at once, so that nothing is copied while it grows.
    pub(crate) fn new(recipient: &x25519::Recipient, expected_bytes: usize) -> io::Result<Self> {
        let listening = Listening {
            recipient,
            file_key: Cell::new(None),
        };
        let recipients = std::iter::once(&listening as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(expected_bytes);
        // This writes header and nonce. The writer that it gives is dropped with nothing sealed, so no nonce of its key is used twice.
        drop(encryptor.wrap_output(&mut bytes)?);
        let file_key = listening.file_key.take();
        let (Some(file_key), Some(nonce)) = (file_key, bytes.last_chunk::<FILE_NONCE_BYTES>()) else {
            return Err(io::Error::other("age made no file key"));
        };
        let key = Zeroizing::new(hkdf(nonce, CONTENT_KEY_LABEL, file_key.expose_secret()));
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map_err(io::Error::other)?;
        let mut hash = Sha256Stream::new();
        hash.update(&bytes);
        Ok(Self {
            key: LessSafeKey::new(key),
            open: bytes.len(),
            bytes,
            sealed_chunks: 0,
            hash,
        })
    }

    /// Adds content.
    pub(crate) fn write(&mut self, mut content: &[u8]) -> io::Result<()> {
        while !content.is_empty() {
            // Only now it is certain that this chunk is not the last one.
            if self.bytes.len() - self.open == CHUNK_BYTES {
                self.seal_chunk(false)?;
            }
            let room = CHUNK_BYTES - (self.bytes.len() - self.open);
            let (now, later) = content.split_at(room.min(content.len()));
            self.bytes.extend_from_slice(now);
            content = later;
        }
        Ok(())
    }

    /// What the file would have if it were finished now.
    pub(crate) const fn size(&self) -> u64 {
        (self.bytes.len() + TAG_BYTES) as u64
    }

    /// Ends the file: all of its bytes, and their SHA-256.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<u8>, Sha256Digest)> {
        self.seal_chunk(true)?;
        Ok((self.bytes, self.hash.finish()))
    }

    /// Seals the chunk where it lies and hashes it while it is in the processor's cache.
    fn seal_chunk(&mut self, is_last: bool) -> io::Result<()> {
        // The number of the chunk in eleven bytes, the most significant first, and whether it is the last one.
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.sealed_chunks.to_be_bytes());
        nonce[11] = u8::from(is_last);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let chunk = &mut self.bytes[self.open..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk);
        self.bytes
            .extend_from_slice(tag.map_err(io::Error::other)?.as_ref());
        self.hash.update(&self.bytes[self.open..]);
        self.open = self.bytes.len();
        self.sealed_chunks += 1;
        Ok(())
    }
}

/// A recipient that remembers the file key it is asked to wrap: the crate tells it to nobody else. Its copy stays in one place of the heap and is
/// overwritten there; bytes that are moved out of a cell stay in the cell too.
struct Listening<'a> {
    recipient: &'a x25519::Recipient,
    file_key: Cell<Option<FileKey>>,
}

impl age::Recipient for Listening<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let heard = FileKey::init_with_mut(|heard| heard.copy_from_slice(file_key.expose_secret()));
        self.file_key.set(Some(heard));
        age::Recipient::wrap_file_key(self.recipient, file_key)
    }
}

#[cfg(test)]
mod tests {
    use age::x25519::Identity;
    use proptest::prelude::*;

    use super::*;

    /// Bytes that differ from chunk to chunk.
    fn content(length: usize) -> Vec<u8> {
        (0_u32..)
            .flat_map(|number| number.wrapping_mul(0x9E37_79B9).to_be_bytes())
            .take(length)
            .collect()
    }

    fn written(identity: &Identity, content: &[u8], steps: &[usize]) -> (Vec<u8>, Sha256Digest) {
        let mut writer = AgeWriter::new(&identity.to_public(), 0).unwrap();
        let (mut left, mut steps) = (content, steps.iter().cycle());
        while !left.is_empty() {
            let step = steps.next().copied().unwrap_or(1).clamp(1, left.len());
            let (now, later) = left.split_at(step);
            writer.write(now).unwrap();
            left = later;
        }
        let size = writer.size();
        let (file, digest) = writer.finish().unwrap();
        assert_eq!(size, file.len() as u64);
        (file, digest)
    }

    /// Where the first chunk begins.
    fn begin(file: &[u8]) -> usize {
        let mac = memchr::memmem::find(file, b"\n--- ").unwrap() + 1;
        let end = memchr::memchr(b'\n', &file[mac..]).unwrap();
        mac + end + 1 + FILE_NONCE_BYTES
    }

    #[test]
    fn the_age_crate_opens_what_ends_at_in_front_of_and_behind_a_chunks_end() {
        let identity = Identity::generate();
        for chunks in 0..4 {
            for length in [
                (chunks * CHUNK_BYTES).saturating_sub(1),
                chunks * CHUNK_BYTES,
                chunks * CHUNK_BYTES + 1,
            ] {
                let content = content(length);
                for steps in [&[1_000][..], &[CHUNK_BYTES], &[CHUNK_BYTES - 1, 2], &[usize::MAX]] {
                    let (file, digest) = written(&identity, &content, steps);
                    assert!(age::decrypt(&identity, &file).unwrap() == content, "{length}");
                    assert_eq!(digest, Sha256Digest::of(&file));
                    let tags = length.div_ceil(CHUNK_BYTES).max(1);
                    assert_eq!(file.len() - begin(&file), length + tags * TAG_BYTES);
                }
            }
        }
    }

    #[test]
    fn what_was_cut_off_between_chunks_does_not_open_nor_do_chunks_in_another_order() {
        let identity = Identity::generate();
        let (file, _) = written(&identity, &content(3 * CHUNK_BYTES + 9), &[7_000]);
        let sealed = CHUNK_BYTES + TAG_BYTES;
        let begin = begin(&file);
        for chunks in 0..=3 {
            let end = begin + chunks * sealed;
            for cut in [end - 1, end, end + 1] {
                assert!(age::decrypt(&identity, &file[..cut]).is_err(), "cut at {cut}");
            }
        }
        let mut swapped = file[..begin].to_vec();
        for chunk in [1, 0] {
            swapped.extend_from_slice(&file[begin + chunk * sealed..][..sealed]);
        }
        swapped.extend_from_slice(&file[begin + 2 * sealed..]);
        assert_eq!(swapped.len(), file.len());
        assert!(age::decrypt(&identity, &swapped).is_err());
    }

    #[test]
    fn no_two_files_have_a_key_in_common() {
        let identity = Identity::generate();
        let content = content(1_000);
        let [one, other] = [(); 2].map(|()| written(&identity, &content, &[1_000]).0);
        assert_ne!(one[begin(&one)..], other[begin(&other)..]);
        assert!(age::decrypt(&Identity::generate(), &one).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_age_crate_opens_any_content_however_it_was_written(
            length in 0..3 * CHUNK_BYTES,
            steps in prop::collection::vec(1..2 * CHUNK_BYTES, 1..8),
        ) {
            let identity = Identity::generate();
            let content = content(length);
            let (file, digest) = written(&identity, &content, &steps);
            prop_assert!(age::decrypt(&identity, &file).unwrap() == content);
            prop_assert_eq!(digest, Sha256Digest::of(&file));
        }
    }
}
