//! What is due: a new trigger, a slot of the schedule, one catch-up after downtime. No clock is read here.
//!
//! Whatever is due is answered by one run. A slot that passes while a run may still take its time is missed; one that passes after that, as
//! while nobody was there to see the run end, is made up for like any other.
//!
//! A clock that runs ahead settles slots that have not come. Once it is set right they count again.

use dataembassy_contract::Schedule;
use dataembassy_contract::schedule::Missed;
use jiff::{SignedDuration, Timestamp};

/// How far ahead of the time the latest settled slot may be: clocks are set back a little every day, and what was answered then is not due again.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What one run answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The slot of the schedule.
    pub slot: Option<Timestamp>,
    /// The trigger.
    pub trigger: Option<String>,
}

/// What spec and status say, as far as it matters for what is due.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// Whether the schedule rests.
    pub suspend: bool,
    /// The trigger of the spec.
    pub trigger: Option<&'a str>,
    /// The trigger that was answered last.
    pub answered_trigger: Option<&'a str>,
    /// When the resource was made: no slot before it counts.
    pub made_at: Timestamp,
    /// The latest slot that was answered or missed.
    pub settled: Option<Timestamp>,
    /// Where the spec was changed since the last look: the slot that was announced before, if one was.
    pub edited: Option<Option<Timestamp>>,
    /// While a run is at work: the end of the time that it may take.
    pub busy_until: Option<Timestamp>,
}

/// What a look at the agenda comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What a run is to be made for, now.
    pub due: Option<Due>,
    /// Slots that passed. Where a run is due for the latest of them, they are settled once it has begun; else at once.
    pub passed: Option<Missed>,
    /// The latest slot that counts as settled because it had not been announced before an edit, or because nobody knows what became of it.
    pub written_off: Option<Timestamp>,
    /// Whether what counted as settled had not come yet: it was settled by a clock that ran ahead, and counts no more.
    pub retracts: bool,
    /// The slot that comes next.
    pub next: Option<Timestamp>,
}

impl Look {
    /// The latest slot that is settled with this look, if `begun` says whether what is due was begun.
    #[must_use]
    pub fn settled(&self, begun: bool) -> Option<Timestamp> {
        let passed = self.passed.filter(|_| begun || !self.waits());
        passed.map(|passed| passed.latest).or(self.written_off)
    }

    /// How many slots are missed with this look.
    #[must_use]
    pub fn missed(&self, begun: bool) -> u32 {
        let Some(passed) = self.passed else { return 0 };
        match (self.waits(), begun) {
            (true, true) => passed.count.saturating_sub(1),
            (true, false) => 0,
            (false, _) => passed.count,
        }
    }

    /// The slot that is announced: the next one, or one that still waits for its run.
    #[must_use]
    pub fn announced(&self, begun: bool) -> Option<Timestamp> {
        let waiting = self.due.as_ref().filter(|_| !begun).and_then(|due| due.slot);
        waiting.or(self.next)
    }

    fn waits(&self) -> bool {
        self.due.as_ref().is_some_and(|due| due.slot.is_some())
    }
}

/// Looks what is due at `now`.
#[must_use]
pub fn look(standing: &Standing<'_>, now: Timestamp) -> Look {
    let schedule = standing.schedule;
    let ahead = standing
        .settled
        .filter(|settled| settled.duration_since(now) > AHEAD);
    let standing = &Standing {
        settled: standing.settled.filter(|_| ahead.is_none()),
        ..*standing
    };
    let mut look = Look {
        retracts: ahead.is_some() && !standing.suspend,
        ..Look::default()
    };
    if !standing.suspend {
        // By whichever clock slots were answered that have passed by now, they are not missed.
        let since = if look.retracts { now } else { since(standing, now) };
        let until = standing.busy_until.map_or(now, |busy_until| busy_until.min(now));
        look.next = schedule.next_after(now);
        look.passed = schedule.missed(since, until);
        look.written_off = schedule
            .missed(settled(standing), since)
            .map(|slots| slots.latest);
    }
    if standing.busy_until.is_none() {
        let due = Due {
            slot: look.passed.map(|passed| passed.latest),
            trigger: standing
                .trigger
                .filter(|trigger| Some(*trigger) != standing.answered_trigger)
                .map(str::to_owned),
        };
        look.due = (due != Due::default()).then_some(due);
    }
    look
}

/// Slots up to this moment are settled, or from before the resource.
fn settled(standing: &Standing<'_>) -> Timestamp {
    standing.settled.unwrap_or(standing.made_at).max(standing.made_at)
}

