//! What is due: slots of the schedule, one catch-up after downtime, triggers, and another try after a failure. No clock is read here.
//!
//! Slots are moments of the calendar; pauses are counted on the clock that nobody sets, or a clock that was wrong for a moment would hold runs up
//! for as long as it was wrong.

use std::time::{Duration, Instant};

use dataembassy_contract::Schedule;
use dataembassy_ledger::Trigger;
use jiff::Timestamp;

use crate::process::clock::Now;

/// The first pause after a failed run; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause after a failed run.
const LAST_PAUSE: Duration = Duration::from_mins(15);

/// What one run answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The slot of the schedule.
    pub slot: Option<Timestamp>,
    /// The trigger.
    pub trigger: Option<Trigger>,
}

/// What the ledger and the configuration say, as far as it matters for what is due.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// Whether the schedule rests.
    pub suspend: bool,
    /// The trigger of the configuration.
    pub trigger: Option<&'a Trigger>,
}

/// Remembers what was answered, and when to look again.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    /// The latest slot that was answered, or the moment from which slots count.
    answered: Option<Timestamp>,
    /// The latest slot that a run began for, or the moment from which slots are expected: what passed before it is counted.
    begun: Option<Timestamp>,
    /// The schedule by which slots are expected; none while it rests.
    expected_by: Option<Schedule>,
    answered_trigger: Option<Trigger>,
    /// Slots that passed without a run of their own.
    missed: u32,
    failures: u32,
    not_before: Option<Instant>,
}

impl Agenda {
    /// Takes over what the ledger's head answers: later slots are due. Without a head the first copy is due at once.
    pub fn follow(&mut self, head_slot: Option<Timestamp>) {
        if let Some(slot) = head_slot {
            self.answered = self.answered.max(Some(slot));
        }
    }

    /// Takes in what is wanted now. Nobody has missed a slot of the time when the schedule rested, or was another one.
    pub fn expect(&mut self, standing: &Standing<'_>, now: Timestamp) {
        let before = self.expected_by.take();
        let is_another = before.is_some_and(|before| before != *standing.schedule);
        if standing.suspend || is_another {
            self.begun = self.begun.max(Some(now));
        }
        if !standing.suspend {
            self.expected_by = Some(standing.schedule.clone());
        }
    }

    /// Notes that the trigger was answered, whatever came of it.
    pub fn answer_trigger(&mut self, trigger: Trigger) {
        self.answered_trigger = Some(trigger);
    }

    /// The latest trigger that was answered.
    #[must_use]
    pub fn answered_trigger(&self) -> Option<&Trigger> {
        self.answered_trigger.as_ref()
    }

    /// Slots that passed without a run, since this process started.
    #[must_use]
    pub fn missed(&self) -> u32 {
        self.missed
    }

    /// Runs that failed since the last one that did not.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What is due now. Slots that passed in the meantime are answered by one run, which names the latest of them.
    #[must_use]
    pub fn due(&self, standing: &Standing<'_>, now: Now) -> Option<Due> {
        if self.not_before.is_some_and(|moment| now.moment < moment) {
            return None;
        }
        let trigger = standing
            .trigger
            .filter(|trigger| Some(*trigger) != self.answered_trigger.as_ref())
            .cloned();
        let slot = if standing.suspend {
            None
        } else {
            self.due_slot(standing.schedule, now.time)
        };
        let first = self.answered.is_none() && !standing.suspend;
        (slot.is_some() || trigger.is_some() || first).then_some(Due { slot, trigger })
    }

    fn due_slot(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let latest = schedule.latest_until(now)?;
        self.answered
            .is_none_or(|answered| answered < latest)
            .then_some(latest)
    }

