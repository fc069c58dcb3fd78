//! Numbers and times in words that a person reads without a calculator.

use jiff::Timestamp;

/// A moment to the second, in UTC.
pub(in crate::custodian::registry) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A length of time in its two largest units; under a minute with tenths of a second.
pub(in crate::custodian::registry) fn length(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    // A result that says nonsense is told as such, and not as a number.
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
pub(in crate::custodian::registry) fn number(value: u64) -> String {
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
pub(in crate::custodian::registry) fn size(bytes: u64) -> String {
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