/// Slots after this moment count.
fn since(standing: &Standing<'_>, now: Timestamp) -> Timestamp {
    let since = settled(standing);
    let Some(announced) = standing.edited else {
        return since;
    };
    // What was not announced before an edit is not missed after it: neither slots of a schedule that was not there yet, nor those that passed
    // while it rested.
    let before = announced.and_then(|slot| slot.checked_sub(SignedDuration::from_secs(1)).ok());
    since.max(before.unwrap_or(now).min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    fn nightly() -> Schedule {
        Schedule::parse("0 3 * * *", "UTC").unwrap()
    }

    fn standing(schedule: &Schedule) -> Standing<'_> {
        Standing {
            schedule,
            suspend: false,
            trigger: None,
            answered_trigger: None,
            made_at: at("20T12:00:00"),
            settled: Some(at("22T03:00:00")),
            edited: None,
            busy_until: None,
        }
    }

    fn slot(text: &str) -> Due {
        Due {
            slot: Some(at(text)),
            trigger: None,
        }
    }

    #[test]
    fn a_slot_is_due_when_it_is_there_and_not_before() {
        let schedule = nightly();
        let before = look(&standing(&schedule), at("23T02:59:59"));
        assert_eq!((before.due.clone(), before.next), (None, Some(at("23T03:00:00"))));
        assert_eq!((before.settled(false), before.missed(false)), (None, 0));
        let now = look(&standing(&schedule), at("23T03:00:00"));
        assert_eq!(now.due, Some(slot("23T03:00:00")));
        assert_eq!(
            (now.settled(true), now.missed(true)),
            (Some(at("23T03:00:00")), 0)
        );
    }

    #[test]
    fn a_slot_that_was_answered_is_not_due_again() {
        let schedule = nightly();
        let answered = Standing {
            settled: Some(at("23T03:00:00")),
            ..standing(&schedule)
        };
        for now in ["23T03:00:00", "23T03:00:01", "24T02:59:59"] {
            assert_eq!(look(&answered, at(now)).due, None, "{now}");
        }
        // Nor is it if the clock was set back.
        assert_eq!(look(&answered, at("21T00:00:00")).due, None);
    }

    #[test]
    fn a_clock_that_ran_ahead_costs_no_slot_once_it_is_right_again() {
        let schedule = nightly();
        let ahead = Standing {
            settled: Some("2036-11-20T03:00:00Z".parse().unwrap()),
            ..standing(&schedule)
        };
        let right = look(&ahead, at("23T10:00:00"));
        assert_eq!(
            (right.due.clone(), right.retracts, right.missed(false)),
            (None, true, 0)
        );
        // What has passed was answered by nobody knows which clock; what comes is due.
        assert_eq!(right.settled(false), Some(at("23T03:00:00")));
        let then = Standing {
            settled: right.settled(false),
            ..standing(&schedule)
        };
        let next = look(&then, at("24T03:00:00"));
        assert_eq!((next.due, next.retracts), (Some(slot("24T03:00:00")), false));
    }

    #[test]
    fn a_clock_that_is_set_back_by_minutes_lets_no_slot_come_twice() {
        let schedule = nightly();
        let answered = Standing {
            settled: Some(at("23T03:00:00")),
            ..standing(&schedule)
        };
        let back = look(&answered, at("23T02:30:00"));
        assert_eq!(
            (back.due.clone(), back.retracts, back.settled(false)),
            (None, false, None)
        );
        assert_eq!(look(&answered, at("23T03:00:00")).due, None);
    }

    #[test]
    fn after_downtime_one_run_answers_the_newest_slot_and_the_others_are_counted() {
        let schedule = nightly();
        let found = look(&standing(&schedule), at("26T10:00:00"));
        assert_eq!(found.due, Some(slot("26T03:00:00")));
        assert_eq!(
            (found.settled(true), found.missed(true)),
            (Some(at("26T03:00:00")), 3)
        );
    }

    #[test]
    fn a_slot_that_cannot_be_answered_yet_stays_due_and_is_announced() {
        let schedule = nightly();
        let found = look(&standing(&schedule), at("23T10:00:00"));
        assert_eq!((found.settled(false), found.missed(false)), (None, 0));
        assert_eq!(found.announced(false), Some(at("23T03:00:00")));
        assert_eq!(found.announced(true), Some(at("24T03:00:00")));
    }

    #[test]
    fn slots_before_the_resource_was_made_are_never_due() {
        let schedule = nightly();
        let new = Standing {
            settled: None,
            ..standing(&schedule)
        };
        let found = look(&new, at("20T12:00:01"));
        assert_eq!((found.due, found.next), (None, Some(at("21T03:00:00"))));
        // Not even if a status of an earlier resource was given to it.
        let restored = Standing {
            settled: Some(at("01T03:00:00")),
            ..standing(&schedule)
        };
        assert_eq!(look(&restored, at("20T12:00:01")), look(&new, at("20T12:00:01")));
    }

    #[test]
    fn a_slot_that_passes_while_one_is_at_work_is_missed() {
        let schedule = nightly();
        let busy = Standing {
            busy_until: Some(at("23T04:30:00")),
            ..standing(&schedule)
        };
        let found = look(&busy, at("23T03:00:00"));
        assert_eq!(found.due, None);
        assert_eq!(
            (found.settled(false), found.missed(false)),
            (Some(at("23T03:00:00")), 1)
        );
        assert_eq!(found.next, Some(at("24T03:00:00")));
    }

    #[test]
    fn a_slot_that_passes_after_the_run_should_have_ended_is_made_up_for() {
        let schedule = nightly();
        let mut standing = Standing {
            busy_until: Some(at("22T05:00:00")),
            ..standing(&schedule)
        };
        // Nobody looked for days: the run that was at work then has long ended.
        let found = look(&standing, at("26T10:00:00"));
        assert_eq!((found.due, found.passed), (None, None));
        standing.busy_until = None;
        let found = look(&standing, at("26T10:00:10"));
        assert_eq!(found.due, Some(slot("26T03:00:00")));
        assert_eq!(found.missed(true), 3);
    }

    #[test]
    fn a_new_trigger_is_answered_at_once_once_and_even_while_suspended() {
        let schedule = nightly();
        let asked = Standing {
            suspend: true,
            trigger: Some("audit"),
            ..standing(&schedule)
        };
        let due = Due {
            slot: None,
            trigger: Some("audit".to_owned()),
        };
        assert_eq!(look(&asked, at("23T10:00:00")).due, Some(due));
        let answered = Standing {
            answered_trigger: Some("audit"),
            ..asked
        };
        let found = look(&answered, at("23T10:00:00"));
        assert_eq!((found.due, found.next), (None, None));
        // One that comes while a run is at work waits for its end.
        let busy = Standing {
            busy_until: Some(at("23T11:00:00")),
            ..asked
        };
        assert_eq!(look(&busy, at("23T10:00:00")).due, None);
    }

    #[test]
    fn a_trigger_and_a_slot_together_are_one_run() {
        let schedule = nightly();
        let both = Standing {
            trigger: Some("audit"),
            ..standing(&schedule)
        };
        let due = Due {
            slot: Some(at("23T03:00:00")),
            trigger: Some("audit".to_owned()),
        };
        assert_eq!(look(&both, at("23T10:00:00")).due, Some(due));
    }

    #[test]
    fn a_schedule_that_rests_misses_nothing_and_makes_up_for_nothing() {
        let schedule = nightly();
        let resting = Standing {
            suspend: true,
            ..standing(&schedule)
        };
        assert_eq!(look(&resting, at("26T10:00:00")), Look::default());
        // The edit that wakes it: nothing had been announced.
        let awake = Standing {
            edited: Some(None),
            ..standing(&schedule)
        };
        let found = look(&awake, at("26T10:00:00"));
        assert_eq!((found.due.as_ref(), found.next), (None, Some(at("27T03:00:00"))));
        // That is kept, also where a run is at work that ends later.
        assert_eq!(
            (found.settled(false), found.missed(false)),
            (Some(at("26T03:00:00")), 0)
        );
        let busy = Standing {
            busy_until: Some(at("26T10:30:00")),
            ..awake
        };
        let found = look(&busy, at("26T10:00:00"));
        assert_eq!(
            (found.settled(false), found.missed(false)),
            (Some(at("26T03:00:00")), 0)
        );
    }

    #[test]
    fn a_new_schedule_owes_nothing_for_the_time_before_it() {
        let quarterly = Schedule::parse("*/15 * * * *", "UTC").unwrap();
        let edited = Standing {
            edited: Some(Some(at("23T03:00:00"))),
            ..standing(&quarterly)
        };
        let found = look(&edited, at("22T10:07:00"));
        assert_eq!((found.due, found.next), (None, Some(at("22T10:15:00"))));
        // Slots from before that were settled already are not settled anew.
        assert_eq!(look(&edited, at("22T03:07:00")).settled(false), None);
        // What had been announced before stays due.
        let found = look(&edited, at("23T03:07:00"));
        assert_eq!(found.due, Some(slot("23T03:00:00")));
        assert_eq!(found.missed(true), 0);
    }
}
