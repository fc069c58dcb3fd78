//! Bounded texts that entries carry.

use serde::{Deserialize, Serialize};

use super::{InvalidValue, text_value};

/// The id a store gave to one version of an object: 1 to 1,024 printable ASCII characters without blanks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(String);

impl VersionId {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "version id",
            "it must have 1 to 1024 printable ASCII characters and no blank",
        ))
    }
}

text_value!(VersionId);

/// An age public key that copies are sealed to, as text: `age1` followed by lower-case letters and digits, at most 4,096 characters.
///
/// Only its shape is checked here; whether age can seal to it is the archive's question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipient(String);

impl Recipient {
    fn check(text: &str) -> Result<(), InvalidValue> {
        let shaped = text.len() <= 4096
            && text.strip_prefix("age1").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
            });
        if shaped {
            return Ok(());
        }
        Err(InvalidValue::new(
            "recipient",
            "it must be an age public key: 'age1' followed by lower-case letters and digits, as age-keygen prints it",
        ))
    }
}

text_value!(Recipient);

/// The value of a mirror's `trigger` that a copy answers: 1 to 253 characters, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trigger(String);

impl Trigger {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=253).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "trigger",
            "it must have 1 to 253 characters and no control characters",
        ))
    }
}

text_value!(Trigger);

/// The version a database server reports, such as `17.12`: 1 to 64 printable ASCII characters, blanks allowed inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseVersion(String);

impl DatabaseVersion {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Ok(());
        }
        Err(InvalidValue::new(
            "database version",
            "it must have 1 to 64 printable ASCII characters",
        ))
    }
}

text_value!(DatabaseVersion);

/// What tells one database server from every other; for PostgreSQL the system identifier, a decimal number of up to 20 digits.
///
/// It is text because it does not fit the integers that the format allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SystemIdentifier(String);

impl SystemIdentifier {
    fn check(text: &str) -> Result<(), InvalidValue> {
        if (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "system identifier",
            "it must have 1 to 20 decimal digits",
        ))
    }
}

text_value!(SystemIdentifier);

/// Where a store is, as a trust sheet tells it to people: `https://` or `http://` and what follows, at most 512 printable ASCII characters
/// without blanks.
///
/// Only its shape is checked here; whether it may be connected to is the reader's question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreEndpoint(String);

impl StoreEndpoint {
    fn check(text: &str) -> Result<(), InvalidValue> {
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let shaped = text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if shaped && host.is_some_and(|host| !host.is_empty()) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "endpoint",
            "it must begin with https:// or http:// and have at most 512 printable ASCII characters without blanks",
        ))
    }
}

text_value!(StoreEndpoint);

/// The name of a bucket: 3 to 63 characters of `a-z`, `0-9`, `.` and `-`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

impl BucketName {
    fn check(text: &str) -> Result<(), InvalidValue> {
        let of_alphabet = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        let framed = |text: &str| {
            !text.starts_with(['.', '-']) && !text.ends_with(['.', '-']) && text.bytes().all(of_alphabet)
        };
        if (3..=63).contains(&text.len()) && framed(text) {
            return Ok(());
        }
        Err(InvalidValue::new(
            "bucket name",
            "it must have 3 to 63 characters of a-z, 0-9, '.' and '-', and begin and end with a letter or digit",
        ))
    }
}

text_value!(BucketName);
