//! From members to segments in the store: one thread seals in the order of the channel, a few uploads run beside it, and no more than
//! a fixed number of segments is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataembassy_archive::segment::{SegmentPosition, SegmentWriter};
use dataembassy_archive::{CopyRecipient, Member, SealError, Sealed};
use dataembassy_ledger::manifest::SegmentRecord;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::pace::{Pace, Spent};
use super::upload::{UploadError, Uploader};
use crate::postgresql::dump;

/// Members between the dump and the sealing: at most 1 MiB each.
pub const MEMBERS_IN_FLIGHT: usize = 8;
/// Segments in memory, the one being written included: about 18 MiB each.
const SEGMENTS_IN_MEMORY: usize = 4;

/// Why the pipeline stopped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A member could not be sealed.
    #[error("a segment could not be sealed: {0}")]
    Seal(#[from] SealError),
    /// A segment could not be put.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A task of ours ended by a panic.
    #[error("a task of the pipeline ended unexpectedly")]
    TaskDied,
}

/// A segment on its way, with its place in the copy and in memory.
struct Draft {
    position: usize,
    sealed: Sealed,
    place: OwnedSemaphorePermit,
}

/// Seals and uploads until the channel of members closes; returns the segments in their order. How much will come stands in `dump` before the
/// first member does.
///
/// An error closes the channel, and so ends the dump.
pub async fn run(
    members: mpsc::Receiver<Member>,
    dump: watch::Receiver<dump::Progress>,
    recipient: CopyRecipient,
    uploader: Arc<Uploader>,
) -> Result<Vec<SegmentRecord>, PipelineError> {
    let (drafts, taken) = mpsc::channel(1);
    let places = Arc::new(Semaphore::new(SEGMENTS_IN_MEMORY));
    let handle = Handle::current();
    let span = tracing::Span::current();
    let sealing = tokio::task::spawn_blocking(move || {
        span.in_scope(|| seal(members, &dump, &recipient, &drafts, &places, &handle))
    });
    let segments = upload(taken, uploader).await;
    let sealed = sealing.await.map_err(|_| PipelineError::TaskDied)?;
    // Where both failed, the upload did so first: sealing only stops because nobody takes segments any more.
    let segments = segments?;
    sealed?;
    Ok(segments)
}

fn seal(
    mut members: mpsc::Receiver<Member>,
    dump: &watch::Receiver<dump::Progress>,
    recipient: &CopyRecipient,
    drafts: &mpsc::Sender<Draft>,
    places: &Arc<Semaphore>,
    handle: &Handle,
) -> Result<(), SealError> {
    let take_place = || handle.block_on(Arc::clone(places).acquire_owned());
    let Ok(mut held) = take_place() else { return Ok(()) };
    let mut next = members.blocking_recv();
    let mut pace = Pace::of(dump.borrow().bytes_expected);
    let mut writer = SegmentWriter::new(recipient, pace.level())?;
    let mut spent = Spent::begin();
    let mut position = 0;
    while let Some(member) = next {
        writer.add(&member)?;
        if writer.is_full() {
            let draft = Draft {
                position,
                sealed: writer.finish(SegmentPosition::Inner)?,
                place: held,
            };
            let free = spent.for_store(|| drafts.blocking_send(draft).map(|()| take_place()));
            let Ok(Ok(free)) = free else { return Ok(()) };
            held = free;
            position += 1;
            pace.learn(&spent);
            spent = Spent::begin();
            writer = SegmentWriter::new(recipient, pace.level())?;
        }
        next = spent.for_source(|| members.blocking_recv());
    }
    let sealed = writer.finish(SegmentPosition::Last)?;
    // Nobody there to take it means that the upload has failed, and says so itself.
    let _ = drafts.blocking_send(Draft {
        position,
        sealed,
        place: held,
    });
    Ok(())
}

async fn upload(
    mut sealed: mpsc::Receiver<Draft>,
    uploader: Arc<Uploader>,
) -> Result<Vec<SegmentRecord>, PipelineError> {
    let mut uploads = JoinSet::new();
    let mut records = BTreeMap::new();
    let mut open = true;
    while open || !uploads.is_empty() {
        tokio::select! {
            draft = sealed.recv(), if open => match draft {
                Some(draft) => {
                    let uploader = Arc::clone(&uploader);
                    let put = async move {
                        let record = uploader.put_segment(&draft.sealed).await;
                        drop(draft.place);
                        record.map(|record| (draft.position, record))
                    };
                    uploads.spawn(put.in_current_span());
                }
                None => open = false,
            },
            Some(done) = uploads.join_next() => {
                let (position, record) = done.map_err(|_| PipelineError::TaskDied)??;
                records.insert(position, record);
            }
        }
    }
    Ok(records.into_values().collect())
}
