//! zstd alone: what the processor needs to compress the same bytes in the same way as a copy does, and nothing else.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use dataembassy_archive::{member::MAX_BODY_BYTES, segment::TARGET_SEALED_BYTES};
use zstd::stream::write::Encoder;

use super::clock;

/// The level of a copy of more than a few segments, as long as sealing is what the others wait for.
pub(super) const LEVEL: i32 = 1;
/// The best of them counts: nothing makes a processor quicker than it is.
const TIMES: u32 = 3;

/// What came of it.
pub(super) struct Compressed {
    /// What one processor needed.
    pub(super) processor: Duration,
    /// How many bytes they have become.
    pub(super) bytes: u64,
}

/// Compresses rows on one thread, in members and frames as large as those of a copy.
pub(super) async fn alone(rows: Vec<Bytes>) -> Result<Compressed> {
    let compress = move || {
        let all: Vec<_> = (0..TIMES).map(|_| compress(&rows)).collect::<io::Result<_>>()?;
        let best = all.into_iter().min_by_key(|one| one.processor);
        best.context("nothing was compressed")
    };
    tokio::task::spawn_blocking(compress).await?
}

fn compress(rows: &[Bytes]) -> io::Result<Compressed> {
    let before = clock::of_this_thread();
    let mut frame = begin()?;
    let mut bytes = 0;
    for member in rows.iter().flat_map(|copy| copy.chunks(MAX_BODY_BYTES)) {
        frame.write_all(member)?;
        if frame.get_ref().0 >= TARGET_SEALED_BYTES {
            bytes += std::mem::replace(&mut frame, begin()?).finish()?.0;
        }
    }
    bytes += frame.finish()?.0;
    Ok(Compressed {
        processor: clock::of_this_thread().saturating_sub(before),
        bytes,
    })
}

fn begin() -> io::Result<Encoder<'static, Counting>> {
    let mut frame = Encoder::new(Counting(0), LEVEL)?;
    frame.include_checksum(true)?;
    Ok(frame)
}

/// Counts what it is given, and keeps nothing.
struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_compressed_is_smaller_and_takes_time() {
        let row = b"1\tpopulation\t2026-11-23\n".repeat(200_000);
        let length = row.len() as u64;
        let compressed = alone(vec![row.into()]).await.unwrap();
        assert!(
            (1..length / 10).contains(&compressed.bytes),
            "{}",
            compressed.bytes
        );
        assert!(compressed.processor > Duration::ZERO);
    }
}
