//! What is kept and what goes, over made-up and over random histories.

use std::collections::BTreeSet;
use std::time::Duration;

use dataembassy_ledger::Sequence;
use dataembassy_ledger::retention::{Candidate, Plan, Policy, Quality, Why, plan};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;

use crate::sample::{sequence, term};

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn hours_ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn copy(number: u64, arrived_at: Timestamp, quality: Quality) -> Candidate {
    Candidate {
        sequence: sequence(number),
        arrived_at,
        term: term(1),
        quality,
        sealed_bytes: 1_000 * number,
        parents: Vec::new(),
    }
}

/// Keeps nothing but the newest whole copy.
fn bare() -> Policy {
    Policy {
        keep_within: Duration::ZERO,
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        minimum: 1,
        pins: BTreeSet::new(),
    }
}

fn usual() -> Policy {
    Policy {
        keep_within: Duration::from_hours(30 * 24),
        daily: 14,
        weekly: 8,
        monthly: 12,
        yearly: 10,
        minimum: 3,
        pins: BTreeSet::new(),
    }
}

fn kept(plan: &Plan) -> BTreeSet<u64> {
    plan.kept.iter().map(|copy| copy.sequence.get()).collect()
}

fn why(plan: &Plan, number: u64) -> Vec<Why> {
    let copy = plan.kept.iter().find(|copy| copy.sequence.get() == number);
    copy.map(|copy| copy.why.iter().copied().collect())
        .unwrap_or_default()
}

fn intact(numbers: impl IntoIterator<Item = (u64, i64)>) -> Vec<Candidate> {
    let copies = numbers.into_iter();
    copies
        .map(|(number, hours)| copy(number, hours_ago(hours), Quality::Intact))
        .collect()
}

#[test]
fn the_newest_of_each_day_week_month_and_year_stays() {
    // Four a day for three years.
    let copies =
        intact((0..3 * 365 * 4).map(|number| (3 * 365 * 4 - number, i64::try_from(number).unwrap() * 6)));
    let policy = Policy {
        keep_within: Duration::from_hours(48),
        daily: 5,
        weekly: 4,
        monthly: 6,
        yearly: 10,
        ..bare()
    };
    let plan = plan(copies, &policy, false, now());
    let arrived: Vec<String> = plan.kept.iter().map(|copy| copy.arrived_at.to_string()).collect();
    assert_eq!(
        arrived,
        [
            "2023-12-31T18:00:00Z",
            "2024-12-31T18:00:00Z",
            "2025-12-31T18:00:00Z",
            "2026-06-30T18:00:00Z",
            "2026-07-31T18:00:00Z",
            "2026-08-31T18:00:00Z",
            "2026-09-30T18:00:00Z",
            "2026-10-31T18:00:00Z",
            "2026-11-08T18:00:00Z",
            "2026-11-15T18:00:00Z",
            "2026-11-19T18:00:00Z",
            "2026-11-20T18:00:00Z",
            "2026-11-21T18:00:00Z",
            "2026-11-22T00:00:00Z",
            "2026-11-22T06:00:00Z",
            "2026-11-22T12:00:00Z",
            "2026-11-22T18:00:00Z",
            "2026-11-23T00:00:00Z",
            "2026-11-23T06:00:00Z",
            "2026-11-23T12:00:00Z",
        ]
    );
}

#[test]
fn the_plan_is_printed_with_every_reason() {
    let mut policy = Policy {
        keep_within: Duration::from_hours(1),
        daily: 1,
        ..bare()
    };
    policy.pins.insert(sequence(1));
    let copies = [
        copy(1, hours_ago(100), Quality::Broken),
        copy(2, hours_ago(50), Quality::Intact),
        copy(3, hours_ago(2), Quality::Intact),
        copy(4, hours_ago(0), Quality::Unread),
    ];
    let printed = plan(copies, &policy, false, now()).to_string();
    assert_eq!(
        printed,
        "stays            4 2026-11-23T12:00:00Z unread              4000  not read back yet, young\n\
         stays            3 2026-11-23T10:00:00Z intact              3000  among the newest intact, newest of term 1, day 2026-11-23\n\
         goes             2 2026-11-21T10:00:00Z intact              2000\n\
         stays            1 2026-11-19T08:00:00Z broken              1000  pinned, day 2026-11-19\n\
         3 stay, 1 go with 2000 sealed bytes\n"
    );
}

