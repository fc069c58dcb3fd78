//! From sealed segments to members, in order, within fixed memory: three segments as stored, and a few members.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use dataembassy_archive::{CopyKey, FileName, Member, SegmentPosition, SegmentReader};
use dataembassy_ledger::Sha256Digest;
use tokio::sync::mpsc;

use super::{CopyError, SealedCopy, SealedSegment};
use crate::restore::progress::Counters;

/// Sealed segments that wait for being opened, besides the one that is fetched and the one that is opened.
const SEGMENTS_AHEAD: usize = 1;
/// Members opened ahead of the one that is being loaded, 1 MiB each at most.
const MEMBERS_AHEAD: usize = 4;

/// Reads a copy from its first segment on. Dropping the receiver ends the reading.
pub fn members(
    copy: &Arc<impl SealedCopy>,
    counters: &Arc<Counters>,
) -> mpsc::Receiver<Result<Member, CopyError>> {
    let (sealed, segments) = mpsc::channel(SEGMENTS_AHEAD);
    let (out, members) = mpsc::channel(MEMBERS_AHEAD);
    let key = copy.key().clone();
    let fetched = Arc::clone(copy);
    tokio::spawn(async move { fetched.segments(sealed).await });
    let counters = Arc::clone(counters);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = open_all(segments, &key, &out, &counters) {
            // Where nobody listens any more, nobody wants to know.
            let _ = out.blocking_send(Err(error));
        }
    });
    members
}

fn open_all(
    mut segments: mpsc::Receiver<Result<SealedSegment, CopyError>>,
    key: &CopyKey,
    out: &mpsc::Sender<Result<Member, CopyError>>,
    counters: &Counters,
) -> Result<(), CopyError> {
    let mut ended = false;
    while let Some(segment) = segments.blocking_recv() {
        let segment = segment?;
        let broken = |source| CopyError::Segment {
            name: segment.name.clone(),
            source,
        };
        let mut reader = SegmentReader::new(segment.bytes.as_ref(), key).map_err(broken)?;
        while let Some(member) = reader.next_member().map_err(broken)? {
            if out.blocking_send(Ok(member)).is_err() {
                return Ok(());
            }
        }
        let ends = reader.position() == Some(SegmentPosition::Last);
        if ended || ends != segment.is_last {
            return Err(CopyError::WrongEnd {
                name: segment.name.clone(),
            });
        }
        ended = ends;
        counters
            .sealed_bytes
            .fetch_add(segment.bytes.len() as u64, Relaxed);
    }
    if ended { Ok(()) } else { Err(CopyError::Ended) }
}

/// Reads one small file that stands early in the copy, of a size and digest that the inventory says.
pub async fn read_file(
    copy: &Arc<impl SealedCopy>,
    file: &FileName,
    size: u64,
    sha256: Sha256Digest,
) -> Result<Bytes, CopyError> {
    let wrong = |why| CopyError::WrongFile {
        file: file.to_string(),
        why,
    };
    let mut members = members(copy, &Arc::default());
    let mut pieces = BytesMut::new();
    while (pieces.len() as u64) < size {
        let member = members.recv().await.ok_or_else(|| wrong("it is not there"))??;
        if member.name.file() == file {
            pieces.extend_from_slice(&member.body);
        }
    }
    let content = pieces.freeze();
    if content.len() as u64 != size {
        return Err(wrong("it has another size"));
    }
    if Sha256Digest::of(&content) != sha256 {
        return Err(wrong("it has another SHA-256"));
    }
    Ok(content)
}
