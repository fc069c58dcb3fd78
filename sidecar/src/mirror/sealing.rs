//! Sealing beside the dump and the uploads, within a fixed number of segments in memory.
//!
//! Each outlet of the dump has a thread, which seals in the order in which members leave by it. A segment's place in the copy is settled when it is
//! begun: so the pieces of a range, which all leave by one outlet, keep their order, and the table of contents, which leaves first, stands at the
//! copy's beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataembassy_archive::segment::{SegmentPosition, SegmentWriter};
use dataembassy_archive::{CompressionLevel, CopyRecipient, Member, SealError, Sealed};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;

use super::pace::{Pace, Spent, Work};
use super::pipeline::PipelineError;
use crate::postgresql::dump;

/// Segments in memory, those being written included: about 18 MiB each.
pub(super) const SEGMENTS_IN_MEMORY: usize = 4;

/// A segment on its way, with its place in the copy and in memory.
pub(super) struct Draft {
    pub(super) position: usize,
    pub(super) sealed: Sealed,
    pub(super) place: OwnedSemaphorePermit,
}

/// A segment that is being filled.
struct Open {
    position: usize,
    writer: SegmentWriter,
    place: OwnedSemaphorePermit,
}

impl Open {
    fn finish(self, position: SegmentPosition) -> Result<Draft, SealError> {
        Ok(Draft {
            position: self.position,
            sealed: self.writer.finish(position)?,
            place: self.place,
        })
    }
}

/// Seals what leaves by all outlets, each on a thread of its own. What they leave unfilled is finished together: only then is it known which
/// segment is the last.
pub(super) async fn seal_all(
    members: Vec<mpsc::Receiver<Member>>,
    sealing: Arc<Sealing>,
) -> Result<(), PipelineError> {
    let span = tracing::Span::current();
    let seal = |members| {
        let (sealing, span) = (Arc::clone(&sealing), span.clone());
        spawn_blocking(move || span.in_scope(|| sealing.seal(members)))
    };
    let sealers: Vec<_> = members.into_iter().map(seal).collect();
    let mut unfilled = Vec::new();
    for sealer in sealers {
        unfilled.extend(sealer.await.map_err(|_| PipelineError::TaskDied)??);
    }
    let ending = spawn_blocking(move || span.in_scope(|| sealing.end(unfilled)));
    Ok(ending.await.map_err(|_| PipelineError::TaskDied)??)
}

/// What all threads that seal one copy share.
pub(super) struct Sealing {
    recipient: CopyRecipient,
    dump: watch::Receiver<dump::Progress>,
    /// What the threads have worked, together.
    work: Work,
    drafts: mpsc::Sender<Draft>,
    places: Arc<Semaphore>,
    /// How many segments were begun.
    begun: AtomicUsize,
    handle: Handle,
}

impl Sealing {
    /// For one copy; what is sealed goes to `drafts`.
    pub(super) fn new(
        recipient: CopyRecipient,
        dump: watch::Receiver<dump::Progress>,
        drafts: mpsc::Sender<Draft>,
    ) -> Arc<Self> {
        Arc::new(Self {
            recipient,
            dump,
            work: Work::default(),
            drafts,
            places: Arc::new(Semaphore::new(SEGMENTS_IN_MEMORY)),
            begun: AtomicUsize::new(0),
            handle: Handle::current(),
        })
    }

    /// Seals what leaves by one outlet. Gives the segment that was being filled when that ended; none if nothing came at all, or nobody takes
    /// segments any more.
    fn seal(&self, mut members: mpsc::Receiver<Member>) -> Result<Option<Open>, SealError> {
        // Whose outlet is not used must not hold a place.
        let mut next = members.blocking_recv();
        if next.is_none() {
            return Ok(None);
        }
        let mut speed = Pace::of(self.dump.borrow().bytes_expected);
        let Some(place) = self.place() else {
            return Ok(None);
        };
        let mut open = self.begin(speed.level(), place)?;
        let mut times = Spent::begin(&self.work);
        while let Some(member) = next {
            // With a slow source it may be long until a segment is full.
            if self.drafts.is_closed() {
                return Ok(None);
            }
            times.for_sealing(|| open.writer.add(&member))?;
            if open.writer.is_full() {
                let draft = times.for_sealing(|| open.finish(SegmentPosition::Inner))?;
                let free = times.for_store(|| self.drafts.blocking_send(draft).map(|()| self.place()));
                let Ok(Some(place)) = free else { return Ok(None) };
                speed.learn(&times);
                times = Spent::begin(&self.work);
                open = self.begin(speed.level(), place)?;
            }
            next = members.blocking_recv();
        }
        Ok(Some(open))
    }

