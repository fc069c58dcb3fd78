//! Requests that a gate refused, as an alarm: as long as they are recent.

use std::fmt::Write as _;

use dataembassy_contract::Reason;
use dataembassy_contract::gate::RefusedRequests;
use dataembassy_ledger::door::Refusal;
use jiff::{SignedDuration, Timestamp};

use crate::condition::Finding;

/// How long after the last of them it stays an alarm.
pub const RECENT: SignedDuration = SignedDuration::from_mins(10);
/// Judges the requests that were refused; `whom` says whom they claim to come from.
#[must_use]
pub fn judge(refused: &[RefusedRequests], whom: &str, now: Timestamp) -> Option<Finding> {
    let doors: Vec<&RefusedRequests> = refused
        .iter()
        .filter(|row| !Refusal::IN_GOOD_FAITH.contains(&row.refusal.as_str()))
        .collect();
    let last = doors.iter().map(|row| row.last_at).max()?;
    if now.duration_since(last) > RECENT {
        return None;
    }
    let mut message = format!("the gate refused requests that {whom}:");
    for (number, row) in doors.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(message, "{comma} {} {}", row.refusal, row.count);
    }
    message.push_str("; find out who sent them: a sidecar of ours sends none of these");
    Some(Finding::yes(Reason::RequestsRefused, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(word: &str, count: u64, at: &str) -> RefusedRequests {
        RefusedRequests {
            refusal: word.to_owned(),
            count,
            last_at: at.parse().unwrap(),
        }
    }

    #[test]
    fn refused_requests_are_an_alarm_with_their_counts_as_long_as_they_are_recent() {
        let rows = [
            row("Method", 3, "2026-11-23T10:00:00Z"),
            row("OtherPlace", 1, "2026-11-23T10:05:00Z"),
        ];
        let at = |time: &str| judge(&rows, "claim this registry's user", time.parse().unwrap());
        let finding = at("2026-11-23T10:15:00Z").unwrap();
        assert_eq!(finding.reason, Reason::RequestsRefused);
        assert!(
            finding.message.contains("Method 3, OtherPlace 1"),
            "{}",
            finding.message
        );
        assert_eq!(at("2026-11-23T10:15:01Z"), None);
    }

    #[test]
    fn what_a_sidecar_of_ours_may_meet_is_no_alarm() {
        let rows = [
            row("Quota", 9, "2026-11-23T10:00:00Z"),
            row("Fenced", 1, "2026-11-23T10:00:00Z"),
        ];
        assert_eq!(judge(&rows, "", "2026-11-23T10:00:00Z".parse().unwrap()), None);
    }
}
