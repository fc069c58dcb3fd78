//! The end of a custody chain's listing, found without listing the whole of it.
//!
//! A listing tells what comes after a key, so the last key is found as a word in a dictionary is: a few requests, however long the chain
//! became. What the search returns is only a place to begin at; who begins there reads on to the very end.

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::value::{RegistryId, Sequence};

use crate::store::{ObjectVersion, Store, StoreError};

/// The most keys of one page of a listing; fewer places than this between two bounds are listed rather than searched.
const PAGE: u64 = 1_000;

/// The versions of the last keys below `limit` that a page of the listing shows, with their places, ascending. Empty only if there are none.
pub async fn last_keys(
    store: &Store,
    registry: &RegistryId,
    limit: Option<Sequence>,
) -> Result<Vec<(Sequence, ObjectVersion)>, StoreError> {
    let prefix = ObjectKey::custody_prefix(registry);
    let limit = limit.map_or(Sequence::LAST.get() + 1, Sequence::get);
    let mut search = Search {
        low: 0,
        high: limit,
        limit,
    };
    let mut found = Vec::new();
    while let Some(after) = search.next() {
        let page = store.list_versions(&prefix, marker(registry, after)).await?;
        let reaches_limit =
            page.next.is_none() || page.versions.iter().any(|version| place(version) >= Some(limit));
        let mut shown: Vec<(Sequence, ObjectVersion)> =
            page.versions.into_iter().filter_map(with_place).collect();
        shown.retain(|(sequence, version)| sequence.get() < limit && !version.is_delete_marker);
        let last = shown.last().map(|(sequence, _)| sequence.get());
        if last.is_some() {
            found = shown;
        }
        search.learn(after, last, reaches_limit);
    }
    Ok(found)
}

/// A bisection of the places below a limit: keys are known up to `low`, and from `high` on there are none below the limit.
struct Search {
    low: u64,
    high: u64,
    limit: u64,
}

impl Search {
    /// After which place to list next; none when the end is known.
    fn next(&self) -> Option<u64> {
        if self.low + 1 >= self.high {
            return None;
        }
        if self.high - self.low <= PAGE || self.low == 0 {
            return Some(self.low);
        }
        let middle = self.low + (self.high - self.low) / 2;
        // Chains are short against the highest place there can be, so until there is an upper bound the step doubles.
        let doubled = if self.high == self.limit {
            self.low * 2
        } else {
            middle
        };
        Some(doubled.min(middle))
    }

    /// A page after a place showed `last` as its last place, and all below the limit if `complete`.
    fn learn(&mut self, after: u64, last: Option<u64>, complete: bool) {
        match last {
            Some(last) if complete => (self.low, self.high) = (last, last + 1),
            Some(last) => self.low = last,
            None => self.high = after + 1,
        }
    }
}

fn marker(registry: &RegistryId, after: u64) -> Option<(String, Option<String>)> {
    let sequence = Sequence::new(after).ok()?;
    let registry = registry.clone();
    Some((ObjectKey::Custody { registry, sequence }.to_string(), None))
}

fn place(version: &ObjectVersion) -> Option<u64> {
    match version.key.parse() {
        Ok(ObjectKey::Custody { sequence, .. }) => Some(sequence.get()),
        _ => None,
    }
}

fn with_place(version: ObjectVersion) -> Option<(Sequence, ObjectVersion)> {
    let sequence = Sequence::new(place(&version)?).ok()?;
    Some((sequence, version))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The last page and how many were asked for, over a listing of these places.
    fn search(places: &BTreeSet<u64>, limit: u64) -> (Option<u64>, usize) {
        let mut search = Search {
            low: 0,
            high: limit,
            limit,
        };
        let (mut found, mut requests) = (None, 0);
        while let Some(after) = search.next() {
            requests += 1;
            assert!(requests < 200, "the search does not end");
            let mut page: Vec<u64> = places.range(after + 1..).copied().take(1_001).collect();
            let ends = page.len() <= 1_000;
            page.truncate(1_000);
            let complete = ends || page.iter().any(|place| *place >= limit);
            let last = page.into_iter().rfind(|place| *place < limit);
            found = last.or(found);
            search.learn(after, last, complete);
        }
        (found, requests)
    }

    #[test]
    fn the_end_of_a_long_chain_is_found_in_a_few_requests() {
        for (length, most) in [
            (0, 1),
            (1, 1),
            (999, 1),
            (1_000, 1),
            (1_001, 4),
            (10_000, 8),
            (87_600, 14),
            (1_000_000, 22),
        ] {
            let places = (1..=length).collect();
            let (found, requests) = search(&places, Sequence::LAST.get() + 1);
            assert_eq!(found, (length > 0).then_some(length));
            assert!(requests <= most, "{length} entries took {requests} requests");
        }
    }

    proptest! {
        /// Whatever stands where: the last place below the limit is found.
        #[test]
        fn the_last_place_is_found_wherever_places_stand(
            dense in 0_u64..5_000, far in prop::collection::btree_set(1_u64..999_999_999_999, 0..5), limit in 1_u64..12_000,
        ) {
            let places: BTreeSet<u64> = (1..=dense).chain(far).collect();
            for limit in [limit, Sequence::LAST.get() + 1] {
                prop_assert_eq!(search(&places, limit).0, places.range(..limit).next_back().copied());
            }
        }
    }
}
