//! Which folders of copies are given up: those that no entry names and no run can be writing any more. No I/O; the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use dataembassy_ledger::CopyId;
use dataembassy_ledger::entry::MAX_VOID;
use jiff::{SignedDuration, Timestamp};

use crate::custodian::registry::census::Unnamed;

/// By how much a custodian's clock and the store's may differ.
pub const CLOCKS: SignedDuration = SignedDuration::from_mins(10);

/// What is known of the folders that no entry names.
pub struct Folders<'a> {
    /// The folders, as the last count found them.
    pub unnamed: &'a BTreeMap<CopyId, Unnamed>,
    /// Those that were declared void and are still there.
    pub void: usize,
    /// How old everything in a folder must be by the store's clock: no run takes so long, and every lock of its arrival has ended.
    pub least_age: Duration,
    /// Every copy that was recorded as expired since then is known by its id.
    pub known_since: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl Folders<'_> {
    /// Those that are to be declared void now, ascending. `is_known` says of a copy that an entry names it, or that it is void already.
    ///
    /// No more are void at a time than the chain tells late readers of: what came after its declaration must be known as void until it
    /// is gone.
    #[must_use]
    pub fn to_give_up(&self, is_known: impl Fn(CopyId) -> bool) -> Vec<CopyId> {
        let least = SignedDuration::try_from(self.least_age).unwrap_or(SignedDuration::MAX);
        self.unnamed
            .iter()
            .filter(|(copy, folder)| {
                let is_old = self.now.duration_since(folder.newest) > least;
                is_old && is_before(self.known_since, folder.oldest) && !is_known(**copy)
            })
            .map(|(copy, _)| *copy)
            .take(MAX_VOID.saturating_sub(self.void))
            .collect()
    }
}

/// Whether a custodian's time is certainly before the store's.
#[must_use]
pub fn is_before(ours: Timestamp, the_stores: Timestamp) -> bool {
    ours.checked_add(CLOCKS).is_ok_and(|ours| ours < the_stores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn folder(oldest: i64, newest: i64) -> Unnamed {
        Unnamed {
            oldest: at(oldest),
            newest: at(newest),
            objects: 2,
            bytes: 10,
        }
    }

    fn copy(mark: u8) -> CopyId {
        CopyId::from_bytes([mark; 16])
    }

    fn given_up(unnamed: &BTreeMap<CopyId, Unnamed>, known_since: i64, void: usize) -> Vec<CopyId> {
        let folders = Folders {
            unnamed,
            void,
            least_age: Duration::from_hours(2),
            known_since: at(known_since),
            now: at(100_000),
        };
        folders.to_give_up(|one| one == copy(9))
    }

    #[test]
    fn a_folder_is_given_up_when_everything_in_it_is_old_and_no_entry_names_it() {
        let unnamed = BTreeMap::from([
            (copy(1), folder(80_000, 81_000)),
            // A run that began long ago and still writes.
            (copy(2), folder(80_000, 99_000)),
            (copy(3), folder(50_000, 51_000)),
            // An entry names it.
            (copy(9), folder(80_000, 81_000)),
        ]);
        assert_eq!(given_up(&unnamed, 0, 0), [copy(1), copy(3)]);
        // What expired before 60,000 is not known, and the third may be one of those.
        assert_eq!(given_up(&unnamed, 60_000, 0), [copy(1)]);
    }

    #[test]
    fn no_more_are_void_at_a_time_than_the_chain_tells_of() {
        let unnamed: BTreeMap<_, _> = (0..=255)
            .filter(|mark| *mark != 9)
            .map(|mark| (copy(mark), folder(80_000, 81_000)))
            .collect();
        assert_eq!(given_up(&unnamed, 0, 0).len(), 255);
        assert_eq!(given_up(&unnamed, 0, 250).len(), 6);
        assert!(given_up(&unnamed, 0, 300).is_empty());
    }
}
