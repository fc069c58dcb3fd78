//! The exact comparison of one copy's objects with a listing: only where the sums differ, to say which objects are missing, changed, or
//! too many.
//!
//! A manifest is not in the listing's order, so its records are looked up by number; of a very large copy some of them at a time, so that the
//! memory stays the same.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::{CopyBody, CopyFault};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::ManifestReader;
use dataembassy_ledger::value::{RegistryId, SegmentNumber};

use super::examination::{ObjectError, read_part};
use super::holdings::{Damage, Surplus};
use super::listing::{Group, Listing};
use super::places::before;
use super::tally::{Tally, TallyKey, mark};
use crate::store::Store;

/// How many records of a manifest are compared at a time.
const WINDOW: usize = 500_000;

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The sum of what was listed for it.
    pub found: Tally,
    /// Objects that are not there, or that are others.
    pub damage: Option<Damage>,
    /// Objects that should not be there.
    pub surplus: Option<Surplus>,
}

#[derive(Default)]
struct Count {
    found: Tally,
    missing: u64,
    changed: u64,
    first_missing: Option<CopyObject>,
    first_changed: Option<CopyObject>,
    surplus: Surplus,
}

/// Compares a copy's objects with what the store lists of them now.
pub async fn compare(
    store: &Store,
    registry: &RegistryId,
    body: &CopyBody,
    key: &TallyKey,
) -> Result<Comparison, ObjectError> {
    let prefix = ObjectKey::copy_prefix(registry, body.copy_id);
    let mut count = Count::default();
    let mut low = 0;
    loop {
        let Window { mut named, next } = load(store, registry, body, key, low).await?;
        if next.is_none() {
            // Parts sort behind all segments, so they belong to the last window.
            let parts = body.manifest.iter().chain(&body.inventory);
            named.extend(parts.map(|part| (part.name, mark(key, part.name, Some(&part.version), part.size))));
        }
        let mut listing = Listing::new(store, &prefix, before_segment(&prefix, low));
        while let Some(group) = listing.next().await? {
            let Ok(ObjectKey::Copy { object, .. }) = group.key.parse() else {
                continue;
            };
            if next.is_some_and(|next| number(object).is_none_or(|number| number >= next)) {
                break;
            }
            count.take(key, object, &group, named.entry(object));
        }
        for object in named.into_keys() {
            count.missing += 1;
            count.first_missing.get_or_insert(object);
        }
        let Some(next) = next else { return Ok(count.told()) };
        low = next;
    }
}

/// Records of a manifest with neighbouring numbers.
struct Window {
    named: BTreeMap<CopyObject, u128>,
    /// The first number behind them, if there is one.
    next: Option<u64>,
}

/// Reads the first records from this number on. However sparse the numbers are, the manifest is read once for so many records.
async fn load(
    store: &Store,
    registry: &RegistryId,
    body: &CopyBody,
    key: &TallyKey,
    low: u64,
) -> Result<Window, ObjectError> {
    let mut reader = ManifestReader::new();
    let (mut named, mut next) = (BTreeMap::new(), None);
    for part in &body.manifest {
        let (bytes, _) = read_part(store, registry, body.copy_id, part).await?;
        let records = reader.records(&bytes);
        for record in records.into_iter().flatten() {
            // The manifest was read and found right before.
            let Ok(record) = record else { break };
            let number = u64::from(record.number.get());
            if number < low || next.is_some_and(|next| number >= next) {
                continue;
            }
            let object = CopyObject::Segment(record.number);
            named.insert(object, mark(key, object, Some(&record.version), record.size));
            if named.len() > WINDOW {
                next = named.pop_last().and_then(|(last, _)| self::number(last));
            }
        }
    }
    Ok(Window { named, next })
}

fn number(object: CopyObject) -> Option<u64> {
    match object {
        CopyObject::Segment(number) => Some(u64::from(number.get())),
        _ => None,
    }
}

/// Where the listing of a window begins.
fn before_segment(prefix: &str, low: u64) -> Option<String> {
    let first = SegmentNumber::new(low).ok()?;
    before(&format!("{prefix}{}", CopyObject::Segment(first)))
}

impl Count {
    fn take(
        &mut self,
        key: &TallyKey,
        object: CopyObject,
        group: &Group,
        named: Entry<'_, CopyObject, u128>,
    ) {
        self.found.add_listed(key, object, group);
        let Entry::Occupied(named) = named else {
            self.surplus.unnamed += group.versions.len() as u64;
            if self.surplus.example.is_empty() {
                self.surplus.example = object.to_string();
            }
            return;
        };
        let wanted = named.remove();
        let is_wanted = group
            .objects()
            .any(|one| mark(key, object, one.version.as_ref(), one.size) == wanted);
        let beside = group.versions.len() as u64 - u64::from(is_wanted);
        if is_wanted && beside > 0 {
            self.surplus.beside += beside;
            self.surplus.example = object.to_string();
        }
        if !is_wanted {
            // Nothing but a delete marker: the object itself is gone.
            if group.objects().next().is_none() {
                self.missing += 1;
                self.first_missing.get_or_insert(object);
            } else {
                self.changed += 1;
                self.first_changed.get_or_insert(object);
            }
        }
    }

    fn told(self) -> Comparison {
        let (fault, first) = match (self.first_missing, self.first_changed) {
            (Some(first), _) => (CopyFault::Missing, Some(first)),
            (None, first) => (CopyFault::Changed, first),
        };
        let damage = first.map(|first| Damage {
            fault,
            objects: self.missing + self.changed,
            example: first.to_string(),
        });
        let has_surplus = self.surplus.beside + self.surplus.unnamed > 0;
        Comparison {
            found: self.found,
            damage,
            surplus: has_surplus.then_some(self.surplus),
        }
    }
}
