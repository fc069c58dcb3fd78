//! The reader: messages are a five-byte header and a body, and a body is handed on in slices as it arrives.
//!
//! A `CopyData` message holds a whole row, and a row may be a gigabyte; so nothing here waits for a whole body unless
//! its reader says how large it may be.

use std::io;

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::Header;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::ConnectionError;

/// Bytes read ahead per connection: the only memory a reader holds.
const READ_AHEAD: usize = 128 * 1024;
const HEADER: usize = 5;

/// What stands before a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The message's type.
    pub(crate) tag: u8,
    /// Bytes of the body.
    pub(crate) length: usize,
}

/// Reads messages from a stream.
pub(crate) struct Frames<S> {
    pub(crate) stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    body_left: usize,
}

impl<S: AsyncRead + Unpin> Frames<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: vec![0; READ_AHEAD].into_boxed_slice(),
            start: 0,
            end: 0,
            body_left: 0,
        }
    }

    /// Bytes that were read and not yet taken.
    pub(crate) fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Reads what the stream has. Safe to abandon: what was read stays in the buffer.
    pub(crate) async fn fill(&mut self) -> Result<(), ConnectionError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let read = self
            .stream
            .read(&mut self.buffer[self.end..])
            .await
            .map_err(ConnectionError::Lost)?;
        if read == 0 {
            return Err(ConnectionError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += read;
        Ok(())
    }

    /// The next message's header; what is left of the body before is skipped. Safe to abandon.
    pub(crate) async fn next(&mut self) -> Result<Frame, ConnectionError> {
        while self.body_left > 0 {
            let skipped = self.available().await?;
            self.take(skipped);
        }
        loop {
            if let Some(header) = Header::parse(&self.buffer[self.start..self.end])
                .map_err(|error| ConnectionError::Protocol(error.to_string()))?
            {
                // A header's length counts itself and is at least 4: `parse` has checked.
                let length = usize::try_from(header.len() - 4).unwrap_or_default();
                self.start += HEADER;
                self.body_left = length;
                return Ok(Frame {
                    tag: header.tag(),
                    length,
                });
            }
            self.fill().await?;
        }
    }

    /// How many bytes of the current body can be taken now: none only at its end. Safe to abandon.
    pub(crate) async fn available(&mut self) -> Result<usize, ConnectionError> {
        if self.body_left > 0 && self.start == self.end {
            self.fill().await?;
        }
        Ok(self.body_left.min(self.end - self.start))
    }

    /// Takes `length` bytes that [`available`](Self::available) has promised.
    pub(crate) fn take(&mut self, length: usize) -> &[u8] {
        let slice = &self.buffer[self.start..self.start + length];
        self.start += length;
        self.body_left -= length;
        slice
    }

    /// Appends what has arrived of this body, and of the bodies of `tag` that follow it, until `into` has `limit` bytes or the next byte has not
    /// arrived; how many it appended. A row is a body: so many small ones cost one look at the buffer.
    pub(crate) fn gather(&mut self, tag: u8, into: &mut BytesMut, limit: usize) -> usize {
        let before = into.len();
        loop {
            let room = limit.saturating_sub(into.len());
            let length = self.body_left.min(self.end - self.start).min(room);
            into.extend_from_slice(self.take(length));
            if self.body_left > 0 || into.len() >= limit {
                break;
            }
            let Some((header, _)) = self.buffer[self.start..self.end].split_first_chunk::<HEADER>() else {
                break;
            };
            let [next, length @ ..] = *header;
            // What is too short for a length is for whoever reads messages one by one to refuse.
            let length = u32::from_be_bytes(length).checked_sub(4);
            let (true, Some(length)) = (
                next == tag,
                length.and_then(|length| usize::try_from(length).ok()),
            ) else {
                break;
            };
            self.start += HEADER;
            self.body_left = length;
        }
        into.len() - before
    }

    /// What is left of the current body, if it is at most `limit` bytes.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Bytes, ConnectionError> {
        if self.body_left > limit {
            return Err(ConnectionError::AnswerTooLarge { limit });
        }
        let mut body = Vec::with_capacity(self.body_left);
        while self.body_left > 0 {
            let length = self.available().await?;
            body.extend_from_slice(self.take(length));
        }
        Ok(body.into())
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_testkit::sips::Sips;

    use super::*;

    #[tokio::test]
    async fn a_body_larger_than_the_buffer_arrives_in_slices() {
        let body = vec![7_u8; 3 * READ_AHEAD];
        let mut wire = vec![b'd'];
        wire.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        wire.extend_from_slice(&body);
        wire.extend_from_slice(b"Z\0\0\0\x05I");

        let mut frames = Frames::new(wire.as_slice());
        assert_eq!(frames.next().await.unwrap().tag, b'd');
        let mut total = 0;
        loop {
            let length = frames.available().await.unwrap();
            if length == 0 {
                break;
            }
            assert!(length <= READ_AHEAD);
            total += frames.take(length).len();
        }
        assert_eq!(total, body.len());
        assert_eq!(frames.next().await.unwrap().tag, b'Z');
        assert_eq!(&frames.body(1).await.unwrap()[..], b"I");
    }

    #[tokio::test]
    async fn bodies_of_one_kind_are_gathered_wherever_they_are_cut_and_up_to_a_limit() {
        let (mut wire, mut rows) = (Vec::new(), Vec::new());
        for length in (0..400).chain([READ_AHEAD + 7, 0, 3]) {
            let row = vec![b'a' + u8::try_from(length % 26).unwrap(); length];
            wire.push(b'd');
            wire.extend_from_slice(&u32::try_from(length + 4).unwrap().to_be_bytes());
            wire.extend_from_slice(&row);
            rows.extend_from_slice(&row);
        }
        wire.extend_from_slice(b"c\0\0\0\x04Z\0\0\0\x05I");
        for (step, limit) in [
            (1, 1_000),
            (4_096, 1_000),
            (100_000, 64 * 1024),
            (wire.len(), usize::MAX),
        ] {
            let mut frames = Frames::new(Sips(&wire, step));
            let mut gathered = Vec::new();
            let mut room = BytesMut::new();
            loop {
                if frames.available().await.unwrap() == 0 && frames.next().await.unwrap().tag == b'c' {
                    break;
                }
                if frames.available().await.unwrap() > 0 {
                    frames.gather(b'd', &mut room, limit);
                    assert!(room.len() <= limit);
                    gathered.extend_from_slice(&room.split());
                }
            }
            assert!(gathered == rows, "{step}: {} of {}", gathered.len(), rows.len());
            assert_eq!(frames.next().await.unwrap().tag, b'Z');
        }
    }

    #[tokio::test]
    async fn a_body_beyond_the_readers_limit_is_refused_and_a_short_length_too() {
        let mut frames = Frames::new(b"D\0\0\0\x08abcd".as_slice());
        frames.next().await.unwrap();
        assert!(matches!(
            frames.body(3).await,
            Err(ConnectionError::AnswerTooLarge { limit: 3 })
        ));

        let mut frames = Frames::new(b"D\0\0\0\x03abcd".as_slice());
        assert!(matches!(frames.next().await, Err(ConnectionError::Protocol(_))));
    }

    #[tokio::test]
    async fn what_was_cut_off_is_lost_not_ended() {
        let mut frames = Frames::new(b"d\0\0\0\x0aabc".as_slice());
        frames.next().await.unwrap();
        assert!(matches!(frames.body(100).await, Err(ConnectionError::Lost(_))));
    }
}
