//! Which copies were recorded as expired before this process began: the custody chain says so, read backwards from where reading it began,
//! as far as there are folders that it may explain.

use dataembassy_ledger::entry::CustodyBody;
use dataembassy_ledger::value::{Sequence, Sha256Digest};
use jiff::Timestamp;

use super::sweep::is_before;
use crate::custodian::registry::{Assignment, Keeper, Left};
use crate::store::StoreError;

/// How many entries one turn reads.
const AT_ONCE: usize = 24;

/// How far the chain was read backwards.
#[derive(Debug, Default)]
pub enum Recall {
    /// Not at all yet.
    #[default]
    NotBegun,
    /// Down to this entry, which names the one before it and was signed then.
    Before(Sequence, Sha256Digest, Timestamp),
    /// To its beginning.
    Done,
}

impl Recall {
    /// Every copy that was recorded as expired since then is known.
    #[must_use]
    pub const fn known_since(&self) -> Timestamp {
        match self {
            Self::NotBegun => Timestamp::MAX,
            Self::Before(_, _, at) => *at,
            Self::Done => Timestamp::MIN,
        }
    }
}

impl Keeper {
    /// Reads some more of it, while there is a folder that came before what is known.
    pub(super) async fn recall(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let Some(ledger) = &self.ledger else {
            return Ok(Left::Nothing);
        };
        for _ in 0..AT_ONCE {
            let before = match self.retention.recall {
                Recall::Done => return Ok(Left::Nothing),
                Recall::Before(sequence, prev, _) => Some((sequence, prev)),
                // Of a chain without an entry, everything was read.
                Recall::NotBegun => ledger.custody().first(),
            };
            if !self.is_unexplained() {
                return Ok(Left::Nothing);
            }
            let entry = match before {
                Some((sequence, prev)) => {
                    ledger
                        .custody()
                        .predecessor(&assignment.store, sequence, prev)
                        .await?
                }
                None => None,
            };
            let Some(entry) = entry else {
                self.retention.recall = Recall::Done;
                continue;
            };
            let header = &entry.entry.header;
            if let CustodyBody::Expiry(body) = &entry.entry.body {
                let copies = body.copies.iter();
                let copies = copies.map(|copy| (copy.copy_id, copy.sequence));
                self.holdings.lock().expired.extend(copies);
            }
            self.retention.recall = Recall::Before(header.sequence, header.prev, header.at.as_jiff());
        }
        Ok(Left::More)
    }

    /// Whether there is a folder that may be that of a copy which was recorded as expired before what is known.
    fn is_unexplained(&self) -> bool {
        let Some((census, ledger)) = self.presence.census().zip(self.ledger.as_ref()) else {
            return false;
        };
        let known_since = self.retention.recall.known_since();
        let holdings = self.holdings.lock();
        census.unnamed.iter().any(|(copy, folder)| {
            let is_explained = holdings.expired.contains_key(copy) || ledger.view().is_void(*copy);
            !is_explained && !is_before(known_since, folder.oldest)
        })
    }
}
