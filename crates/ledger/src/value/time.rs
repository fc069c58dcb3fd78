//! Times as the ledger writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// A time in UTC with whole milliseconds, from 1970 to 9999: `2026-11-23T11:10:00.000Z` and no other spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(jiff::Timestamp);

const RULE: &str = "it must be UTC with milliseconds, such as 2026-11-23T11:10:00.000Z";
const LENGTH: usize = "2026-11-23T11:10:00.000Z".len();

impl Timestamp {
    /// Takes a time and drops what is finer than a millisecond.
    pub fn from_jiff(time: jiff::Timestamp) -> Result<Self, InvalidValue> {
        Self::from_millisecond(time.as_millisecond())
    }

    /// Takes milliseconds since 1970-01-01T00:00:00Z.
    pub fn from_millisecond(milliseconds: i64) -> Result<Self, InvalidValue> {
        if milliseconds < 0 {
            return Err(InvalidValue::new("time", RULE));
        }
        jiff::Timestamp::from_millisecond(milliseconds)
            .map(Self)
            .map_err(|_| InvalidValue::new("time", RULE))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The same time as jiff has it.
    #[must_use]
    pub const fn as_jiff(self) -> jiff::Timestamp {
        self.0
    }
}

impl FromStr for Timestamp {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue::new("time", RULE);
        if text.len() != LENGTH {
            return Err(invalid());
        }
        let time = text.parse().map_err(|_| invalid()).and_then(Self::from_jiff)?;
        // Printing it again must give the same text: offsets, lower case, leap seconds and hour 24 end here.
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(invalid())
        }
    }
}

impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = InvalidValue;

    fn try_from(time: jiff::Timestamp) -> Result<Self, InvalidValue> {
        Self::from_jiff(time)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}", self.0)
    }
}
