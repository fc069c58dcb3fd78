//! Which copy is read back next. No clock is read here.
//!
//! Of a registry's copies those that were never read come first, the newest of them before the others: it is the one that matters most. Then
//! the one that was read longest ago, once half of the period has passed: the other half is left for reading.
//!
//! Of registries the one comes first for which least was read, counted from when it last had nothing due: however much one of them sends,
//! the others are proven beside it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use dataembassy_ledger::RegistryId;
use jiff::Timestamp;

use crate::custodian::registry::holdings::{Held, Manifest};
use crate::process::clock::has_passed;

/// Between two looks at objects that were found wrong.
const RETRY: Duration = Duration::from_secs(30);
/// What an object costs at least, in bytes: a request takes its time, however little comes.
const LEAST_COST: u64 = 64 * 1_024;
/// How many bytes a registry may be ahead of one that waits before its reading is interrupted.
const QUANTUM: u64 = 256 * 1_024 * 1_024;

/// What comes first has the least of these.
pub type Urgency = (bool, Option<Timestamp>, Reverse<Timestamp>);

/// How urgent it is to read a copy back; `None` while it is not due.
#[must_use]
pub fn urgency(held: &Held, now: Timestamp, period: Duration) -> Option<Urgency> {
    let is_known = matches!(held.manifest, Manifest::Sound(_));
    let is_there = held.listed.damage.is_none();
    // What was found wrong is looked at by itself, and the whole copy again only when that has healed.
    let is_judged = held.read.damage.as_ref().is_some_and(|damage| damage.complete);
    if !is_known || !is_there || is_judged {
        return None;
    }
    let half = period / 2;
    let last = held.read.verified_at;
    let is_due = held.read.partial.is_some() || last.is_none_or(|last| has_passed(last, half, now));
    is_due.then_some((last.is_some(), last, Reverse(held.arrived_at)))
}

/// Whether objects of a copy that were found wrong are to be looked at again.
#[must_use]
pub fn is_to_recheck(held: &Held, now: Timestamp) -> bool {
    let damage = held.read.damage.as_ref();
    damage.is_some_and(|damage| damage.complete && has_passed(damage.looked_at, RETRY, now))
}

/// What reading an object of this size costs, in bytes.
#[must_use]
pub const fn cost(size: u64) -> u64 {
    if size < LEAST_COST { LEAST_COST } else { size }
}

/// What a registry has due: its most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Objects that were found wrong are looked at again.
    Recheck,
    /// A copy is read.
    Read(Urgency),
}

impl Due {
    /// Whether it is a copy that nobody has read yet.
    const fn is_first(self) -> bool {
        matches!(self, Self::Read((false, ..)))
    }
}

/// Where a registry stands that has something due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// What was read for it, as all of them count.
    place: u64,
    /// What it is for.
    pub due: Due,
}

impl Turn {
    /// Whether a reading in this turn gives way to one in that.
    #[must_use]
    pub const fn gives_way(&self, to: &Self) -> bool {
        let is_far_ahead = self.place >= to.place.saturating_add(QUANTUM);
        let is_news = to.due.is_first() && !self.due.is_first() && to.place <= self.place;
        is_far_ahead || is_news
    }
}

/// Takes registries in turns.
#[derive(Debug, Default)]
pub struct Turns {
    /// What each has been given for the time in which it had nothing due, so that nobody saves up.
    given: BTreeMap<RegistryId, u64>,
    /// Where whoever was served last stood.
    now: u64,
}

impl Turns {
    /// The turn of a registry that has this due, and for which reading has cost so much.
    pub fn of(&mut self, registry: &RegistryId, cost: u64, due: Due) -> Turn {
        let given = self.given.entry(registry.clone()).or_default();
        *given = (*given).max(self.now.saturating_sub(cost));
        Turn {
            place: cost.saturating_add(*given),
            due,
        }
    }

