//! Large objects: made by `pg_restore`, filled here. Pages of zeros are skipped, so that a sparse object stays sparse.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use dataembassy_archive::{FileName, LargeObjectDigester, Member};
use tokio::sync::mpsc;

use super::{LoadError, Sessions, lane};
use crate::{postgresql::Connection, restore::progress::Counters};

/// Bytes of a page of a large object in every server built with the default block size.
const PAGE: u64 = 2048;
/// Text gathered before it is sent: many small objects share a round trip.
const GATHERED: usize = 1024 * 1024;
const WAITING: usize = 2;

/// Objects, their bytes and the sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) sum: u128,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn of(digester: &LargeObjectDigester) -> Self {
        Self {
            objects: digester.objects(),
            bytes: digester.bytes(),
            sum: digester.sum().0,
        }
    }
}

/// The object that a file holds: `blob_<oid>.dat`.
pub(super) fn oid(file: &FileName) -> Option<u32> {
    let digits = file.as_str().strip_prefix("blob_")?.strip_suffix(".dat")?;
    digits.parse().ok()
}

/// A member of a large object.
pub(super) type Piece = (u32, Member);

pub(super) fn channel() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(WAITING)
}

/// Writes the objects that are sent; all members of one object go to one writer.
pub(super) async fn run(
    sessions: Arc<Sessions>,
    mut work: mpsc::Receiver<Piece>,
    counters: Arc<Counters>,
) -> Result<Totals, LoadError> {
    let mut writer = Writer {
        connection: lane::open(&sessions).await?,
        statements: String::new(),
        last: 0,
    };
    let mut open: HashMap<u32, Open> = HashMap::new();
    let mut totals = Totals::default();
    while let Some((oid, member)) = work.recv().await {
        let offset = if let Some(place) = member.name.place() {
            let object = match open.entry(oid) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Open::begin(oid)),
            };
            object
                .arrive(place, &member.body)
                .ok_or_else(|| LoadError::OutOfPlace {
                    member: member.name.to_string(),
                    why: "it is not the next one of its object",
                })?
        } else {
            let mut object = Open::begin(oid);
            object.digester.update(&member.body);
            totals.add(object.end());
            0
        };
        writer.write(oid, offset, &member.body).await?;
        counters.bytes.fetch_add(member.body.len() as u64, Relaxed);
    }
    writer.flush().await?;
    for object in open.into_values() {
        totals.add(object.end());
    }
    Ok(totals)
}

/// An object of which more may come.
struct Open {
    digester: LargeObjectDigester,
    offset: u64,
    /// Range and chunk of the member that has come last.
    last: Option<(u32, u32)>,
}

impl Open {
    fn begin(oid: u32) -> Self {
        let mut digester = LargeObjectDigester::new();
        digester.begin(oid);
        Self {
            digester,
            offset: 0,
            last: None,
        }
    }

    /// Takes a member in and gives its offset, which follows from those before it; none if it is not the next one.
    fn arrive(&mut self, (range, chunk): (u32, u32), body: &[u8]) -> Option<u64> {
        let is_next = match self.last {
            Some((last_range, last_chunk)) if range == last_range => chunk == last_chunk + 1,
            Some((last_range, _)) => range > last_range && chunk == 0,
            None => chunk == 0,
        };
        let offset = self.offset;
        self.last = Some((range, chunk));
        self.offset += body.len() as u64;
        self.digester.update(body);
        is_next.then_some(offset)
    }

    fn end(mut self) -> Totals {
        self.digester.end();
        Totals::of(&self.digester)
    }
}

struct Writer {
    connection: Connection,
    statements: String,
    last: u32,
}

impl Writer {
    async fn write(&mut self, oid: u32, offset: u64, body: &Bytes) -> Result<(), LoadError> {
        self.last = oid;
        for (start, end) in stretches(offset, body) {
            let (at, hex) = (offset + start as u64, hex::encode(&body[start..end]));
            // Writing to a String cannot fail.
            let _ = writeln!(
                self.statements,
                "SELECT pg_catalog.lo_put({oid}, {at}, '\\x{hex}');"
            );
        }
        if self.statements.len() >= GATHERED {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LoadError> {
        if self.statements.is_empty() {
            return Ok(());
        }
        let oid = self.last;
        let written = self.connection.execute(&self.statements).await;
        self.statements.clear();
        written.map_err(|source| LoadError::ObjectRefused { oid, source })
    }
}

/// The parts of a body that must be written: runs of pages that are not all zeros, and the last byte, which makes the
/// object as long as it is.
fn stretches(offset: u64, body: &[u8]) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    while start < body.len() {
        let room = PAGE - (offset + start as u64) % PAGE;
        let end = body
            .len()
            .min(start + usize::try_from(room).unwrap_or(body.len()));
        if body[start..end].iter().any(|byte| *byte != 0) {
            match stretches.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => stretches.push((start, end)),
            }
        }
        start = end;
    }
    if !body.is_empty() && stretches.last().is_none_or(|last| last.1 != body.len()) {
        stretches.push((body.len() - 1, body.len()));
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_zeros_are_skipped_but_the_end_is_kept() {
        let mut body = vec![0; 3 * 2048];
        assert_eq!(stretches(0, &body), [(6143, 6144)]);
        body[5000] = 1;
        assert_eq!(stretches(0, &body), [(4096, 6144)]);
        body[1] = 1;
        assert_eq!(stretches(0, &body), [(0, 2048), (4096, 6144)]);
        // The object's pages count, not the member's.
        assert_eq!(stretches(2047, &body), [(1, 2049), (4097, 6144)]);
        assert_eq!(stretches(0, &[]), []);
    }

    #[test]
    fn a_member_of_an_object_that_is_not_the_next_one_is_refused() {
        let mut object = Open::begin(1);
        assert_eq!(object.arrive((0, 0), b"ab"), Some(0));
        assert_eq!(object.arrive((0, 1), b"c"), Some(2));
        assert_eq!(object.arrive((3, 0), b"d"), Some(3));
        assert_eq!(object.arrive((3, 2), b"e"), None);
        assert_eq!(Open::begin(1).arrive((0, 1), b""), None);
    }

    #[test]
    fn only_files_of_large_objects_have_an_oid() {
        assert_eq!(oid(&"blob_4711.dat".parse().unwrap()), Some(4711));
        assert_eq!(oid(&"blobs.toc".parse().unwrap()), None);
        assert_eq!(oid(&"4711.dat".parse().unwrap()), None);
    }
}
