//! How soon a drill is looked at again. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::backoff::jittered;
use crate::drill::agenda::Look;
use crate::drill::course::Step;

/// How often a drill that is at work is asked how far it is: somebody is watching.
const POLL: Duration = Duration::from_secs(3);
/// How soon the step after one that was taken follows.
pub const SOON: Duration = Duration::from_secs(1);
/// How often one that waits for something else is looked at.
const LOOK: Duration = Duration::from_secs(15);
/// The longest that nobody looks: timers have an end, and clocks are set.
const LONGEST: Duration = Duration::from_hours(24);

/// After how long there is something to do next. `is_taken` says whether the step was; `chance` is drawn from 0.0 to 1.0.
#[must_use]
pub fn next_look(step: &Step, look: Option<&Look>, is_taken: bool, now: Timestamp, chance: f64) -> Duration {
    match step {
        _ if !is_taken => jittered(LOOK, chance),
        Step::Follow | Step::Await => jittered(POLL, chance),
        Step::Begin(..) | Step::Start(_) | Step::Keep(_) | Step::Again | Step::End(_) => SOON,
        // It is due and cannot begin.
        Step::Rest if look.is_none_or(|look| look.due.is_some()) => jittered(LOOK, chance),
        Step::Rest => {
            let next = look.and_then(|look| look.next);
            let wait = next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or(SOON));
            // A timer may fire a little early; then nothing is due yet, and the rest is waited for.
            wait.map_or(LONGEST, |wait| wait.min(LONGEST))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::drill::agenda::Due;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(step: &Step, look: Option<&Look>, is_taken: bool) -> Duration {
        next_look(step, look, is_taken, NOW, 0.0)
    }

    #[test]
    fn a_drill_is_looked_at_as_often_as_somebody_waits_for_it() {
        let idle = Look::default();
        for (step, expected) in [
            (Step::Follow, jittered(POLL, 0.0)),
            (Step::Await, jittered(POLL, 0.0)),
            (Step::Start(60), SOON),
            (Step::Again, SOON),
            (Step::Rest, LONGEST),
        ] {
            assert_eq!(after(&step, Some(&idle), true), expected, "{step:?}");
            // Whatever it was, it is tried again, and not at once.
            let failed = after(&step, Some(&idle), false);
            assert_eq!(failed, jittered(LOOK, 0.0), "{step:?}");
        }
    }

    #[test]
    fn one_that_rests_is_looked_at_when_its_slot_comes_and_one_that_cannot_begin_before() {
        let until = |next: Option<SignedDuration>| Look {
            next: next.map(|next| NOW.checked_add(next).unwrap()),
            ..Look::default()
        };
        for (seconds, expected) in [
            (7, Duration::from_secs(7)),
            (0, Duration::ZERO),
            // The clock was set while we looked.
            (-5, SOON),
            (86_400, LONGEST),
            (86_401, LONGEST),
        ] {
            let look = until(Some(SignedDuration::from_secs(seconds)));
            assert_eq!(after(&Step::Rest, Some(&look), true), expected, "{seconds} s");
        }
        let due = Look {
            due: Some(Due::default()),
            ..until(Some(SignedDuration::from_secs(7)))
        };
        // Nor can one begin whose schedule cannot be read.
        for look in [Some(&due), None] {
            assert_eq!(after(&Step::Rest, look, true), jittered(LOOK, 0.0));
        }
        assert_eq!(after(&Step::Rest, Some(&until(None)), true), LONGEST);
    }
}
