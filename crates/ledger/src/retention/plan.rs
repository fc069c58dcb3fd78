//! The plan: from what is there and what was asked for to what is kept, each copy with the reasons why, and what goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::calendar::{Bucket, Period};
use crate::value::{Sequence, Term};

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Its bytes were not read back yet, or not within the time in which that counts: nothing is known.
    Unread,
    /// Something of it is missing or not what the ledger says.
    Broken,
    /// All its bytes were read back and equal the ledger.
    Intact,
    /// It was opened, restored and questioned as well.
    Drilled,
}

impl Quality {
    /// Whether its bytes are known to be whole.
    #[must_use]
    pub const fn is_intact(self) -> bool {
        matches!(self, Self::Intact | Self::Drilled)
    }
}

/// A living copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The number of its entry in the source chain.
    pub sequence: Sequence,
    /// When its entry came, by the store's clock: what whoever sends it says of the time counts for nothing.
    pub arrived_at: Timestamp,
    /// The term in which its entry was written.
    pub term: Term,
    /// What is known of it.
    pub quality: Quality,
    /// Sealed bytes.
    pub sealed_bytes: u64,
    /// The copies whose objects it needs.
    pub parents: Vec<Sequence>,
}

/// Which copies are to be kept. A copy is kept if any of these keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Every copy younger than this.
    pub keep_within: Duration,
    /// The newest copy of each of so many days that have one.
    pub daily: u32,
    /// The same of weeks.
    pub weekly: u32,
    /// The same of months.
    pub monthly: u32,
    /// The same of years.
    pub yearly: u32,
    /// So many of the newest proven copies, whatever their age. 0 counts as 1.
    pub minimum: u32,
    /// Copies that are kept whatever else is said.
    pub pins: BTreeSet<Sequence>,
}

/// Why a copy is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Somebody pinned it.
    Pinned,
    /// It was not read back yet, so nobody knows what it is worth.
    Unread,
    /// Fewer copies than the minimum are whole: nothing may go.
    TooFewIntact,
    /// It is young.
    Young,
    /// It is among the newest that were restored and questioned.
    NewestDrilled,
    /// It is among the newest whose bytes are whole.
    NewestIntact,
    /// It is the newest whole one of its term.
    LastOfTerm(Term),
    /// It is the newest of its kind in a day, week, month or year.
    Calendar(Bucket),
    /// A copy that is kept needs its objects.
    ParentOf(Sequence),
}

/// A copy that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub sequence: Sequence,
    /// When its entry came.
    pub arrived_at: Timestamp,
    /// What is known of it.
    pub quality: Quality,
    /// Sealed bytes.
    pub sealed_bytes: u64,
    /// Every reason, at least one.
    pub why: BTreeSet<Why>,
}

/// A copy that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Its number.
    pub sequence: Sequence,
    /// When its entry came.
    pub arrived_at: Timestamp,
    /// What is known of it.
    pub quality: Quality,
    /// Sealed bytes.
    pub sealed_bytes: u64,
}

/// What is kept and what goes. [Printed](std::fmt::Display), it is a table of copies, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is kept, ascending.
    pub kept: Vec<Kept>,
    /// What goes, ascending.
    pub expiring: Vec<Expiring>,
}

/// Makes the plan. The order of the candidates does not matter.
///
/// 1. Pinned copies stay. So do copies that were not read back yet: they are judged when they were. And while fewer than the minimum are
///    whole, everything stays.
/// 2. Copies younger than `keep_within` stay.
/// 3. Of the whole copies, the newest `minimum` stay, and the newest of each term: nobody's term can push out the last word of the one
///    before.
/// 4. Of the whole copies, the newest of each of the latest so many days, weeks, months and years that have one stay.
/// 5. Where `drills_exist`, 3 and 4 are done once more among the drilled copies alone. Whoever sends copies can make whole ones at will,
///    but none that answers a drill's questions wrongly.
/// 6. Of the broken copies, the newest of each day, week, month and year as in 4 stays where no whole one is: something may be saved from
///    it.
/// 7. What a copy that stays needs stays too.
///
/// Nothing that a candidate adds can make another of at least its quality go: each choice is made among equals, by the time of arrival.
/// Done twice, the second plan lets nothing go.
#[must_use]
pub fn plan(
    candidates: impl IntoIterator<Item = Candidate>,
    policy: &Policy,
    drills_exist: bool,
    now: Timestamp,
) -> Plan {
    // One number is one copy, whatever was handed in; of two, the same one in any order.
    let sorted: BTreeSet<Candidate> = candidates.into_iter().collect();
    let copies: BTreeMap<Sequence, Candidate> = sorted.into_iter().map(|one| (one.sequence, one)).collect();
    let mut choice = Choice {
        copies: &copies,
        policy,
        why: BTreeMap::new(),
    };
    choice.keep_unconditionally(now);
    if drills_exist {
        choice.keep_best(|quality| quality == Quality::Drilled, Why::NewestDrilled);
    }
    choice.keep_best(Quality::is_intact, Why::NewestIntact);
    choice.keep_broken();
    choice.keep_parents();
    choice.finish()
}

