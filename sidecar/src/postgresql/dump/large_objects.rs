//! Large objects, read as the pages of `pg_largeobject` and sent as the files `blob_<oid>.dat`.
//!
//! Opening them one by one would cost three round trips each and a right on each of them. Pages that were never
//! written are zeros to whoever reads the object, and zeros here.

use bytes::{Buf, Bytes, BytesMut};
use dataembassy_archive::{
    LargeObjectDigester, Member, MemberName,
    member::{FileName, MAX_BODY_BYTES},
};

use super::{DumpError, outlets::Outlet, rows::invalid, run::Run};
use crate::postgresql::{Connection, ConnectionError};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the header's extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// A page is a quarter of a block, and a block at most 32 KiB.
const MOST_PAGE_BYTES: usize = 8 * 1024;
static ZEROS: [u8; MAX_BODY_BYTES] = [0; MAX_BODY_BYTES];

/// Copies the objects from `first` to before `end` of the plan's list.
pub(super) async fn copy(
    connection: &mut Connection,
    run: &Run,
    first: usize,
    end: usize,
) -> Result<(), DumpError> {
    let oids = &run.large_objects[first..end];
    let (Some(low), Some(high)) = (oids.first(), oids.last()) else {
        return Ok(());
    };
    // By the index only: a sort of all pages would go to the source's disk.
    connection
        .execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off",
        )
        .await?;
    let statement = format!(
        "COPY (SELECT loid, pageno, data FROM pg_catalog.pg_largeobject \
         WHERE loid >= {low} AND loid <= {high} ORDER BY loid, pageno) TO stdout (FORMAT binary)"
    );
    let mut copy = connection.copy_out(statement).await.map_err(failed)?;
    let mut tuples = Tuples::default();
    let mut objects = Objects {
        run,
        outlet: run.outlets.outlet(),
        oids,
        page_bytes: run.facts.block_bytes / 4,
        open: None,
        digester: LargeObjectDigester::new(),
    };
    while let Some(slice) = copy.next().await.map_err(failed)? {
        tuples.buffer.extend_from_slice(slice);
        while let Some((oid, page, data)) = tuples.next()? {
            objects.page(oid, page, &data).await?;
        }
    }
    if !tuples.ended || !tuples.buffer.is_empty() {
        return Err(DumpError::Inconsistent("the large objects were cut off".into()));
    }
    objects.finish().await
}

fn failed(error: ConnectionError) -> DumpError {
    DumpError::of_copy("pg_largeobject", error)
}

/// Takes tuples of (oid, int4, bytea) out of a binary COPY.
#[derive(Default)]
struct Tuples {
    buffer: BytesMut,
    begun: bool,
    ended: bool,
}

impl Tuples {
    fn next(&mut self) -> Result<Option<(u32, u32, Bytes)>, DumpError> {
        let odd = |what: &str| {
            DumpError::Inconsistent(format!("the binary COPY of large objects has an odd {what}"))
        };
        if !self.begun {
            if self.buffer.len() < HEADER_BYTES {
                return Ok(None);
            }
            let mut header = self.buffer.split_to(HEADER_BYTES);
            if !header.starts_with(SIGNATURE) {
                return Err(odd("signature"));
            }
            header.advance(SIGNATURE.len());
            if header.get_u64() != 0 {
                return Err(odd("header"));
            }
            self.begun = true;
        }
        let mut peek = &self.buffer[..];
        let Ok(columns) = peek.try_get_i16() else {
            return Ok(None);
        };
        if columns == -1 {
            self.ended = true;
            self.buffer.advance(2);
            return Ok(None);
        }
        // Number of columns, then each one's length before it: 2, 4 + 4, 4 + 4, 4 bytes before the data.
        if peek.len() < 20 {
            return Ok(None);
        }
        let (oid_bytes, oid, page_bytes, page, length) = (
            peek.get_u32(),
            peek.get_u32(),
            peek.get_u32(),
            peek.get_u32(),
            peek.get_u32(),
        );
        if (columns, oid_bytes, page_bytes) != (3, 4, 4) || length as usize > MOST_PAGE_BYTES {
            return Err(odd("tuple"));
        }
        if peek.len() < length as usize {
            return Ok(None);
        }
        self.buffer.advance(22);
        Ok(Some((oid, page, self.buffer.split_to(length as usize).freeze())))
    }
}

/// Puts pages together to objects, in the order of the plan's list.
struct Objects<'a> {
    run: &'a Run,
    outlet: Outlet<'a>,
    /// Objects that have not begun.
    oids: &'a [u32],
    page_bytes: u64,
    open: Option<Object>,
    digester: LargeObjectDigester,
}

