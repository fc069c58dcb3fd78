//! From members to segments in the store: for each outlet of the dump a thread seals what leaves by it, and a few uploads run beside them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use dataembassy_archive::{CopyRecipient, Member, SealError};
use dataembassy_ledger::manifest::SegmentRecord;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::pace::MANY_SEGMENTS;
use super::sealing::{Draft, SEGMENTS_IN_MEMORY, Sealing, seal_all};
use super::upload::{UploadError, Uploader};
use crate::postgresql::dump::{self, Outlets};

/// Members between the dump and the sealing, of all outlets together: at most 1 MiB each.
const MEMBERS_IN_FLIGHT: usize = 8;
/// Threads that seal. Each fills a segment; as many more can be on their way into the store.
const MOST_SEALERS: usize = SEGMENTS_IN_MEMORY / 2;

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

/// The way from a dump into [`run`]: of a large copy as many seal at once as there are processors for it.
#[must_use]
pub fn outlets() -> (Outlets, Vec<mpsc::Receiver<Member>>) {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let sealers = processors.min(MOST_SEALERS);
    let channel = || mpsc::channel(MEMBERS_IN_FLIGHT / sealers);
    let (first, taken) = channel();
    let (others, more): (Vec<_>, Vec<_>) = (1..sealers).map(|_| channel()).unzip();
    let taken = std::iter::once(taken).chain(more).collect();
    (Outlets::new(first, others, MANY_SEGMENTS), taken)
}

/// Seals and uploads until the channels of members close; returns the segments in their order. How much will come stands in `dump` before the
/// first member does.
///
/// An error is returned at once, although threads that seal may still wait for a member: their channels close with the dump, which the caller is to
/// end then.
pub async fn run(
    members: Vec<mpsc::Receiver<Member>>,
    dump: watch::Receiver<dump::Progress>,
    recipient: CopyRecipient,
    uploader: Arc<Uploader>,
) -> Result<Vec<SegmentRecord>, PipelineError> {
    let (drafts, taken) = mpsc::channel(1);
    let sealing = Sealing::new(recipient, dump, drafts);
    // Where the upload fails, sealing would see it only with the next member, and one may never come. It says nothing of its own then: it stops, as
    // nobody takes segments any more.
    let (segments, ()) = tokio::try_join!(upload(taken, uploader), seal_all(members, sealing))?;
    Ok(segments)
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
