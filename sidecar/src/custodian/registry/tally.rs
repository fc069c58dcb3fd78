//! A sum over a set of objects that does not depend on their order: what a listing shows is compared with what a manifest says in constant
//! memory, however many segments a copy has.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::VersionId;

use super::listing::Group;

/// The key of a process's tallies, drawn at random: whoever chooses version ids must not be able to choose two sets of equal sum.
#[derive(Clone, Copy)]
pub struct TallyKey([u8; 16]);

impl TallyKey {
    /// Takes random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TallyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TallyKey")
    }
}

/// How many objects there are, their bytes, and the sum of their hashes modulo 2¹²⁸.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    objects: u64,
    bytes: u64,
    sum: u128,
}

impl Tally {
    /// Takes in an object of a copy.
    pub fn add(&mut self, key: &TallyKey, object: CopyObject, version: &VersionId, size: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.sum = self.sum.wrapping_add(mark(key, object, Some(version), size));
    }

    /// Takes in something that hides an object: a delete marker, or a version without an id.
    pub fn add_shadow(&mut self, key: &TallyKey, object: CopyObject) {
        self.objects += 1;
        self.sum = self.sum.wrapping_add(mark(key, object, None, 0));
    }

    /// Takes in everything that a listing shows under an object's key.
    pub fn add_listed(&mut self, key: &TallyKey, object: CopyObject, group: &Group) {
        for version in &group.versions {
            match &version.version {
                Some(id) if !version.is_delete_marker => self.add(key, object, id, version.size),
                _ => self.add_shadow(key, object),
            }
        }
    }

    /// How many objects there are.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.objects
    }
}

/// What one object adds to a sum.
#[must_use]
pub fn mark(key: &TallyKey, object: CopyObject, version: Option<&VersionId>, size: u64) -> u128 {
    let mut hash = Context::new(&SHA256);
    hash.update(&key.0);
    let (kind, number) = match object {
        CopyObject::Segment(number) => (0_u8, number.get()),
        CopyObject::Manifest(number) => (1, number.get()),
        CopyObject::Inventory(number) => (2, number.get()),
    };
    hash.update(&[kind, u8::from(version.is_some())]);
    hash.update(&number.to_le_bytes());
    hash.update(&size.to_le_bytes());
    hash.update(version.map_or("", VersionId::as_str).as_bytes());
    let digest = hash.finish();
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::SegmentNumber;

    use super::*;

    fn segment(number: u64) -> CopyObject {
        CopyObject::Segment(SegmentNumber::new(number).unwrap())
    }

    fn tally(objects: &[(u64, &str, u64)]) -> Tally {
        let key = TallyKey::from_bytes([7; 16]);
        let mut tally = Tally::default();
        for (number, version, size) in objects {
            tally.add(&key, segment(*number), &version.parse().unwrap(), *size);
        }
        tally
    }

    #[test]
    fn the_order_of_objects_does_not_matter_and_everything_else_does() {
        let whole = tally(&[(1, "a", 10), (2, "b", 20)]);
        assert_eq!(whole, tally(&[(2, "b", 20), (1, "a", 10)]));
        for other in [
            tally(&[(1, "a", 10)]),
            tally(&[(1, "a", 10), (2, "b", 21)]),
            tally(&[(1, "a", 10), (3, "b", 20)]),
            tally(&[(1, "b", 10), (2, "a", 20)]),
            tally(&[(1, "a", 20), (2, "b", 10)]),
        ] {
            assert_ne!(whole, other);
        }
    }

    #[test]
    fn two_processes_have_different_sums() {
        let version = "a".parse().unwrap();
        let of = |seed| mark(&TallyKey::from_bytes([seed; 16]), segment(1), Some(&version), 1);
        assert_ne!(of(1), of(2));
    }
}