struct Object {
    oid: u32,
    file: FileName,
    size: u64,
    chunks: u32,
    buffer: BytesMut,
}

impl Objects<'_> {
    async fn page(&mut self, oid: u32, page: u32, data: &[u8]) -> Result<(), DumpError> {
        if self.open.as_ref().is_none_or(|open| open.oid != oid) {
            self.close().await?;
            // Objects without any page come before it.
            while let Some((next, rest)) = self.oids.split_first() {
                if *next > oid {
                    break;
                }
                self.oids = rest;
                self.begin(*next)?;
                if *next == oid {
                    break;
                }
                self.close().await?;
            }
        }
        // Pages of an object that is not in the plan: it was removed from the catalog, and its pages are no object.
        if self.open.as_ref().is_none_or(|open| open.oid != oid) {
            return Ok(());
        }
        let start = u64::from(page) * self.page_bytes;
        let size = self.open.as_ref().map_or(0, |open| open.size);
        let gap = start.checked_sub(size);
        self.zeros(
            gap.ok_or_else(|| DumpError::Inconsistent(format!("pages of large object {oid} overlap")))?,
        )
        .await?;
        self.data(data).await
    }

    fn begin(&mut self, oid: u32) -> Result<(), DumpError> {
        let file = format!("blob_{oid}.dat").parse().map_err(invalid)?;
        self.digester.begin(oid);
        self.open = Some(Object {
            oid,
            file,
            size: 0,
            chunks: 0,
            buffer: BytesMut::new(),
        });
        Ok(())
    }

    async fn zeros(&mut self, mut count: u64) -> Result<(), DumpError> {
        while count > 0 {
            let some = usize::try_from(count)
                .unwrap_or(MAX_BODY_BYTES)
                .min(MAX_BODY_BYTES);
            self.data(&ZEROS[..some]).await?;
            count -= some as u64;
        }
        Ok(())
    }

    async fn data(&mut self, mut data: &[u8]) -> Result<(), DumpError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        self.digester.update(data);
        open.size += data.len() as u64;
        while !data.is_empty() {
            // Only an object that has more than one member's worth of bytes is cut.
            if open.buffer.len() == MAX_BODY_BYTES {
                let body = std::mem::take(&mut open.buffer).freeze();
                send_part(&self.outlet, open, body).await?;
            }
            let (now, later) = data.split_at(data.len().min(MAX_BODY_BYTES - open.buffer.len()));
            open.buffer.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), DumpError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        self.digester.end();
        let body = std::mem::take(&mut open.buffer);
        let (size, body) = (open.size, Bytes::copy_from_slice(&body));
        if open.chunks == 0 {
            let member = Member::new(MemberName::whole(open.file), body).map_err(invalid)?;
            self.outlet.send(member).await?;
        } else {
            send_part(&self.outlet, &mut open, body).await?;
        }
        self.run.progress(|progress| {
            progress.bytes += size;
            progress.large_objects += 1;
        });
        Ok(())
    }

    async fn finish(mut self) -> Result<(), DumpError> {
        self.close().await?;
        for oid in std::mem::take(&mut self.oids) {
            self.begin(*oid)?;
            self.close().await?;
        }
        self.run.large_objects_done(&self.digester);
        Ok(())
    }
}

async fn send_part(outlet: &Outlet<'_>, open: &mut Object, body: Bytes) -> Result<(), DumpError> {
    let name = MemberName::part(open.file.clone(), 0, open.chunks).map_err(invalid)?;
    open.chunks += 1;
    let member = Member::new(name, body).map_err(invalid)?;
    outlet.send(member).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_are_taken_out_however_the_bytes_are_cut() {
        let mut wire = SIGNATURE.to_vec();
        wire.extend_from_slice(&[0; 8]);
        for (oid, page, data) in [(7_u32, 0_u32, &b"abc"[..]), (7, 5, b""), (9, 1, b"defg")] {
            wire.extend_from_slice(&3_i16.to_be_bytes());
            for value in [&oid.to_be_bytes()[..], &page.to_be_bytes()[..], data] {
                wire.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                wire.extend_from_slice(value);
            }
        }
        wire.extend_from_slice(&(-1_i16).to_be_bytes());
        for step in [1, 7, 1000] {
            let mut tuples = Tuples::default();
            let mut found = Vec::new();
            for piece in wire.chunks(step) {
                tuples.buffer.extend_from_slice(piece);
                while let Some((oid, page, data)) = tuples.next().unwrap() {
                    found.push((oid, page, data.to_vec()));
                }
            }
            assert!(tuples.ended && tuples.buffer.is_empty());
            assert_eq!(
                found,
                [(7, 0, b"abc".to_vec()), (7, 5, vec![]), (9, 1, b"defg".to_vec())]
            );
        }
    }
}
