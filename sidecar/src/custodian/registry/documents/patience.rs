//! What may turn out to be so after all. A result is refused for good only for what no later look can change: the clock that it was made by may
//! be ahead of ours, and the entry of a copy just made may not have been read yet.

use dataembassy_contract::Reason;
use jiff::{SignedDuration, Timestamp};

use crate::custodian::registry::holdings::HoldingsState;
use crate::custodian::registry::orders::{Attempt, Refusal};

/// By how much the clock that a result was made by may be ahead of ours.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// What lies no further ahead is waited for: a node's clock is wrong, or ours.
const COMES: SignedDuration = SignedDuration::from_hours(24);

/// For how long after its end the entry of a result's copy may still be unseen here: a drill of a copy just made ends within seconds, and the
/// chain is read anew in less than that.
const UNSEEN: SignedDuration = SignedDuration::from_mins(3);

/// What becomes of a result whose latest time is that, if it is later than it can be; `why` says so.
pub(in crate::custodian::registry) fn is_ahead(
    latest: Timestamp,
    now: Timestamp,
    why: &str,
) -> Option<Attempt> {
    let ahead = latest.duration_since(now);
    if ahead <= CLOCKS {
        return None;
    }
    let message = format!("{why}, which cannot be at {now:.0}: compare the clocks of the nodes");
    Some(if ahead <= COMES {
        Attempt::Waits {
            reason: Reason::ClockSkewed,
            message: format!("{message}; it is signed for once that time has come"),
            so_do_all: false,
        }
    } else {
        Refusal::new(message).into()
    })
}

/// What becomes of a result, ended then, of whose copy the ledger knows nothing, as the message says.
pub(in crate::custodian::registry) fn of_an_unknown_copy(
    copy: u64,
    ended_at: Timestamp,
    holdings: &HoldingsState,
    now: Timestamp,
    message: String,
) -> Attempt {
    let newest = holdings.copies.keys().next_back();
    let is_new = copy > newest.map_or(0, |newest| newest.get());
    let reason = Reason::UnknownCopy;
    if is_new && now.duration_since(ended_at) < UNSEEN {
        Attempt::Waits {
            reason,
            message: format!("{message} yet"),
            so_do_all: false,
        }
    } else {
        Refusal { reason, message }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_waited_for_and_one_that_is_years_ahead_is_not() {
        let now = Timestamp::UNIX_EPOCH;
        let ahead = |hours| is_ahead(now + SignedDuration::from_hours(hours), now, "it ended");
        assert_eq!(ahead(0), None);
        assert!(matches!(ahead(1), Some(Attempt::Waits { .. })));
        assert!(matches!(ahead(24), Some(Attempt::Waits { .. })));
        assert!(matches!(ahead(25), Some(Attempt::Refused(_))));
    }
}
