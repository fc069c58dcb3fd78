//! Cutting the work: big tables into ranges of pages, small ones into packs, large objects into ranges of OIDs.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use dataembassy_archive::{inventory, member::FileName};

use super::{
    DumpError,
    leader::TableFacts,
    rows::{RangeSum, invalid},
};
use crate::postgresql::planner::{CapturedCopy, PlannedTable};

/// Tables up to this size are packed.
const SMALL_BYTES: u64 = 1024 * 1024;
/// A pack holds at most this many tables, and their bytes together: it holds their locks for its whole time.
const PACK_TABLES: usize = 100;
const PACK_BYTES: u64 = 8 * 1024 * 1024;
/// Ranges are numbered with six digits, and the last number is taken.
const MOST_RANGES: u64 = 900_000;
/// Large objects in one unit.
const UNIT_OBJECTS: usize = 5_000;

/// A table on its way.
pub(super) struct TableJob {
    pub(super) planned: PlannedTable,
    /// Schema and name, for people.
    pub(super) label: String,
    schema: String,
    name: String,
    pub(super) file: FileName,
    pub(super) pages: u64,
    /// First page and end of each range; the last is open. Empty for a table that is copied in one piece.
    pub(super) ranges: Vec<(u64, Option<u64>)>,
    done: Mutex<Vec<Option<RangeSum>>>,
}

impl TableJob {
    fn new(
        planned: PlannedTable,
        facts: Option<&TableFacts>,
        block_bytes: u64,
        range_bytes: u64,
    ) -> Result<Self, DumpError> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (schema, name) = match facts {
            Some(facts) => (facts.schema.clone(), facts.name.clone()),
            None => (lossy(&planned.schema), lossy(&planned.name)),
        };
        let ranges = match facts {
            Some(facts) if facts.heap && planned.copy.pages(0, None).is_some() => {
                cut(facts.pages, facts.bytes, block_bytes, range_bytes)
            }
            _ => Vec::new(),
        };
        let file = planned.file.parse().map_err(invalid)?;
        let parts = ranges.len().max(1);
        Ok(Self {
            label: format!("{schema}.{name}"),
            schema,
            name,
            file,
            pages: facts.map_or(0, |facts| facts.pages),
            ranges,
            done: Mutex::new(vec![None; parts]),
            planned,
        })
    }

    /// Notes a finished range. Gives the sums of all ranges to whoever finishes the last.
    pub(super) fn finish_range(&self, range: usize, sum: RangeSum) -> Option<RangeSum> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done[range] = Some(sum);
        let mut total = RangeSum::default();
        for sum in done.iter() {
            let sum = (*sum)?;
            total.chunks += sum.chunks;
            total.bytes += sum.bytes;
            total.digest.add(sum.digest);
        }
        Some(total)
    }

    /// The inventory's line. `whole` tells that the file went as one member.
    pub(super) fn line(&self, total: RangeSum, whole: bool) -> inventory::Table {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = if whole { &[][..] } else { done.as_slice() };
        let ranges = (0_u32..).zip(ranges).map(|(range, sum)| {
            let sum = sum.unwrap_or_default();
            inventory::TableRange {
                range,
                chunks: sum.chunks,
                rows: sum.digest.rows,
                bytes: sum.bytes,
            }
        });
        inventory::Table {
            dump_id: self.planned.dump_id,
            schema: self.schema.clone(),
            name: self.name.clone(),
            oid: self.planned.oid,
            file: self.file.clone(),
            copy_statement: self.planned.load.clone(),
            ranges: ranges.collect(),
            rows: total.digest.rows,
            bytes: total.bytes,
            digest: total.digest.sum,
        }
    }
}

/// A piece of work for one worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    /// One range of a big table.
    Range {
        /// Index of the table.
        table: usize,
        /// Index of its range.
        range: usize,
    },
    /// Small tables, or tables that cannot be cut, one after another.
    Pack {
        /// Indices of the tables.
        tables: Vec<usize>,
    },
    /// Large objects.
    LargeObjects {
        /// Indices of the first and behind the last of the plan's list.
        first: usize,
        /// Behind the last.
        end: usize,
    },
}

/// All work, cut.
pub(super) struct Work {
    pub(super) tables: Vec<TableJob>,
    pub(super) units: VecDeque<Unit>,
    /// Bytes that the tables and large objects have at the source.
    pub(super) bytes: u64,
}