#[test]
fn nothing_goes_while_fewer_copies_than_the_minimum_are_whole() {
    let mut copies = intact([(1, 9_000), (2, 8_000)]);
    copies.push(copy(3, hours_ago(7_000), Quality::Broken));
    let policy = Policy { minimum: 3, ..bare() };
    let first = plan(copies.clone(), &policy, false, now());
    assert!(first.expiring.is_empty());
    assert!(why(&first, 3).contains(&Why::TooFewIntact));
    copies.push(copy(4, hours_ago(6_000), Quality::Intact));
    assert_eq!(kept(&plan(copies, &policy, false, now())), [1, 2, 4].into());
}

#[test]
fn a_broken_copy_stays_only_where_nothing_better_is() {
    let policy = Policy { daily: 10, ..bare() };
    let copies = [
        copy(1, hours_ago(80), Quality::Broken),
        copy(2, hours_ago(50), Quality::Intact),
        copy(3, hours_ago(49), Quality::Broken),
        copy(4, hours_ago(1), Quality::Intact),
    ];
    assert_eq!(kept(&plan(copies, &policy, false, now())), [1, 2, 4].into());
}

#[test]
fn where_drills_exist_the_drilled_ones_are_chosen_among_themselves() {
    // A drill a week; the copies after it are whole, and perhaps worthless.
    let mut copies = intact((0..28).map(|day| (28 - day, i64::try_from(day).unwrap() * 24)));
    for copy in &mut copies {
        if copy.sequence.get() % 7 == 0 {
            copy.quality = Quality::Drilled;
        }
    }
    let policy = Policy {
        daily: 3,
        minimum: 2,
        ..bare()
    };
    // Only where somebody drills does it count.
    assert_eq!(
        kept(&plan(copies.clone(), &policy, false, now())),
        [26, 27, 28].into()
    );
    let plan = plan(copies, &policy, true, now());
    assert_eq!(kept(&plan), [14, 21, 26, 27, 28].into());
    assert!(why(&plan, 21).contains(&Why::NewestDrilled));
}

#[test]
fn a_term_cannot_push_out_the_last_word_of_the_one_before() {
    let mut copies = intact((1..=20).map(|number| (number, 20 - i64::try_from(number).unwrap())));
    for copy in &mut copies {
        copy.term = term(if copy.sequence.get() <= 5 { 1 } else { 2 });
    }
    let plan = plan(copies, &bare(), false, now());
    assert_eq!(kept(&plan), [5, 20].into());
    assert!(why(&plan, 5).contains(&Why::LastOfTerm(term(1))));
}

#[test]
fn what_a_kept_copy_needs_stays_with_it_however_far_back() {
    let mut copies = intact((1..=6).map(|number| (number, 100 - i64::try_from(number).unwrap())));
    copies[5].parents = vec![sequence(4)];
    copies[3].parents = vec![sequence(2), sequence(1), sequence(99)];
    let plan = plan(copies, &bare(), false, now());
    assert_eq!(kept(&plan), [1, 2, 4, 6].into());
    assert_eq!(why(&plan, 1), [Why::ParentOf(sequence(4))]);
}

#[test]
fn time_is_when_a_copy_came_and_not_its_number() {
    let copies = intact([(1, 1), (2, 500)]);
    assert_eq!(kept(&plan(copies, &bare(), false, now())), [1].into());
}

#[test]
fn a_copy_is_young_by_its_arrival_to_the_moment() {
    let policy = Policy {
        keep_within: Duration::from_hours(10),
        ..bare()
    };
    let copies = intact([(1, 11), (2, 10), (3, 9), (4, 1)]);
    assert_eq!(kept(&plan(copies, &policy, false, now())), [3, 4].into());
}

fn quality() -> impl Strategy<Value = Quality> {
    prop_oneof![
        1 => Just(Quality::Unread),
        1 => Just(Quality::Broken),
        3 => Just(Quality::Intact),
        1 => Just(Quality::Drilled),
    ]
}

