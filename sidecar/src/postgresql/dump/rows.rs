//! Rows become members: chunks of at most 1 MiB that end where a row ends, counted and hashed on the way.

use bytes::{Bytes, BytesMut};
use dataembassy_archive::{
    Member, MemberName,
    member::{FileName, MAX_BODY_BYTES, TABLE_END},
    row_digest::{RowDigest, RowDigester},
};

use super::{DumpError, outlets::Outlet};

/// Small tables are many: their buffers begin small.
const FIRST_CAPACITY: usize = 8 * 1024;

/// Takes the text of one range in and sends it as members.
pub(super) struct RowWriter<'a> {
    outlet: Outlet<'a>,
    file: FileName,
    range: u32,
    chunks: u32,
    bytes: u64,
    buffer: BytesMut,
    /// Up to here the buffer holds whole rows.
    row_end: usize,
    digester: RowDigester,
}

/// What a range came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct RangeSum {
    pub(super) chunks: u32,
    pub(super) bytes: u64,
    pub(super) digest: RowDigest,
}

impl<'a> RowWriter<'a> {
    pub(super) fn new(outlet: Outlet<'a>, file: FileName, range: u32) -> Self {
        Self {
            outlet,
            file,
            range,
            chunks: 0,
            bytes: 0,
            buffer: BytesMut::with_capacity(FIRST_CAPACITY),
            row_end: 0,
            digester: RowDigester::new(),
        }
    }

    /// Where the next bytes are appended, so that it has at most [`MAX_BODY_BYTES`]; it always has fewer. [`Self::appended`] follows.
    pub(super) const fn room(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes in the bytes that were appended last.
    pub(super) async fn appended(&mut self, count: usize) -> Result<(), DumpError> {
        self.bytes += count as u64;
        let before = self.buffer.len() - count;
        if let Some(line_feed) = self.buffer[before..].iter().rposition(|byte| *byte == b'\n') {
            self.row_end = before + line_feed + 1;
        }
        if self.buffer.len() == MAX_BODY_BYTES {
            self.send_chunk().await?;
        }
        Ok(())
    }

    /// Sends the whole rows of a full buffer; all of it where one row is larger than a member.
    async fn send_chunk(&mut self) -> Result<(), DumpError> {
        let end = if self.row_end == 0 {
            self.buffer.len()
        } else {
            self.row_end
        };
        let begun_row = self.buffer.split_off(end);
        let mut next = BytesMut::with_capacity(MAX_BODY_BYTES);
        next.extend_from_slice(&begun_row);
        let body = std::mem::replace(&mut self.buffer, next);
        self.row_end = 0;
        self.send(body.freeze()).await
    }

    async fn send(&mut self, body: Bytes) -> Result<(), DumpError> {
        self.digester.update(&body);
        let name = MemberName::part(self.file.clone(), self.range, self.chunks).map_err(invalid)?;
        self.chunks += 1;
        let member = Member::new(name, body).map_err(invalid)?;
        self.outlet.send(member).await
    }

    async fn send_rest(&mut self) -> Result<(), DumpError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let rest = compact(std::mem::take(&mut self.buffer));
        self.send(rest).await
    }

    /// Sends the rest.
    pub(super) async fn finish(mut self) -> Result<RangeSum, DumpError> {
        self.send_rest().await?;
        self.sum()
    }

    /// As [`finish`](Self::finish) for a table's only range: what fits one member is sent as a whole file.
    pub(super) async fn finish_table(mut self) -> Result<(RangeSum, bool), DumpError> {
        let file = self.file.clone();
        if self.chunks == 0 && self.buffer.len() + TABLE_END.len() <= MAX_BODY_BYTES {
            self.digester.update(&self.buffer);
            let mut body = std::mem::take(&mut self.buffer);
            body.extend_from_slice(TABLE_END);
            let member = Member::new(MemberName::whole(file), compact(body)).map_err(invalid)?;
            self.outlet.send(member).await?;
            return Ok((self.sum()?, true));
        }
        self.send_rest().await?;
        self.outlet.send(Member::table_end(file)).await?;
        Ok((self.sum()?, false))
    }

