//! What takes longer than it may, of an activation as a whole: what of it may go on, and since when. Pure.

use dataembassy_crds::{EmbassyActivation, EmbassyActivationStatus};
use jiff::Timestamp;

use crate::activation::course::{self, Overdue};
use crate::activation::stage::Stage;
use crate::activation::validate::Deadlines;

/// What takes longer than it may, of an order that is carried out; also of one that was approved and can no longer be judged, so that nothing of
/// it goes on; and what a rehearsal that was changed has left.
#[must_use]
pub fn overdue(
    activation: &EmbassyActivation,
    stage: Option<&Stage>,
    status: &EmbassyActivationStatus,
    now: Timestamp,
) -> Vec<Overdue> {
    let approved_at = match stage {
        Some(Stage::Ordered(approved_at)) => Some(*approved_at),
        Some(_) => None,
        None => status.approved_at.as_ref().and_then(|at| at.parse().ok()),
    };
    let Ok(deadlines) = Deadlines::of(activation) else {
        return Vec::new();
    };
    let course = course::Course {
        activation,
        deadlines,
        approved_at: approved_at.unwrap_or(now),
        now,
    };
    if approved_at.is_some() {
        return course::overdue(&course, &status.registries);
    }
    let stated = status.statement.as_ref();
    let stated_at = stated.and_then(|stated| stated.made_at.parse().ok());
    course::left(&course, &status.registries, stated_at)
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{ActivatedState, Statement};
    use serde_json::json;

    use super::*;
    use crate::activation::{sample, steps};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-28T{text}Z").parse().unwrap()
    }

    fn activation(mode: &str, fence: &str) -> EmbassyActivation {
        let mut activation = sample::activation(mode);
        activation.spec.deadlines = serde_json::from_value(json!({"fence": fence})).unwrap();
        activation
    }

    fn status(approved_at: Option<&str>, state: ActivatedState) -> EmbassyActivationStatus {
        EmbassyActivationStatus {
            approved_at: approved_at.map(|text| at(text).to_string()),
            registries: vec![ActivatedState {
                id: "population".to_owned(),
                ..state
            }],
            statement: Some(Statement {
                made_at: at("10:30:00").to_string(),
                ..Statement::default()
            }),
            ..EmbassyActivationStatus::default()
        }
    }

    fn late(
        activation: &EmbassyActivation,
        stage: Option<&Stage>,
        status: &EmbassyActivationStatus,
        now: &str,
    ) -> Vec<&'static str> {
        let late = overdue(activation, stage, status, at(now));
        late.iter().map(|one| one.step).collect()
    }

    #[test]
    fn a_fence_is_late_from_the_approval_on_and_also_where_the_order_can_no_longer_be_judged() {
        let meant = activation("Activate", "5m");
        let approved = status(Some("10:00:00"), ActivatedState::default());
        let ordered = Stage::Ordered(at("10:20:00"));
        // The order's own approval counts where there is an order, and the one in the status where nothing can be judged.
        for (stage, now, expected) in [
            (Some(&ordered), "10:24:59", &[][..]),
            (Some(&ordered), "10:25:01", &[steps::FENCE][..]),
            (None, "10:04:59", &[][..]),
            (None, "10:05:01", &[steps::FENCE][..]),
            // It waits for other approvals: nothing goes on that could be late.
            (Some(&Stage::Awaiting), "23:00:00", &[][..]),
            (Some(&Stage::Expired), "23:00:00", &[][..]),
        ] {
            assert_eq!(
                late(&meant, stage, &approved, now),
                expected,
                "{stage:?} at {now}"
            );
        }
        let never = status(None, ActivatedState::default());
        assert_eq!(late(&meant, None, &never, "23:00:00"), Vec::<&str>::new());
        // Deadlines that cannot be read say nothing, and the spec is refused for them.
        assert_eq!(
            late(&activation("Activate", "soon"), None, &approved, "23:00:00"),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn what_a_changed_rehearsal_has_left_is_late_from_its_new_statement_on() {
        let mut state = ActivatedState {
            rehearsed_in: Some("db.example:5432/population".to_owned()),
            ..ActivatedState::default()
        };
        steps::begin(&mut state, steps::RESTORE, at("09:00:00"));
        let left = status(None, state);
        let rehearsed = activation("Rehearse", "5m");
        // Fifteen minutes are what a clean-up may take.
        for (now, expected) in [("10:44:59", &[][..]), ("10:45:01", &[steps::CLEAN][..])] {
            for stage in [Some(&Stage::Awaiting), None] {
                assert_eq!(late(&rehearsed, stage, &left, now), expected, "{now}");
            }
        }
        let said = overdue(&rehearsed, None, &left, at("10:45:01"));
        assert_eq!(said[0].registry, "population");
        assert!(
            said[0].message.contains("db.example:5432/population"),
            "{}",
            said[0].message
        );
    }
}