    /// How long it takes until something can become due by itself.
    #[must_use]
    pub fn wait(&self, standing: &Standing<'_>, now: Now) -> Option<Duration> {
        let slot = if standing.suspend {
            None
        } else {
            standing.schedule.next_after(now.time)
        };
        let slot = slot.map(|slot| Duration::try_from(slot.duration_since(now.time)).unwrap_or_default());
        let pause = self.not_before.filter(|moment| *moment > now.moment);
        let pause = pause.map(|moment| moment.duration_since(now.moment));
        slot.into_iter().chain(pause).min()
    }

    /// A run begins: slots between the last one that had a run and its own were missed. Another try for the same slot misses nothing more.
    pub fn begin(&mut self, schedule: &Schedule, due: &Due) {
        let Some(slot) = due.slot else { return };
        if let Some(before) = self.answered.max(self.begun) {
            let passed = schedule.missed(before, slot).map_or(0, |missed| missed.count);
            self.missed = self.missed.saturating_add(passed.saturating_sub(1));
        }
        self.begun = Some(slot);
    }

    /// A run that began at `started_at` has committed its copy, or the ledger shows that another has.
    pub fn succeed(&mut self, due: &Due, started_at: Timestamp) {
        self.answered = self.answered.max(due.slot.or(Some(started_at)));
        if let Some(trigger) = &due.trigger {
            self.answered_trigger = Some(trigger.clone());
        }
        self.failures = 0;
        self.not_before = None;
    }

    /// A run has failed: what it answered stays due, after a pause that grows.
    pub fn fail(&mut self, now: Instant) {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(5))
            .min(LAST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.checked_add(pause);
    }

    /// Somebody changed something: no need to wait for the next try.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Waits at least until `moment`, so that many mirrors do not catch up at once.
    pub fn hold_until(&mut self, moment: Instant) {
        self.not_before = self.not_before.max(Some(moment));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    /// Two clocks that agree, and were read that long after noon.
    struct Clocks {
        noon: Instant,
    }

    impl Clocks {
        fn start() -> Self {
            Self { noon: Instant::now() }
        }

        fn after(&self, seconds: u64) -> Now {
            let passed = Duration::from_secs(seconds);
            Now {
                time: at("12:00:00") + passed,
                moment: self.noon + passed,
            }
        }
    }

    fn now(text: &str) -> Now {
        Now {
            time: at(text),
            moment: Instant::now(),
        }
    }

    fn quarterly() -> Schedule {
        Schedule::parse("*/15 * * * *", "UTC").unwrap()
    }

    fn standing(schedule: &Schedule) -> Standing<'_> {
        Standing {
            schedule,
            suspend: false,
            trigger: None,
        }
    }

    #[test]
    fn the_first_copy_is_due_at_once() {
        let schedule = quarterly();
        assert!(
            Agenda::default()
                .due(&standing(&schedule), now("10:07:00"))
                .is_some()
        );
    }

    #[test]
    fn after_downtime_one_run_answers_the_latest_slot_and_the_others_are_counted() {
        let schedule = quarterly();
        let mut agenda = Agenda::default();
        agenda.follow(Some(at("08:00:00")));
        let due = agenda.due(&standing(&schedule), now("10:07:00")).unwrap();
        assert_eq!(due.slot, Some(at("10:00:00")));
        agenda.begin(&schedule, &due);
        agenda.succeed(&due, at("10:08:00"));
        assert_eq!(agenda.missed(), 7);
        assert_eq!(agenda.due(&standing(&schedule), now("10:14:59")), None);
        assert_eq!(
            agenda.wait(&standing(&schedule), now("10:08:00")),
            Some(Duration::from_mins(7))
        );
    }

    #[test]
    fn a_slot_is_missed_once_however_often_the_run_after_it_is_tried() {
        let schedule = quarterly();
        let mut agenda = Agenda::default();
        agenda.follow(Some(at("08:00:00")));
        for time in ["09:07:00", "09:08:00", "09:20:00", "09:36:00"] {
            let due = agenda.due(&standing(&schedule), now(time)).unwrap();
            agenda.begin(&schedule, &due);
            agenda.fail(Instant::now());
            agenda.hurry();
        }
        // 08:15, 08:30 and 08:45 passed without a run; 09:00, 09:15 and 09:30 had one that failed.
        assert_eq!(agenda.missed(), 3);
        assert_eq!(agenda.failures(), 4);
    }