struct Choice<'a> {
    copies: &'a BTreeMap<Sequence, Candidate>,
    policy: &'a Policy,
    why: BTreeMap<Sequence, BTreeSet<Why>>,
}

impl<'a> Choice<'a> {
    fn keep(&mut self, sequence: Sequence, why: Why) {
        self.why.entry(sequence).or_default().insert(why);
    }

    fn minimum(&self) -> usize {
        usize::try_from(self.policy.minimum.max(1)).unwrap_or(usize::MAX)
    }

    fn keep_unconditionally(&mut self, now: Timestamp) {
        let young = SignedDuration::try_from(self.policy.keep_within).unwrap_or(SignedDuration::MAX);
        let intact = self
            .copies
            .values()
            .filter(|copy| copy.quality.is_intact())
            .count();
        let too_few = intact < self.minimum();
        for copy in self.copies.values() {
            let reasons = [
                (self.policy.pins.contains(&copy.sequence), Why::Pinned),
                (copy.quality == Quality::Unread, Why::Unread),
                (too_few, Why::TooFewIntact),
                (now.duration_since(copy.arrived_at) < young, Why::Young),
            ];
            for (holds, why) in reasons {
                if holds {
                    self.keep(copy.sequence, why);
                }
            }
        }
    }

    /// What is kept of the copies of one quality, chosen among themselves.
    fn keep_best(&mut self, belongs: impl Fn(Quality) -> bool, newest: Why) {
        let mut equals: Vec<&'a Candidate> = self
            .copies
            .values()
            .filter(|copy| belongs(copy.quality))
            .collect();
        equals.sort_by_key(|copy| std::cmp::Reverse((copy.arrived_at, copy.sequence)));
        for copy in equals.iter().take(self.minimum()) {
            self.keep(copy.sequence, newest);
        }
        let mut terms = BTreeSet::new();
        for copy in &equals {
            if terms.insert(copy.term) {
                self.keep(copy.sequence, Why::LastOfTerm(copy.term));
            }
        }
        for (period, count) in self.calendar() {
            for (bucket, copy) in newest_of_each(&equals, period, count) {
                self.keep(copy.sequence, Why::Calendar(bucket));
            }
        }
    }

    fn keep_broken(&mut self) {
        let of = |wanted: fn(Quality) -> bool| {
            let mut some: Vec<&'a Candidate> =
                self.copies.values().filter(|copy| wanted(copy.quality)).collect();
            some.sort_by_key(|copy| std::cmp::Reverse((copy.arrived_at, copy.sequence)));
            some
        };
        let (broken, intact) = (of(|quality| quality == Quality::Broken), of(Quality::is_intact));
        for (period, count) in self.calendar() {
            let taken: BTreeSet<Bucket> = intact.iter().map(|copy| period.of(copy.arrived_at)).collect();
            for (bucket, copy) in newest_of_each(&broken, period, count) {
                if !taken.contains(&bucket) {
                    self.keep(copy.sequence, Why::Calendar(bucket));
                }
            }
        }
    }

    fn keep_parents(&mut self) {
        let mut waiting: Vec<Sequence> = self.why.keys().copied().collect();
        while let Some(child) = waiting.pop() {
            let Some(copy) = self.copies.get(&child) else {
                continue;
            };
            for parent in &copy.parents {
                let is_new = !self.why.contains_key(parent);
                if self.copies.contains_key(parent) {
                    self.keep(*parent, Why::ParentOf(child));
                    if is_new {
                        waiting.push(*parent);
                    }
                }
            }
        }
    }

    fn calendar(&self) -> [(Period, u32); 4] {
        [
            (Period::Day, self.policy.daily),
            (Period::Week, self.policy.weekly),
            (Period::Month, self.policy.monthly),
            (Period::Year, self.policy.yearly),
        ]
    }

    fn finish(mut self) -> Plan {
        let mut plan = Plan::default();
        for copy in self.copies.values() {
            let Candidate {
                sequence,
                arrived_at,
                quality,
                sealed_bytes,
                ..
            } = *copy;
            match self.why.remove(&sequence) {
                Some(why) => plan.kept.push(Kept {
                    sequence,
                    arrived_at,
                    quality,
                    sealed_bytes,
                    why,
                }),
                None => plan.expiring.push(Expiring {
                    sequence,
                    arrived_at,
                    quality,
                    sealed_bytes,
                }),
            }
        }
        plan
    }
}

/// The newest copy of each of the latest `count` spans that have one. `newest_first` is ordered by arrival.
fn newest_of_each<'a>(
    newest_first: &[&'a Candidate],
    period: Period,
    count: u32,
) -> Vec<(Bucket, &'a Candidate)> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut found: Vec<(Bucket, &Candidate)> = Vec::new();
    for copy in newest_first {
        let bucket = period.of(copy.arrived_at);
        if found.last().is_some_and(|(last, _)| *last == bucket) {
            continue;
        }
        if found.len() == count {
            break;
        }
        found.push((bucket, copy));
    }
    found
}
