//! Rows in COPY's text form, written into one buffer and sent in slices.

use std::{fmt::Display, io::Write as _, pin::pin};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures::SinkExt as _;
use tokio_postgres::Client;

use super::dice::Dice;

/// What is sent at once.
const SLICE: usize = 256 << 10;

/// One row, written field by field.
#[derive(Debug)]
pub(super) struct Row<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Row<'_> {
    fn next(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b'\t');
        }
        self.empty = false;
        self.out
    }

    /// Text that may hold anything.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let out = self.next();
        for byte in text.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                other => out.push(other),
            }
        }
        self
    }

    /// A value whose printed form holds nothing that COPY would read otherwise: numbers, dates, ids.
    pub(super) fn plain(&mut self, value: impl Display) -> &mut Self {
        write!(self.next(), "{value}").expect("a vector takes every write");
        self
    }

    /// The value, or null.
    pub(super) fn maybe(&mut self, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.plain(value),
            None => self.null(),
        }
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.next().extend_from_slice(b"\\N");
        self
    }

    /// A bytea.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let out = self.next();
        out.extend_from_slice(b"\\\\x");
        for byte in bytes {
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        self
    }
}

/// Copies `count` rows into `table` (a COPY target with its columns); row `n` is what `write` writes for `n`
/// and its dice.
pub(super) async fn rows(
    client: &Client,
    table: &str,
    seed: u64,
    count: u64,
    mut write: impl FnMut(u64, &mut Dice, &mut Row<'_>),
) -> anyhow::Result<u64> {
    let failed = || format!("rows cannot be copied into {table}");
    let mut sink = pin!(
        client
            .copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN"))
            .await
            .with_context(failed)?
    );
    let mut slice = Vec::with_capacity(SLICE * 2);
    for n in 0..count {
        write(
            n,
            &mut Dice::new(seed, table, n),
            &mut Row {
                out: &mut slice,
                empty: true,
            },
        );
        slice.push(b'\n');
        if slice.len() >= SLICE {
            sink.send(BytesMut::from(slice.as_slice()).freeze())
                .await
                .with_context(failed)?;
            slice.clear();
        }
    }
    sink.send(Bytes::from(slice)).await.with_context(failed)?;
    sink.finish().await.with_context(failed)
}