    #[test]
    fn nobody_misses_slots_of_a_schedule_that_rests_or_of_the_time_before_it() {
        let hourly = Schedule::parse("0 * * * *", "UTC").unwrap();
        let quarterly = quarterly();
        let resting = Standing {
            suspend: true,
            ..standing(&hourly)
        };
        let mut agenda = Agenda::default();
        agenda.follow(Some(at("01:00:00")));
        agenda.expect(&standing(&hourly), at("01:01:00"));
        agenda.expect(&resting, at("01:30:00"));
        agenda.expect(&resting, at("08:59:00"));
        agenda.expect(&standing(&hourly), at("09:07:00"));
        let due = agenda.due(&standing(&hourly), now("09:07:00")).unwrap();
        agenda.begin(&hourly, &due);
        assert_eq!(agenda.missed(), 0);
        agenda.succeed(&due, at("09:08:00"));
        // At quarters nothing was expected before it was said.
        agenda.expect(&standing(&quarterly), at("10:59:00"));
        let due = agenda.due(&standing(&quarterly), now("11:16:00")).unwrap();
        agenda.begin(&quarterly, &due);
        assert_eq!(agenda.missed(), 1, "11:00");
    }

    #[test]
    fn a_failed_run_is_tried_again_after_a_pause_that_grows() {
        let schedule = quarterly();
        let (mut agenda, clocks) = (Agenda::default(), Clocks::start());
        agenda.fail(clocks.noon);
        assert_eq!(agenda.due(&standing(&schedule), clocks.after(29)), None);
        assert!(agenda.due(&standing(&schedule), clocks.after(30)).is_some());
        for _ in 0..40 {
            agenda.fail(clocks.noon);
        }
        let wait = agenda.wait(&standing(&schedule), clocks.after(14 * 60));
        assert_eq!(wait, Some(Duration::from_mins(1)));
        agenda.hurry();
        assert!(agenda.due(&standing(&schedule), clocks.after(1)).is_some());
    }

    /// Found with a real clock that was set: `faults::clock`.
    #[test]
    fn a_clock_that_was_wrong_for_a_while_holds_nothing_up() {
        const YEARS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
        let schedule = quarterly();
        for set_by in [YEARS, -YEARS] {
            let (mut agenda, clocks) = (Agenda::default(), Clocks::start());
            let set = |seconds| Now {
                time: clocks.after(seconds).time + set_by,
                ..clocks.after(seconds)
            };
            agenda.fail(clocks.noon);
            assert_eq!(agenda.due(&standing(&schedule), set(29)), None);
            assert!(agenda.due(&standing(&schedule), set(30)).is_some());
            let due = agenda.due(&standing(&schedule), clocks.after(30)).unwrap();
            // The run began while the clock was right.
            agenda.succeed(&due, clocks.after(30).time);
            assert!(agenda.due(&standing(&schedule), clocks.after(15 * 60)).is_some());
        }
    }

    #[test]
    fn a_trigger_is_answered_once_and_even_while_suspended() {
        let schedule = quarterly();
        let trigger: Trigger = "before the upgrade".parse().unwrap();
        let suspended = Standing {
            schedule: &schedule,
            suspend: true,
            trigger: Some(&trigger),
        };
        let mut agenda = Agenda::default();
        let due = agenda.due(&suspended, now("10:07:00")).unwrap();
        assert_eq!(
            due,
            Due {
                slot: None,
                trigger: Some(trigger.clone())
            }
        );
        agenda.succeed(&due, at("10:08:00"));
        assert_eq!(agenda.due(&suspended, now("11:00:00")), None);
        assert_eq!(agenda.wait(&suspended, now("11:00:00")), None);
    }
}