    /// Finishes what was left unfilled. The one that was begun last is the copy's last one: all that were full were begun before it.
    fn end(&self, mut unfilled: Vec<Open>) -> Result<(), SealError> {
        unfilled.sort_by_key(|open| open.position);
        let last = match unfilled.pop() {
            Some(last) => last,
            None => match self.place() {
                Some(place) => self.begin(CompressionLevel::DEFAULT, place)?,
                None => return Ok(()),
            },
        };
        for open in unfilled {
            // One that was begun and got nothing is no use; only the last one may be empty.
            if open.writer.members() > 0 && !self.hand_over(open.finish(SegmentPosition::Inner)?) {
                return Ok(());
            }
        }
        self.hand_over(last.finish(SegmentPosition::Last)?);
        Ok(())
    }

    /// Waits for a place in memory.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        self.handle.block_on(place).ok()
    }

    fn begin(&self, level: CompressionLevel, place: OwnedSemaphorePermit) -> Result<Open, SealError> {
        Ok(Open {
            position: self.begun.fetch_add(1, Ordering::Relaxed),
            writer: SegmentWriter::new(&self.recipient, level)?,
            place,
        })
    }

    /// Whether somebody took it. Nobody there means that the upload has failed, and says so itself.
    fn hand_over(&self, draft: Draft) -> bool {
        self.drafts.blocking_send(draft).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
    use dataembassy_archive::member::MAX_BODY_BYTES;
    use dataembassy_archive::{CopyKey, MemberName, SegmentReader};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::mirror::pace::MANY_SEGMENTS;

    const PATIENCE: Duration = Duration::from_mins(2);

    /// Two threads that seal, without a store.
    struct Bench {
        key: CopyKey,
        senders: Vec<mpsc::Sender<Member>>,
        sealing: Arc<Sealing>,
        drafts: mpsc::Receiver<Draft>,
        running: JoinHandle<Result<(), PipelineError>>,
    }

    fn bench() -> Bench {
        let key = CopyKey::generate();
        let (senders, members): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel(4)).unzip();
        let (draft, drafts) = mpsc::channel(1);
        let (_, dump) = watch::channel(dump::Progress {
            bytes_expected: MANY_SEGMENTS,
            ..dump::Progress::default()
        });
        let sealing = Sealing::new(key.recipient(), dump, draft);
        let running = tokio::spawn(seal_all(members, Arc::clone(&sealing)));
        Bench {
            key,
            senders,
            sealing,
            drafts,
            running,
        }
    }

    /// A piece of a range: 1 MiB of a cipher's stream, which does not compress and is no other piece's.
    fn piece(range: u32, chunk: u32) -> Member {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap();
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&range.to_be_bytes());
        nonce[4..8].copy_from_slice(&chunk.to_be_bytes());
        let mut body = vec![0_u8; MAX_BODY_BYTES];
        let _tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut body)
            .unwrap();
        let name = MemberName::part("7.dat".parse().unwrap(), range, chunk).unwrap();
        Member::new(name, body.into()).unwrap()
    }

    /// The next segment to be stored; none when all were.
    async fn taken(drafts: &mut mpsc::Receiver<Draft>) -> Option<Draft> {
        timeout(PATIENCE, drafts.recv()).await.unwrap()
    }

    /// Range and chunk of all members of a segment, and its position.
    fn content(key: &CopyKey, sealed: &Sealed) -> (Vec<(u32, u32)>, SegmentPosition) {
        let mut reader = SegmentReader::new(&sealed.bytes[..], key).unwrap();
        let mut places = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            let (range, chunk) = member.name.place().unwrap();
            assert!(member == piece(range, chunk));
            places.push((range, chunk));
        }
        (places, reader.position().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_that_seal_keep_each_ranges_order_and_end_with_one_last_segment() {
        const CHUNKS: u32 = 24;
        let Bench {
            key,
            senders,
            sealing,
            mut drafts,
            running,
        } = bench();
        drop(sealing);
        for (range, sender) in (0..).zip(senders) {
            tokio::spawn(async move {
                for chunk in 0..CHUNKS {
                    sender.send(piece(range, chunk)).await.unwrap();
                }
            });
        }
        let mut segments = BTreeMap::new();
        while let Some(draft) = taken(&mut drafts).await {
            let before = segments.insert(draft.position, draft.sealed);
            assert!(before.is_none(), "two segments in place {}", draft.position);
        }
        running.await.unwrap().unwrap();

        // One full, and one that ends with the range, of each.
        assert_eq!(segments.len(), 4);
        let mut found = [Vec::new(), Vec::new()];
        let mut ends = Vec::new();
        for sealed in segments.values() {
            let (places, position) = content(&key, sealed);
            ends.push(position);
            for (range, chunk) in places {
                found[range as usize].push(chunk);
            }
        }
        let whole: Vec<_> = (0..CHUNKS).collect();
        assert_eq!(found, [whole.clone(), whole]);
        assert_eq!(ends.pop(), Some(SegmentPosition::Last));
        assert_eq!(ends, [SegmentPosition::Inner; 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_segment_is_begun_that_has_no_place_in_memory() {
        let mut bench = bench();
        for (range, sender) in (0..).zip(bench.senders.drain(..)) {
            tokio::spawn(async move {
                // Until nobody takes them any more.
                for chunk in 0.. {
                    if sender.send(piece(range, chunk)).await.is_err() {
                        break;
                    }
                }
            });
        }
        // A store that takes segments and finishes none.
        let mut held = Vec::new();
        while held.len() < SEGMENTS_IN_MEMORY {
            held.push(taken(&mut bench.drafts).await.unwrap());
            assert!(bench.sealing.begun.load(Ordering::Relaxed) <= SEGMENTS_IN_MEMORY);
        }
        assert_eq!(bench.sealing.places.available_permits(), 0);
        // One that it finishes makes room for one more.
        drop(held.pop());
        let fifth = taken(&mut bench.drafts).await.unwrap();
        assert_eq!(fifth.position, SEGMENTS_IN_MEMORY);
        assert_eq!(
            bench.sealing.begun.load(Ordering::Relaxed),
            SEGMENTS_IN_MEMORY + 1
        );
        drop((bench.drafts, held, fifth));
        timeout(PATIENCE, bench.running).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_dump_ends_soon_when_nobody_takes_segments_although_none_is_full() {
        let Bench {
            senders,
            drafts,
            running,
            ..
        } = bench();
        drop(drafts);
        for sender in senders {
            let refused = async {
                while sender
                    .send(Member::table_end("7.dat".parse().unwrap()))
                    .await
                    .is_ok()
                {}
            };
            timeout(PATIENCE, refused).await.unwrap();
        }
        timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_outlet_that_is_not_used_begins_no_segment_and_a_copy_has_one_at_least() {
        for pieces in [0, 1] {
            let mut bench = bench();
            for chunk in 0..pieces {
                bench.senders[1].send(piece(1, chunk)).await.unwrap();
            }
            bench.senders.clear();
            let only = taken(&mut bench.drafts).await.unwrap();
            let places: Vec<_> = (0..pieces).map(|chunk| (1, chunk)).collect();
            assert_eq!(content(&bench.key, &only.sealed), (places, SegmentPosition::Last));
            timeout(PATIENCE, bench.running).await.unwrap().unwrap().unwrap();
            assert_eq!(bench.sealing.begun.load(Ordering::Relaxed), 1);
        }
    }
}
