//! Numbers that appear in object keys, each with as many digits as its key has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// Gives a number its bounds, its conversions and its key form of fixed width.
macro_rules! bounded_number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $what:literal, digits $digits:literal, max $max:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($inner);

        impl $name {
            /// The first number: 1.
            pub const FIRST: Self = Self(1);
            /// The last number that has a key.
            pub const LAST: Self = Self($max);
            /// How many digits the number has in an object key.
            pub const DIGITS: usize = $digits;

            /// Checks a number.
            pub fn new(number: u64) -> Result<Self, InvalidValue> {
                match <$inner>::try_from(number) {
                    Ok(inner) if (1..=$max).contains(&inner) => Ok(Self(inner)),
                    _ => Err(InvalidValue::new($what, $rule)),
                }
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The number after this one, if it still has a key.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                if self.0 < $max { Some(Self(self.0 + 1)) } else { None }
            }

            /// Reads the fixed-width form of a key: exactly that many digits, no sign, no blank.
            pub(crate) fn from_key(digits: &str) -> Result<Self, InvalidValue> {
                if digits.len() != $digits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(InvalidValue::new($what, $rule));
                }
                digits.parse().map_err(|_| InvalidValue::new($what, $rule)).and_then(Self::new)
            }

            /// The fixed-width form that object keys have.
            pub(crate) fn to_key(self) -> impl fmt::Display {
                format_args_fixed::<{ $digits }>(u64::from(self.0))
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidValue;

            fn try_from(number: u64) -> Result<Self, InvalidValue> {
                Self::new(number)
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> Self {
                u64::from(number.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

/// A number printed with `DIGITS` digits, zeros in front.
struct FixedWidth<const DIGITS: usize>(u64);

impl<const DIGITS: usize> fmt::Display for FixedWidth<DIGITS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:0DIGITS$}", self.0)
    }
}

const fn format_args_fixed<const DIGITS: usize>(number: u64) -> FixedWidth<DIGITS> {
    FixedWidth(number)
}

bounded_number!(
    /// The place of an entry in its chain: 1 to 999,999,999,999. Source entries are numbered through across terms.
    Sequence(u64), "sequence", digits 12, max 999_999_999_999, "it must be a whole number from 1 to 999999999999"
);
bounded_number!(
    /// A span of the ledger in which one party may write source entries: 1 to 9,999.
    Term(u32), "term", digits 4, max 9_999, "it must be a whole number from 1 to 9999"
);
bounded_number!(
    /// The number of a manifest or inventory object in its copy: 1 to 9,999; gaps are legal.
    PartNumber(u32), "part number", digits 4, max 9_999, "it must be a whole number from 1 to 9999"
);
bounded_number!(
    /// The number of a segment object in its copy: 1 to 99,999,999; gaps are legal, the manifest's order counts.
    SegmentNumber(u32), "segment number", digits 8, max 99_999_999, "it must be a whole number from 1 to 99999999"
);
