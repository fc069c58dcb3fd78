//! What a drill's spec and status say of what is due. Pure.

use dataembassy_crds::RegistryDrill;
use jiff::{SignedDuration, Timestamp};

use crate::drill::agenda::{self, Look, Standing};
use crate::drill::build::MARGIN_SECONDS;
use crate::drill::record;
use crate::drill::validate::Timing;

/// What the agenda says of a drill at `now`.
#[must_use]
pub fn look(drill: &RegistryDrill, timing: &Timing, now: Timestamp) -> Look {
    let status = drill.status.clone().unwrap_or_default();
    let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let made_at = drill.metadata.creation_timestamp.as_ref();
    let generation = drill.metadata.generation;
    let edited = status.observed_generation.is_some() && status.observed_generation != generation;
    let longest = timing.deadline.as_secs().saturating_add(MARGIN_SECONDS);
    let longest = SignedDuration::from_secs(i64::try_from(longest).unwrap_or(i64::MAX));
    let busy_until = status.current.as_ref().map(|current| {
        let end = record::began_at(current).and_then(|began| began.checked_add(longest).ok());
        end.unwrap_or(now)
    });
    let standing = Standing {
        schedule: &timing.schedule,
        suspend: drill.spec.suspend,
        trigger: drill.spec.trigger.as_deref(),
        answered_trigger: status.last_trigger.as_deref(),
        made_at: made_at.map_or(now, |made| made.0),
        settled: time(&status.last_schedule_time),
        edited: edited.then(|| time(&status.next_schedule_time)),
        busy_until,
    };
    agenda::look(&standing, now)
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{CurrentDrill, RegistryDrillStatus};
    use serde_json::json;

    use super::*;
    use crate::drill::validate::timing;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    /// Nightly at three, made on the twentieth, and settled up to the twenty-second.
    fn drill() -> RegistryDrill {
        let mut drill: RegistryDrill = serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryDrill",
            "metadata": {"name": "nightly", "namespace": "drills", "generation": 2, "creationTimestamp": "2026-11-20T12:00:00Z"},
            "spec": {
                "embassyRef": {"name": "luxembourg"},
                "registry": {"id": "population"},
                "schedule": {"cron": "0 3 * * *", "timeZone": "UTC", "deadline": "2h"},
                "retrievalCredentialsRef": {"name": "r"},
                "identityRef": {"name": "i"},
                "server": {"image": "postgres:17"},
            }
        }))
        .unwrap();
        drill.status = Some(RegistryDrillStatus {
            observed_generation: Some(2),
            last_schedule_time: Some(at("22T03:00:00").to_string()),
            next_schedule_time: Some(at("23T03:00:00").to_string()),
            ..RegistryDrillStatus::default()
        });
        drill
    }

    fn looked(change: impl FnOnce(&mut RegistryDrill, &mut RegistryDrillStatus), now: &str) -> Look {
        let mut drill = drill();
        let mut status = drill.status.take().unwrap_or_default();
        change(&mut drill, &mut status);
        drill.status = Some(status);
        look(&drill, &timing(&drill.spec).unwrap(), at(now))
    }

    /// The slot that is due.
    fn due(look: &Look) -> Option<Timestamp> {
        look.due.as_ref().and_then(|due| due.slot)
    }

    #[test]
    fn a_slot_is_due_once_it_has_come_and_was_not_settled() {
        assert_eq!(due(&looked(|_, _| {}, "23T02:59:59")), None);
        let come = looked(|_, _| {}, "23T03:00:01");
        assert_eq!(due(&come), Some(at("23T03:00:00")));
        assert_eq!(come.next, Some(at("24T03:00:00")));
        // Where the status says nothing, slots count from the resource on; where that says nothing either, from now on.
        let unsettled = looked(|_, status| status.last_schedule_time = None, "23T03:00:01");
        assert_eq!(unsettled.passed.map(|passed| passed.count), Some(3));
        let unmade = looked(
            |drill, status| {
                drill.metadata.creation_timestamp = None;
                status.last_schedule_time = None;
            },
            "23T03:00:01",
        );
        assert_eq!(due(&unmade), None);
        let resting = looked(|drill, _| drill.spec.suspend = true, "23T03:00:01");
        assert_eq!((due(&resting), resting.next), (None, None));
    }

    #[test]
    fn after_an_edit_only_the_slot_that_was_announced_counts() {
        let edited = |announced: Option<&str>| {
            let announced = announced.map(|slot| at(slot).to_string());
            let look = looked(
                |_, status| {
                    status.observed_generation = Some(1);
                    status.next_schedule_time = announced;
                },
                "24T03:00:01",
            );
            look.passed.map(|passed| passed.count)
        };
        assert_eq!(edited(Some("23T03:00:00")), Some(2));
        assert_eq!(edited(Some("24T03:00:00")), Some(1));
        assert_eq!(edited(None), None);
        // One that nobody has looked at yet was not edited since.
        let new = looked(
            |_, status| {
                status.observed_generation = None;
                status.next_schedule_time = None;
            },
            "24T03:00:01",
        );
        assert_eq!(new.passed.map(|passed| passed.count), Some(2));
    }

    #[test]
    fn a_trigger_is_due_until_it_was_answered() {
        let trigger = |answered: Option<&str>| {
            let answered = answered.map(str::to_owned);
            let look = looked(
                |drill, status| {
                    drill.spec.trigger = Some("audit".to_owned());
                    status.last_trigger = answered;
                },
                "22T12:00:00",
            );
            look.due.and_then(|due| due.trigger)
        };
        assert_eq!(trigger(None).as_deref(), Some("audit"));
        assert_eq!(trigger(Some("another")).as_deref(), Some("audit"));
        assert_eq!(trigger(Some("audit")), None);
    }

    #[test]
    fn slots_that_pass_while_a_run_may_take_its_time_are_missed_and_later_ones_are_not() {
        let busy = |began: &str, now: &str| {
            let current: CurrentDrill =
                serde_json::from_value(json!({"order": "o", "startedAt": began, "attempt": 1, "words": ""}))
                    .unwrap();
            let look = looked(|_, status| status.current = Some(current), now);
            assert_eq!(look.due, None, "one is at work");
            look.passed.map(|passed| passed.count)
        };
        // It may take two hours, and five minutes in which its pod ends.
        assert_eq!(busy("2026-11-23T00:55:00Z", "23T12:00:00"), Some(1));
        assert_eq!(busy("2026-11-23T00:54:59Z", "23T12:00:00"), None);
        // Nobody knows when this one began: it takes all the time there was.
        assert_eq!(busy("once", "23T12:00:00"), Some(1));
    }
}