    /// Serves whoever has this turn; also while it goes on, as long as nobody waits: what nobody else wanted is no debt.
    pub fn serve(&mut self, turn: &Turn) {
        self.now = self.now.max(turn.place);
    }

    /// Nobody has anything due. A registry for which reading has cost so much begins anew beside the others.
    pub fn rest(&mut self, registry: &RegistryId, cost: u64) {
        let given = self.given.get(registry).copied().unwrap_or_default();
        self.now = self.now.max(cost.saturating_add(given));
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::entry::CopyFault;

    use super::*;
    use crate::custodian::registry::holdings::{Damage, Partial, ReadDamage};
    use crate::custodian::registry::made_up::held;

    const PERIOD: Duration = Duration::from_secs(100);
    const READ_BEFORE: Due = Due::Read((true, None, Reverse(Timestamp::UNIX_EPOCH)));
    const NEVER_READ: Due = Due::Read((false, None, Reverse(Timestamp::UNIX_EPOCH)));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A copy that was read back in that second.
    fn read_at(number: u64, second: i64) -> Held {
        let mut copy = held(number);
        copy.read.verified_at = Some(at(second));
        copy
    }

    /// The numbers of the copies that are due in that second, the most urgent first.
    fn due(copies: &[Held], second: i64) -> Vec<u64> {
        let mut due: Vec<(Urgency, u64)> = Vec::new();
        for copy in copies {
            let urgency = urgency(copy, at(second), PERIOD);
            due.extend(urgency.map(|urgency| (urgency, copy.reference.sequence.get())));
        }
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn what_was_never_read_comes_first_and_the_newest_of_it_and_then_what_was_read_longest_ago() {
        let copies = [read_at(1, 30), read_at(2, 20), held(3), held(4), read_at(5, 20)];
        assert_eq!(due(&copies, 200), [4, 3, 5, 2, 1]);
    }

    #[test]
    fn after_a_downtime_of_several_periods_what_was_read_longest_ago_comes_first_and_each_once() {
        let mut copies = [read_at(1, 70), read_at(2, 10), read_at(3, 40)];
        let back = 70 + 3 * 86_400;
        let mut order = Vec::new();
        while let Some(first) = due(&copies, back).first().copied() {
            order.push(first);
            let place = usize::try_from(first - 1).unwrap();
            copies[place] = read_at(first, back);
        }
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn what_was_read_within_half_of_the_period_waits() {
        let copies = [read_at(1, 1_000)];
        assert!(due(&copies, 1_049).is_empty());
        assert_eq!(due(&copies, 1_050), [1]);
        // A calendar that was wrong says nothing about when it was read.
        assert_eq!(due(&copies, 999), [1]);
    }

    #[test]
    fn a_reading_that_was_interrupted_goes_on_however_short_ago_the_last_one_was() {
        let mut copy = read_at(1, 1_000);
        copy.read.partial = Some(Partial {
            segments: 7,
            since: at(1_001),
        });
        assert_eq!(due(&[copy], 1_002), [1]);
    }

    #[test]
    fn what_is_not_known_to_be_there_is_not_read_nor_what_was_read_and_found_wrong() {
        let damage = Box::new(Damage {
            fault: CopyFault::Missing,
            objects: 1,
            example: "00000002".into(),
        });
        let [mut unknown, mut wrong, mut missing, mut judged, mut halfway] = [1, 2, 3, 4, 5].map(held);
        unknown.manifest = Manifest::Unread;
        wrong.manifest = Manifest::Wrong(damage.clone());
        missing.listed.damage = Some(damage);
        judged.read.damage = Some(Box::new(ReadDamage {
            complete: true,
            ..ReadDamage::default()
        }));
        // More may be wrong with it than what was found before it was interrupted.
        halfway.read.damage = Some(Box::default());
        let copies = [unknown, wrong, missing, judged, halfway];
        assert_eq!(due(&copies, 200), [5]);
    }

    #[test]
    fn what_was_found_wrong_is_looked_at_again_after_a_while_when_all_of_the_copy_was_read() {
        let mut copy = held(1);
        assert!(!is_to_recheck(&copy, at(2_000)));
        let mut damage = ReadDamage {
            looked_at: at(1_000),
            ..ReadDamage::default()
        };
        copy.read.damage = Some(Box::new(damage.clone()));
        assert!(!is_to_recheck(&copy, at(2_000)));
        damage.complete = true;
        copy.read.damage = Some(Box::new(damage));
        assert!(!is_to_recheck(&copy, at(1_029)));
        assert!(is_to_recheck(&copy, at(1_030)));
    }

    /// Serves these registries, each of which has always so much due, and tells what each was read of so many bytes in all.
    fn served(turns: &mut Turns, costs: &mut [(RegistryId, u64, u64)], bytes: u64) {
        let end = costs.iter().map(|(_, cost, _)| *cost).sum::<u64>() + bytes;
        while costs.iter().map(|(_, cost, _)| *cost).sum::<u64>() < end {
            let of = |(registry, cost, _): &(RegistryId, u64, u64)| turns.of(registry, *cost, NEVER_READ);
            let all: Vec<Turn> = costs.iter().map(of).collect();
            let (place, turn) = all.iter().enumerate().min_by_key(|(_, turn)| **turn).unwrap();
            turns.serve(turn);
            costs[place].1 += costs[place].2;
        }
    }

    #[test]
    fn a_registry_that_sends_without_end_takes_no_more_than_its_share() {
        let (mut turns, id) = (Turns::default(), |id: &str| id.parse::<RegistryId>().unwrap());
        let mut costs = vec![(id("flood"), 0, 1_000), (id("population"), 0, 10)];
        served(&mut turns, &mut costs, 100_000);
        assert!(costs[0].1.abs_diff(costs[1].1) <= 1_000, "{costs:?}");
        // One that had nothing due for a long time has saved up nothing.
        costs.push((id("health"), 0, 10));
        let before = costs.clone();
        served(&mut turns, &mut costs, 90_000);
        for (before, after) in before.iter().zip(&costs) {
            let share = after.1 - before.1;
            assert!(share.abs_diff(30_000) <= 2_000, "{}: {share}", after.0);
        }
    }

    #[test]
    fn what_was_read_while_nobody_waited_is_no_debt() {
        let (mut turns, id) = (Turns::default(), |id: &str| id.parse::<RegistryId>().unwrap());
        let (large, small) = (id("large"), id("small"));
        let alone = turns.of(&large, 0, NEVER_READ);
        turns.serve(&alone);
        let later = turns.of(&large, 500_000, NEVER_READ);
        turns.serve(&later);
        let first = turns.of(&small, 0, READ_BEFORE);
        assert_eq!(first.place, 500_000);
        // The end of it is told when there is nothing to do any more.
        turns.rest(&large, 900_000);
        turns.rest(&small, 10);
        let [one, other] = [(&large, 900_000), (&small, 10)].map(|(id, cost)| turns.of(id, cost, NEVER_READ));
        assert_eq!(one.place, other.place);
    }

    #[test]
    fn a_reading_gives_way_to_a_first_one_at_once_and_to_others_when_it_is_far_ahead() {
        let turn = |place, due| Turn { place, due };
        assert!(turn(7, READ_BEFORE).gives_way(&turn(7, NEVER_READ)));
        assert!(!turn(6, READ_BEFORE).gives_way(&turn(7, NEVER_READ)));
        assert!(!turn(QUANTUM, NEVER_READ).gives_way(&turn(1, NEVER_READ)));
        assert!(turn(QUANTUM + 1, NEVER_READ).gives_way(&turn(1, READ_BEFORE)));
        assert!(turn(7, Due::Recheck) < turn(7, NEVER_READ) && turn(7, NEVER_READ) < turn(7, READ_BEFORE));
    }
}
