//! Copies that are made up, for the tests of whoever judges them.

use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, Sequence, Sha256Digest, Term};
use jiff::Timestamp;

use super::holdings::{Held, Listed, Locks, Manifest, ReadBack};
use super::tally::Tally;

/// A copy whose manifest is right and that nobody has read back. Its entry has this number and came in that second.
pub(crate) fn held(number: u64) -> Held {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let arrived_at = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
    Held {
        reference: EntryRef {
            sequence: Sequence::new(number).unwrap(),
            digest: Sha256Digest::of(&id),
        },
        term: Term::FIRST,
        version: "v1".parse().unwrap(),
        arrived_at,
        taken_at: arrived_at,
        copy: CopyId::from_bytes(id),
        twin_of: None,
        parents: Vec::new(),
        bytes: 1_000,
        segments: 1,
        recipients_fit: true,
        manifest: Manifest::Sound(Tally::default()),
        listed: Listed::default(),
        read: ReadBack::default(),
        locks: Locks::default(),
    }
}
