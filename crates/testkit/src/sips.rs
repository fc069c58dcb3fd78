//! A reader in memory that gives little at a time, as a slow line does. The fuzz targets take this file by its path.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Gives at most so many bytes at a time.
#[derive(Debug)]
pub struct Sips<'a>(pub &'a [u8], pub usize);

impl AsyncRead for Sips<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}
