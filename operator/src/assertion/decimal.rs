//! Decimal numbers of any length, compared as numbers.

use std::cmp::Ordering;

/// Compares two decimal numbers such as `-12.50`; `None` if one of them is none.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (Decimal::read(one)?, Decimal::read(other)?);
    Some(match (one.negative, other.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => one.magnitude(&other),
        (true, true) => other.magnitude(&one),
    })
}

struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    part: &'t str,
}

impl<'t> Decimal<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, part) = match digits.split_once('.') {
            Some((whole, part)) => (whole, Some(part)),
            None => (digits, None),
        };
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || part.is_some_and(|part| !is_number(part)) {
            return None;
        }
        let (whole, part) = (
            whole.trim_start_matches('0'),
            part.unwrap_or_default().trim_end_matches('0'),
        );
        Some(Self {
            // There is one zero.
            negative: sign && !(whole.is_empty() && part.is_empty()),
            whole,
            part,
        })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        (self.whole.len(), self.whole, self.part).cmp(&(other.whole.len(), other.whole, other.part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_and_not_their_texts() {
        let huge = "9".repeat(39);
        for (one, order, other) in [
            ("9", Ordering::Less, "10"),
            ("-9", Ordering::Greater, "-10"),
            ("-1", Ordering::Less, "0"),
            ("0", Ordering::Equal, "-0.00"),
            ("007", Ordering::Equal, "7.0"),
            ("1.5", Ordering::Greater, "1.49"),
            ("-1.5", Ordering::Less, "-1.49"),
            ("0.1", Ordering::Greater, "0.09"),
            (huge.as_str(), Ordering::Greater, "1000000"),
        ] {
            assert_eq!(compare(one, other), Some(order), "{one} and {other}");
        }
        for text in ["", "-", ".5", "5.", "1e3", "+1", "NaN", "1.2.3", "٣"] {
            assert_eq!(compare(text, "1"), None, "{text}");
        }
    }
}
