//! The one way durations are written in resources: `30s`, `15m`, `2h`, `14d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The pattern of a duration, as the resources' schemas hold it.
pub const PATTERN: &str = "^[1-9][0-9]{0,4}(s|m|h|d)$";

/// A length of time between one second and 99,999 days, kept as it was written.
///
/// A day is 24 hours. There is no zero: nothing in a resource is switched off by a length of nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
            Self::Day => 'd',
        }
    }
}

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a duration: write a whole number from 1 to 99999 and one of s, m, h or d, such as 30m"
)]
pub struct InvalidDuration {
    text: String,
}

impl Duration {
    /// The length in whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.count as u64 * self.unit.seconds()
    }

    /// The same length for timers.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.as_secs())
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration {
            text: text.chars().take(32).collect(),
        };
        let mut characters = text.chars();
        let unit = match characters.next_back() {
            Some('s') => Unit::Second,
            Some('m') => Unit::Minute,
            Some('h') => Unit::Hour,
            Some('d') => Unit::Day,
            _ => return Err(invalid()),
        };
        let digits = characters.as_str();
        let plain = (1..=5).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if !plain {
            return Err(invalid());
        }
        let count = digits.parse().map_err(|_| invalid())?;
        Ok(Self { count, unit })
    }
}

impl TryFrom<String> for Duration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl PartialOrd for Duration {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.as_secs().partial_cmp(&other.as_secs())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.count, self.unit.letter())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_how_it_was_written() {
        for (text, seconds) in [
            ("1s", 1),
            ("90m", 5_400),
            ("24h", 86_400),
            ("99999d", 8_639_913_600),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(
                (duration.to_string().as_str(), duration.as_secs()),
                (text, seconds)
            );
        }
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        for text in [
            "", "s", "0s", "01m", "100000s", "5", "5w", "5 m", "+5m", "-1h", "1h30m", "٣s", "5M",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text:?} was taken");
        }
    }
}