/// Cuts a plan: the largest pieces come first, so that no worker is left alone with one at the end.
pub(super) fn cut_plan(
    planned: Vec<PlannedTable>,
    facts: &[TableFacts],
    (large_objects, large_object_bytes): (usize, u64),
    block_bytes: u64,
    range_bytes: u64,
) -> Result<Work, DumpError> {
    let facts: HashMap<u32, &TableFacts> = facts.iter().map(|facts| (facts.oid, facts)).collect();
    let mut tables = Vec::with_capacity(planned.len());
    let mut sized = Vec::new();
    let mut small = Vec::new();
    let mut total = large_object_bytes;
    for table in planned {
        let facts = facts.get(&table.oid).copied();
        let bytes = facts.map_or(0, |facts| facts.bytes);
        total += bytes;
        let index = tables.len();
        let job = TableJob::new(table, facts, block_bytes, range_bytes)?;
        if !job.ranges.is_empty() {
            let each = bytes / job.ranges.len() as u64;
            // Ranges of one table in their order, so that a restore meets them in order too.
            sized.extend((0..job.ranges.len()).map(|range| (each, Unit::Range { table: index, range })));
        } else if bytes <= SMALL_BYTES {
            small.push((bytes, index));
        } else {
            sized.push((bytes, Unit::Pack { tables: vec![index] }));
        }
        tables.push(job);
    }
    sized.extend(pack(&small));
    let per_object = large_object_bytes / large_objects.max(1) as u64;
    let step = UNIT_OBJECTS
        .min(usize::try_from(range_bytes / per_object.max(1)).unwrap_or(UNIT_OBJECTS))
        .max(1);
    for first in (0..large_objects).step_by(step) {
        let end = (first + step).min(large_objects);
        sized.push((
            per_object * (end - first) as u64,
            Unit::LargeObjects { first, end },
        ));
    }
    // Stable: equals stay in the table of contents' order.
    sized.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    Ok(Work {
        tables,
        units: sized.into_iter().map(|(_, unit)| unit).collect(),
        bytes: total,
    })
}

fn pack(small: &[(u64, usize)]) -> Vec<(u64, Unit)> {
    let mut packs = Vec::new();
    let (mut tables, mut weight) = (Vec::new(), 0);
    for (bytes, index) in small {
        if tables.len() == PACK_TABLES || (!tables.is_empty() && weight + bytes > PACK_BYTES) {
            packs.push((
                weight,
                Unit::Pack {
                    tables: std::mem::take(&mut tables),
                },
            ));
            weight = 0;
        }
        tables.push(*index);
        weight += bytes;
    }
    if !tables.is_empty() {
        packs.push((weight, Unit::Pack { tables }));
    }
    packs
}

/// Ranges of pages; none where one piece will do. The last is open-ended: pages added since then hold nothing that
/// the snapshot sees, but reading them costs less than being wrong about that.
fn cut(pages: u64, bytes: u64, block_bytes: u64, range_bytes: u64) -> Vec<(u64, Option<u64>)> {
    let wanted = bytes
        .div_ceil(range_bytes.max(block_bytes))
        .min(pages)
        .min(MOST_RANGES);
    if wanted < 2 || bytes < 2 * block_bytes {
        return Vec::new();
    }
    let step = pages.div_ceil(wanted);
    let count = pages.div_ceil(step);
    (0..count)
        .map(|range| (range * step, (range + 1 < count).then(|| (range + 1) * step)))
        .collect()
}

/// The statement for one range of a table, or for all of it.
pub(super) fn statement(copy: &CapturedCopy, range: Option<(u64, Option<u64>)>) -> Vec<u8> {
    match range.and_then(|(first, end)| copy.pages(first, end)) {
        Some(query) => [b"COPY (", query.as_slice(), b") TO stdout"].concat(),
        None => copy.whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: u64 = 32 * 1024 * 1024;

    #[test]
    fn ranges_cover_every_page_once_and_the_last_is_open() {
        for (pages, bytes) in [
            (10_000, 81_920_000),
            (1_000_000, 8_192_000_000),
            (3, 500_000_000),
            (4097, 4097 * 8192),
        ] {
            let ranges = cut(pages, bytes, 8192, RANGE);
            assert!(ranges.len() > 1);
            assert_eq!(ranges[0].0, 0);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].1, Some(pair[1].0));
            }
            let (first, end) = ranges[ranges.len() - 1];
            assert!(first < pages && end.is_none());
        }
        assert!(cut(u64::MAX / 8192, u64::MAX / 2, 8192, RANGE).len() < 999_999);
    }

    #[test]
    fn a_small_table_is_not_cut() {
        assert_eq!(cut(100, 819_200, 8192, RANGE), []);
        assert_eq!(cut(0, 0, 8192, RANGE), []);
        assert_eq!(cut(1, 900_000_000, 8192, RANGE), []);
    }
}