    fn sum(self) -> Result<RangeSum, DumpError> {
        if self.digester.saw_end_of_data_line() {
            return Err(DumpError::Inconsistent(format!(
                "the rows of {} hold an end-of-data line",
                self.file
            )));
        }
        let digest = self
            .digester
            .finish()
            .map_err(|error| DumpError::Inconsistent(format!("{}: {error}", self.file)))?;
        Ok(RangeSum {
            chunks: self.chunks,
            bytes: self.bytes,
            digest,
        })
    }
}

/// A body that waits in a channel should not hold more memory than it has bytes.
fn compact(body: BytesMut) -> Bytes {
    if body.capacity() > 2 * body.len() {
        Bytes::copy_from_slice(&body)
    } else {
        body.freeze()
    }
}

pub(super) fn invalid(error: impl std::fmt::Display) -> DumpError {
    DumpError::Inconsistent(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::postgresql::dump::Outlets;

    async fn members_of(text: &[u8], step: usize, whole: bool) -> (Vec<Member>, RangeSum) {
        let (sender, mut receiver) = mpsc::channel(64);
        let outlets = Outlets::from(sender);
        let mut writer = RowWriter::new(outlets.outlet(), "7.dat".parse().unwrap(), 3);
        for mut piece in text.chunks(step) {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(MAX_BODY_BYTES - writer.room().len()));
                writer.room().extend_from_slice(now);
                writer.appended(now.len()).await.unwrap();
                piece = later;
            }
        }
        let sum = if whole {
            writer.finish_table().await.unwrap().0
        } else {
            writer.finish().await.unwrap()
        };
        drop(outlets);
        let mut members = Vec::new();
        while let Some(member) = receiver.recv().await {
            members.push(member);
        }
        (members, sum)
    }

    #[tokio::test]
    async fn a_chunk_ends_where_a_row_ends_unless_the_row_alone_is_larger() {
        let mut text = Vec::new();
        for row in [10, 700_000, 700_000, 20, 3_000_000, 30] {
            text.extend(std::iter::repeat_n(b'x', row));
            text.push(b'\n');
        }
        for step in [1_000, 65_536, 9_999_999] {
            let (members, sum) = members_of(&text, step, false).await;
            assert_eq!(
                members
                    .iter()
                    .flat_map(|member| member.body.to_vec())
                    .collect::<Vec<_>>(),
                text
            );
            let ends: Vec<_> = members
                .iter()
                .map(|member| (member.body.len(), member.body.ends_with(b"\n")))
                .collect();
            assert_eq!(
                ends,
                [
                    (700_012, true),
                    (700_022, true),
                    (1_048_576, false),
                    (1_048_576, false),
                    (3_000_001 - 2 * 1_048_576 + 31, true)
                ]
            );
            assert_eq!(members[4].name.to_string(), "parts/7.dat/000003.00000004");
            assert_eq!(
                (sum.chunks, sum.bytes, sum.digest.rows),
                (5, text.len() as u64, 6)
            );
        }
    }

    #[tokio::test]
    async fn a_small_table_is_one_whole_file() {
        let (members, sum) = members_of(b"1\n2\n", 3, true).await;
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].name.to_string(), "archive/7.dat");
        assert_eq!(&members[0].body[..], b"1\n2\n\\.\n\n\n");
        assert_eq!((sum.bytes, sum.digest.rows), (4, 2));
    }

    #[tokio::test]
    async fn rows_that_were_cut_off_are_an_error() {
        let (sender, _receiver) = mpsc::channel(4);
        let outlets = Outlets::from(sender);
        let mut writer = RowWriter::new(outlets.outlet(), "7.dat".parse().unwrap(), 0);
        writer.room().extend_from_slice(b"1\n2");
        writer.appended(3).await.unwrap();
        assert!(matches!(writer.finish().await, Err(DumpError::Inconsistent(_))));
    }
}