/// Copies of three years, many of them on the same days.
fn copies() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (
        0_i64..26_000,
        quality(),
        1_u64..4,
        prop::collection::vec(1_u64..50, 0..2),
    );
    prop::collection::vec(one, 0..50).prop_map(|all| {
        let numbered = (1_u64..).zip(all);
        numbered
            .map(|(number, (hours, quality, in_term, parents))| Candidate {
                term: term(in_term),
                parents: parents
                    .into_iter()
                    .filter(|parent| *parent < number)
                    .map(sequence)
                    .collect(),
                ..copy(number, hours_ago(hours), quality)
            })
            .collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let numbers = (0_u32..6, 0_u32..5, 0_u32..5, 0_u32..4, 0_u32..6);
    let pins = prop::collection::btree_set(1_u64..60, 0..4);
    (0_u64..2_000, numbers, pins).prop_map(|(hours, (daily, weekly, monthly, yearly, minimum), pins)| {
        Policy {
            keep_within: Duration::from_secs(hours * 3_600),
            daily,
            weekly,
            monthly,
            yearly,
            minimum,
            pins: pins.into_iter().map(sequence).collect(),
        }
    })
}

/// What must hold of every plan.
fn check(copies: &[Candidate], policy: &Policy, drills: bool, plan: &Plan, now: Timestamp) {
    let kept = kept(plan);
    let gone: BTreeSet<u64> = plan.expiring.iter().map(|copy| copy.sequence.get()).collect();
    let all: BTreeSet<u64> = copies.iter().map(|copy| copy.sequence.get()).collect();
    assert_eq!(kept.union(&gone).copied().collect::<BTreeSet<u64>>(), all);
    assert!(kept.is_disjoint(&gone));
    assert!(plan.kept.iter().all(|copy| !copy.why.is_empty()));

    let is_kept = |copy: &Candidate| kept.contains(&copy.sequence.get());
    let minimum = usize::try_from(policy.minimum.max(1)).unwrap();
    let floor = |belongs: fn(Quality) -> bool| {
        let mut some: Vec<&Candidate> = copies.iter().filter(|copy| belongs(copy.quality)).collect();
        some.sort_by_key(|copy| std::cmp::Reverse((copy.arrived_at, copy.sequence)));
        assert!(
            some.iter().take(minimum).all(|copy| is_kept(copy)),
            "one of the newest proven copies goes"
        );
        let stays = some.iter().filter(|copy| is_kept(copy)).count();
        assert!(stays >= minimum.min(some.len()), "{stays} proven copies are left");
    };
    floor(Quality::is_intact);
    if drills {
        floor(|quality| quality == Quality::Drilled);
    }
    for copy in copies {
        let young =
            now.duration_since(copy.arrived_at) < SignedDuration::try_from(policy.keep_within).unwrap();
        if policy.pins.contains(&copy.sequence) || copy.quality == Quality::Unread || young {
            assert!(is_kept(copy), "{copy:?}");
        }
        if is_kept(copy) {
            for parent in &copy.parents {
                assert!(
                    !all.contains(&parent.get()) || kept.contains(&parent.get()),
                    "{parent} is needed"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_plan_goes_below_the_floor_or_lets_go_what_must_stay(copies in copies(), policy in policy(), drills: bool) {
        check(&copies, &policy, drills, &plan(copies.clone(), &policy, drills, now()), now());
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_the_listing(
        (copies, shuffled) in copies().prop_flat_map(|copies| (Just(copies.clone()), Just(copies).prop_shuffle())),
        policy in policy(), drills: bool,
    ) {
        prop_assert_eq!(plan(copies, &policy, drills, now()), plan(shuffled, &policy, drills, now()));
    }

    #[test]
    fn a_plan_made_again_lets_nothing_go(copies in copies(), policy in policy(), drills: bool) {
        let first = plan(copies.clone(), &policy, drills, now());
        let stays = kept(&first);
        let left = copies.into_iter().filter(|copy| stays.contains(&copy.sequence.get()));
        let second = plan(left, &policy, drills, now());
        prop_assert!(second.expiring.is_empty(), "{second}");
        prop_assert_eq!(kept(&second), stays);
    }

    /// Whoever can send copies can send as many as they like, whole ones included. What is better than theirs does not move.
    #[test]
    fn a_flood_of_garbage_pushes_nothing_good_out(
        good in copies(), policy in policy(), drills: bool,
        garbage in prop::collection::vec((0_i64..26_000, 0_usize..3, 1_u64..4), 0..80),
    ) {
        let best = if drills { Quality::Drilled } else { Quality::Intact };
        let is_better = |quality: Quality| if drills { quality == Quality::Drilled } else { quality.is_intact() };
        let worse: Vec<Quality> = [Quality::Unread, Quality::Broken, Quality::Intact].into_iter().filter(|quality| *quality < best).collect();
        let before = plan(good.clone(), &policy, drills, now());
        let flood = (1_000_u64..).zip(garbage).map(|(number, (hours, kind, in_term))| Candidate {
            term: term(in_term),
            ..copy(number, hours_ago(hours), worse[kind % worse.len()])
        });
        let after = plan(good.clone().into_iter().chain(flood), &policy, drills, now());
        let stays = kept(&after);
        // Of its own accord: neither because too few were whole until the flood brought some, nor for a worse copy that needed it.
        let by_rule =
            |why: &BTreeSet<Why>| why.iter().any(|why| !matches!(why, Why::TooFewIntact | Why::ParentOf(_)));
        for copy in before.kept.iter().filter(|copy| is_better(copy.quality) && by_rule(&copy.why)) {
            prop_assert!(stays.contains(&copy.sequence.get()), "{} was pushed out\n{before}\n{after}", copy.sequence);
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A copy comes; what it turns out to be when it is read back, and which of those that are there it needs.
    Arrival(Quality, Option<usize>),
    /// The oldest unread copy is read back.
    ReadBack,
    /// A whole copy breaks.
    Break(usize),
    /// A whole copy is restored and questioned.
    Drill(usize),
    Hours(i64),
    /// The plan is made and carried out.
    Retention,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (quality(), prop::option::of(0_usize..50)).prop_map(|(turns_out, needs)| Event::Arrival(turns_out, needs)),
        4 => Just(Event::ReadBack),
        1 => (0_usize..50).prop_map(Event::Break),
        1 => (0_usize..50).prop_map(Event::Drill),
        4 => (1_i64..200).prop_map(Event::Hours),
        3 => Just(Event::Retention),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A registry over months: copies come, are read, break, are drilled, and retention runs whenever it does.
    #[test]
    fn over_any_history_the_floor_holds(events in prop::collection::vec(event(), 1..150), policy in policy()) {
        let (mut time, mut next, mut living) = (now(), 1_u64, Vec::<(Candidate, Quality)>::new());
        let mut drills = false;
        for event in events {
            match event {
                Event::Arrival(turns_out, needs) => {
                    let needed = needs.and_then(|place| living.get(place));
                    let parents = needed.map(|(parent, _)| parent.sequence).into_iter().collect();
                    living.push((Candidate { parents, ..copy(next, time, Quality::Unread) }, turns_out));
                    next += 1;
                }
                Event::ReadBack => {
                    if let Some((copy, turns_out)) = living.iter_mut().find(|(copy, _)| copy.quality == Quality::Unread) {
                        copy.quality = if turns_out.is_intact() { Quality::Intact } else { Quality::Broken };
                    }
                }
                Event::Break(place) => {
                    if let Some((copy, _)) = living.get_mut(place) && copy.quality.is_intact() {
                        copy.quality = Quality::Broken;
                    }
                }
                Event::Drill(place) => {
                    if let Some((copy, _)) = living.get_mut(place) && copy.quality.is_intact() {
                        copy.quality = Quality::Drilled;
                        drills = true;
                    }
                }
                Event::Hours(hours) => time = time.checked_add(hours.hours()).unwrap(),
                Event::Retention => {
                    let copies: Vec<Candidate> = living.iter().map(|(copy, _)| copy.clone()).collect();
                    let plan = plan(copies.clone(), &policy, drills, time);
                    check(&copies, &policy, drills, &plan, time);
                    let stays = kept(&plan);
                    living.retain(|(copy, _)| stays.contains(&copy.sequence.get()));
                    // Each was there when what needs it came.
                    let mut needed = living.iter().flat_map(|(copy, _)| &copy.parents);
                    prop_assert!(needed.all(|parent| stays.contains(&parent.get())), "what a copy needs is gone\n{plan}");
                }
            }
        }
    }
}

#[test]
fn a_year_at_four_an_hour_keeps_a_bounded_number() {
    let policy = Policy {
        keep_within: Duration::from_hours(24),
        ..usual()
    };
    let mut living: Vec<Candidate> = Vec::new();
    let mut time = now();
    for number in 1..=(370 * 24 * 4) {
        time = time.checked_add(15.minutes()).unwrap();
        living.push(copy(number, time, Quality::Intact));
        if number % 16 == 0 {
            let stays = kept(&plan(living.clone(), &policy, false, time));
            living.retain(|copy| stays.contains(&copy.sequence.get()));
        }
    }
    let days: BTreeSet<String> = living
        .iter()
        .map(|copy| copy.arrived_at.to_string()[..7].to_owned())
        .collect();
    assert!(days.len() >= 12, "{days:?}");
    assert!(living.len() <= 24 * 4 + 16 + 14 + 8 + 12 + 10, "{}", living.len());
    assert!(living.iter().all(|copy| copy.sequence < Sequence::LAST));
}
