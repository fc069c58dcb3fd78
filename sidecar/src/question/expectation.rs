//! What an answer must be.

use std::cmp::Ordering;

use dataembassy_contract::assertion::Expectation;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// What must be found, in words.
pub(super) fn words(expectation: &Expectation, taken_at: Timestamp) -> String {
    match expectation {
        Expectation::Equals(text) => format!("'{text}'"),
        Expectation::Within { at_least, at_most } => match (at_least, at_most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => "a number".to_owned(),
        },
        Expectation::NotOlderThan(seconds) => format!("at most {seconds} s before {taken_at}"),
    }
}

/// Whether a value is what it must be, and the value in words.
pub(super) fn judge(expectation: &Expectation, value: &str, taken_at: Timestamp) -> (bool, String) {
    match expectation {
        Expectation::Equals(text) => (value == text, value.to_owned()),
        Expectation::Within { at_least, at_most } => {
            let Some(number) = Decimal::parse(value) else {
                return (false, format!("'{value}', which is no number"));
            };
            let bound = |bound: &Option<String>, beyond: Ordering| match bound {
                None => true,
                // A bound that is no number bounds nothing, so nothing is within it.
                Some(bound) => Decimal::parse(bound).is_some_and(|bound| number.compare(&bound) != beyond),
            };
            let within = bound(at_least, Ordering::Less) && bound(at_most, Ordering::Greater);
            (within, value.to_owned())
        }
        Expectation::NotOlderThan(seconds) => match moment(value) {
            None => (false, format!("'{value}', which is no time")),
            Some(moment) => {
                let age = taken_at.duration_since(moment).as_secs();
                let limit = i64::try_from(*seconds).unwrap_or(i64::MAX);
                (age <= limit, format!("{value}, {age} s before"))
            }
        },
    }
}

/// A `timestamptz`, a `timestamp` in UTC, or a date at its beginning, as a session with ISO dates in UTC writes it.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let civil = text.parse::<DateTime>().ok();
    let civil = civil.or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)));
    Some(civil?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The most digits of a number that is compared, whatever its exponent.
const MOST_DIGITS: i64 = 2_000;

/// A decimal number, compared exactly: a count beyond 2^53 is not what a float makes of it.
#[derive(Debug)]
struct Decimal {
    negative: bool,
    /// Before the point, without leading zeros.
    whole: Vec<u8>,
    /// After the point, without trailing zeros.
    fraction: Vec<u8>,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let has_digits = !whole.is_empty() || !fraction.is_empty();
        if !has_digits || !are_digits(whole) || !are_digits(fraction) {
            return None;
        }
        // The digits, and how many of them stand before the point.
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
        let length = i64::try_from(digits.len()).ok()?;
        if point.abs() > MOST_DIGITS || length > MOST_DIGITS {
            return None;
        }
        let before = usize::try_from(point.max(0)).ok()?;
        if point < 0 {
            let zeros = vec![b'0'; usize::try_from(-point).ok()?];
            digits.splice(0..0, zeros);
        }
        if digits.len() < before {
            digits.resize(before, b'0');
        }
        let fraction = digits.split_off(before);
        let lead = digits.iter().take_while(|digit| **digit == b'0').count();
        let trail = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
        Some(Self {
            negative,
            whole: digits.split_off(lead),
            fraction: fraction[..fraction.len() - trail].to_vec(),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let size = |one: &Self, other: &Self| {
            let by_length = one.whole.len().cmp(&other.whole.len());
            by_length
                .then_with(|| one.whole.cmp(&other.whole))
                .then_with(|| one.fraction.cmp(&other.fraction))
        };
        let is_zero = |one: &Self| one.whole.is_empty() && one.fraction.is_empty();
        match (self.negative && !is_zero(self), other.negative && !is_zero(other)) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_at() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    fn within(least: Option<&str>, most: Option<&str>, value: &str) -> bool {
        let expectation = Expectation::Within {
            at_least: least.map(str::to_owned),
            at_most: most.map(str::to_owned),
        };
        judge(&expectation, value, taken_at()).0
    }

    #[test]
    fn numbers_are_compared_exactly_however_they_are_written() {
        for (least, most, value) in [
            (Some("1000"), None, "1000"),
            (
                Some("9007199254740993"),
                Some("9007199254740993"),
                "9007199254740993",
            ),
            (Some("-2.50"), Some("-2.5"), "-2.5"),
            (Some("0"), Some("0.1"), "1e-05"),
            (Some("100000000000000000000"), None, "1e+20"),
            (Some("-1"), Some("0"), "-0"),
            (None, Some("0.30"), ".3"),
            (None, None, "7"),
        ] {
            assert!(within(least, most, value), "{least:?} {most:?} {value}");
        }
        for (least, most, value) in [
            (Some("1000"), None, "999.999"),
            (Some("9007199254740993"), None, "9007199254740992"),
            (None, Some("9"), "10"),
            (None, Some("-3"), "-2"),
            (Some("1"), None, "NaN"),
            (Some("1"), None, "Infinity"),
            (Some("1"), None, ""),
            (Some("1"), None, "1e999999999"),
            (Some("1"), None, "2 apples"),
            (Some("one"), None, "1"),
        ] {
            assert!(!within(least, most, value), "{least:?} {most:?} {value}");
        }
    }

    #[test]
    fn a_time_is_as_old_as_it_lies_before_the_copy() {
        let judged = |value: &str| judge(&Expectation::NotOlderThan(3_600), value, taken_at()).0;
        for value in [
            "2026-11-28 11:00:00+00",
            "2026-11-28 11:00:00.000001+00",
            "2026-11-28 11:30:00",
            "2026-11-28 12:00:01+00",
            "2026-11-29",
        ] {
            assert!(judged(value), "{value}");
        }
        for value in [
            "2026-11-28 10:59:59+00",
            "2026-11-28",
            "infinity",
            "",
            "0044-03-15 BC",
        ] {
            assert!(!judged(value), "{value}");
        }
    }

    #[test]
    fn a_text_is_itself_and_nothing_else() {
        let judged = |value: &str| judge(&Expectation::Equals("t".into()), value, taken_at()).0;
        assert!(judged("t") && !judged("true") && !judged("t "));
    }
}
