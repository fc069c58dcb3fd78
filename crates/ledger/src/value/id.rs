//! Names that the format gives to registries, stores, copies and orders.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InvalidValue, text_value};

/// The id of a registry: a DNS label of 3 to 40 characters (`a-z`, `0-9`, `-`, neither first nor last a `-`), such as `population`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryId(String);

impl RegistryId {
    /// The fewest characters of an id.
    pub const MIN_LENGTH: usize = 3;
    /// The most characters of an id.
    pub const MAX_LENGTH: usize = 40;

    /// Whether it is one that a store is probed in, `check-` and eight lower-case hex digits: never a real registry.
    #[must_use]
    pub fn is_for_checks(&self) -> bool {
        self.0.strip_prefix("check-").is_some_and(|digits| {
            digits.len() == 8
                && digits
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    fn check(text: &str) -> Result<(), InvalidValue> {
        if (Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&text.len()) && is_dns_label(text) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "registry id",
            "it must have 3 to 40 characters of a-z, 0-9 and '-', and neither begin nor end with '-'",
        ))
    }
}

text_value!(RegistryId);

/// The id of an order to the custodian or to a drill: a DNS label of 1 to 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

impl OrderId {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=63).contains(&text.len()) && is_dns_label(text) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "order id",
            "it must have 1 to 63 characters of a-z, 0-9 and '-', and neither begin nor end with '-'",
        ))
    }
}

text_value!(OrderId);

/// The name of an embassy, as its `DataEmbassy` has it: a DNS label of 1 to 63 characters, such as `luxembourg`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmbassyName(String);

impl EmbassyName {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=63).contains(&text.len()) && is_dns_label(text) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "embassy name",
            "it must have 1 to 63 characters of a-z, 0-9 and '-', and neither begin nor end with '-'",
        ))
    }
}

text_value!(EmbassyName);

fn is_dns_label(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Gives a 128-bit id its text form of 32 lower-case hex digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes an id of 16 bytes, which the caller draws from the system's random source.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                let mut bytes = [0; 16];
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err(InvalidValue::new($what, "it must be 32 lower-case hex digits"));
                }
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                hex::encode(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hex_id!(
    /// The id of a store, drawn once by `store init`: 32 lower-case hex digits.
    StoreId,
    "store id"
);
hex_id!(
    /// The id of a copy, drawn for each run: 32 lower-case hex digits.
    CopyId,
    "copy id"
);
