//! Checked values: what is held in one of these types is within the format's bounds, so nothing later needs to ask again.

mod digest;
mod id;
mod number;
mod text;
mod time;

pub use digest::{Sha256Digest, Sha256Stream};
pub use id::{CopyId, EmbassyName, OrderId, RegistryId, StoreId};
pub use number::{PartNumber, SegmentNumber, Sequence, Term};
pub use text::{BucketName, DatabaseVersion, Recipient, StoreEndpoint, SystemIdentifier, Trigger, VersionId};
pub use time::Timestamp;

/// Why a text or number is not a value of the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {rule}")]
pub struct InvalidValue {
    /// The kind of value, such as `registry id`.
    pub what: &'static str,
    /// The rule it must follow, in words for the user who typed it.
    pub rule: &'static str,
}

impl InvalidValue {
    pub(crate) const fn new(what: &'static str, rule: &'static str) -> Self {
        Self { what, rule }
    }
}

/// Gives a newtype over text its conversions; `check` decides what is let in.
macro_rules! text_value {
    ($name:ident) => {
        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::value::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::value::InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_value;
