//! Numbers and times in words that a person reads without a calculator.

use dataembassy_contract::drill::{AssertionKind, Pick};
use jiff::Timestamp;

/// A moment to the second, in UTC.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A length of time in its two largest units; under a minute with tenths of a second.
pub(super) fn length(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    // A drill that says nonsense is told as such, and not as a number.
    if !seconds.is_finite() || !(0.0..1e12).contains(&seconds) {
        return "a time that cannot be".to_owned();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} seconds");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 59 and 10^12"
    )]
    let whole = seconds.round() as u64;
    let first = UNITS
        .iter()
        .position(|(unit, _)| whole >= *unit)
        .unwrap_or(UNITS.len() - 1);
    let mut rest = whole;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(first).take(2) {
        let number = rest / unit;
        rest %= unit;
        if number > 0 {
            parts.push(format!("{number} {name}{}", if number == 1 { "" } else { "s" }));
        }
    }
    parts.join(" ")
}

/// A number with its thousands apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes, in the largest unit that they fill as well.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = format!("{} bytes", number(bytes));
    match UNITS.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((name, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {name} ({exact})", tenths / 10, tenths % 10)
        }
        None => exact,
    }
}

/// How a copy was picked.
pub(super) const fn pick(pick: Pick) -> &'static str {
    match pick {
        Pick::Latest => "the newest living copy",
        Pick::Random => "any living copy, by chance",
        Pick::OldestUndrilled => {
            "the oldest living copy that was not drilled yet, or else the one whose drill is longest ago"
        }
    }
}

/// What an assertion asks.
pub(super) const fn question(kind: AssertionKind) -> &'static str {
    match kind {
        AssertionKind::Contents => "tables, rows and their digests, as the sealed inventory lists them",
        AssertionKind::LargeObjects => "large objects, as the sealed inventory lists them",
        AssertionKind::Schema => "the definitions, as their digest was written down",
        AssertionKind::Constraints => "constraints that were valid at home are valid",
        AssertionKind::RecoveryTime => "the recovery takes no longer than it may",
        AssertionKind::Sql => "a question in SQL of those who run the registry",
        AssertionKind::Other => "something that this version does not know",
    }
}

/// What an assertion of this kind was compared with.
pub(super) const fn compared(kind: AssertionKind) -> Option<&'static str> {
    Some(match kind {
        AssertionKind::Contents => {
            "Every table, the number of its rows and a digest of all of them: with the inventory that was sealed together with the copy at home."
        }
        AssertionKind::LargeObjects => {
            "The number of large objects and their bytes: with the same inventory."
        }
        AssertionKind::Schema => {
            "The text of all definitions in the copy: with the SHA-256 that the RegistryDrill names, which does not come from the copy."
        }
        AssertionKind::Constraints => {
            "The constraints of the restored database: with those of the copy, each of which was checked against all rows."
        }
        AssertionKind::RecoveryTime => {
            "The time from the first look at the copy to the end of ANALYZE: with the recovery time objective that the RegistryDrill names."
        }
        AssertionKind::Sql => {
            "The answer to each question: with the value, the bounds or the age that the RegistryDrill names, which do not come from the copy."
        }
        AssertionKind::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_two_units_at_most() {
        for (seconds, told) in [
            (0.0, "0.0 seconds"),
            (8.44, "8.4 seconds"),
            (59.97, "1 minute"),
            (61.2, "1 minute 1 second"),
            (723.0, "12 minutes 3 seconds"),
            (3_600.0, "1 hour"),
            (7_505.0, "2 hours 5 minutes"),
            (200_000.0, "2 days 7 hours"),
            (-1.0, "a time that cannot be"),
            (f64::NAN, "a time that cannot be"),
            (f64::INFINITY, "a time that cannot be"),
        ] {
            assert_eq!(length(seconds), told);
        }
    }

    #[test]
    fn numbers_and_sizes_are_told_exactly() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(size(1_023), "1,023 bytes");
        assert_eq!(size(1_536), "1.5 KiB (1,536 bytes)");
        assert_eq!(
            size(u64::MAX),
            "16777215.9 TiB (18,446,744,073,709,551,615 bytes)"
        );
    }
}
