//! Heads of chains, as statuses remember them: they only ever go up.

use dataembassy_contract::config::Floor;
use dataembassy_contract::report::Head;
use dataembassy_crds::LedgerHead;

/// The numbers of a ledger end here: JSON's integers are exact below 2⁵³.
pub const LAST_SEQUENCE: u64 = (1 << 53) - 1;

/// The higher of the head that is known and the one that is reported. It never goes down, and where both have one number the known one
/// stays: a ledger that ends below or beside it is what a floor is there to find.
#[must_use]
pub fn highest(before: Option<&LedgerHead>, reported: Option<&Head>) -> Option<LedgerHead> {
    let reported = reported.and_then(read);
    match (before, reported) {
        (Some(before), Some(reported)) if reported.sequence <= before.sequence => Some(before.clone()),
        (before, reported) => reported.or_else(|| before.cloned()),
    }
}

/// Whether a ledger that ends at `reported` is below the head that is known, or beside it.
#[must_use]
pub fn is_below_or_beside(before: Option<&LedgerHead>, reported: Option<&Head>) -> bool {
    match (before, reported.and_then(read)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(reported)) => {
            reported.sequence < before.sequence
                || (reported.sequence == before.sequence && reported.digest != before.digest)
        }
    }
}

/// The head that is known, as a configuration carries it: the higher of what status and configuration have, so that losing one of them
/// does not lower it. Where both are of one number the status is newer.
#[must_use]
pub fn floor(of_status: Option<&LedgerHead>, of_config: Option<Floor>) -> Option<Floor> {
    let of_status = of_status.and_then(|head| {
        Some(Floor {
            sequence: u64::try_from(head.sequence).ok()?,
            digest: head.digest.clone(),
        })
    });
    of_config
        .into_iter()
        .chain(of_status)
        .max_by_key(|floor| floor.sequence)
}

fn read(head: &Head) -> Option<LedgerHead> {
    if !is_digest(&head.digest) || !(1..=LAST_SEQUENCE).contains(&head.sequence) {
        return None;
    }
    Some(LedgerHead {
        sequence: i64::try_from(head.sequence).ok()?,
        digest: head.digest.clone(),
    })
}

/// Whether a text is a SHA-256 as the ledger writes it.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// Whether a text has lower-case hex digits only.
#[must_use]
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sequence: i64, digit: &str) -> LedgerHead {
        LedgerHead {
            sequence,
            digest: digit.repeat(64),
        }
    }

    fn reported(sequence: u64, digit: &str) -> Head {
        Head {
            sequence,
            digest: digit.repeat(64),
        }
    }

    #[test]
    fn a_head_only_goes_up() {
        let before = known(7, "a");
        for lower in [
            reported(6, "b"),
            reported(7, "b"),
            reported(0, "b"),
            reported(9, "x"),
            reported(u64::MAX, "b"),
        ] {
            assert_eq!(highest(Some(&before), Some(&lower)), Some(before.clone()));
        }
        assert_eq!(highest(Some(&before), None), Some(before.clone()));
        assert_eq!(
            highest(Some(&before), Some(&reported(8, "b"))),
            Some(known(8, "b"))
        );
        assert_eq!(highest(None, None), None);
        for (number, is_one) in [(0, false), (1, true), ((1 << 53) - 1, true), (1 << 53, false)] {
            let told = highest(None, Some(&reported(number, "b")));
            assert_eq!(told.is_some(), is_one, "{number}");
        }
        let short = Head {
            sequence: 8,
            digest: "b".repeat(63),
        };
        assert_eq!(highest(Some(&before), Some(&short)), Some(before));
    }

    #[test]
    fn a_ledger_below_or_beside_what_is_known_is_seen() {
        let before = known(7, "a");
        assert!(!is_below_or_beside(Some(&before), Some(&reported(7, "a"))));
        assert!(!is_below_or_beside(Some(&before), Some(&reported(8, "b"))));
        assert!(!is_below_or_beside(None, None));
        assert!(is_below_or_beside(Some(&before), Some(&reported(6, "a"))));
        assert!(is_below_or_beside(Some(&before), Some(&reported(7, "b"))));
        assert!(is_below_or_beside(Some(&before), None));
    }

    #[test]
    fn losing_status_or_configuration_does_not_lower_the_floor() {
        let of_config = Floor {
            sequence: 9,
            digest: "b".repeat(64),
        };
        assert_eq!(floor(None, Some(of_config.clone())), Some(of_config.clone()));
        assert_eq!(
            floor(Some(&known(7, "a")), Some(of_config.clone())),
            Some(of_config.clone())
        );
        let newer = floor(Some(&known(9, "a")), Some(of_config)).unwrap();
        assert_eq!(newer.digest, "a".repeat(64));
    }
}
