//! What a server says is wrong, without the rows that it quotes: its words go into logs, resources and reports, where no row may be read.

use std::{borrow::Cow, fmt};

/// Stands where the server quoted a value.
const WITHHELD: &str = "…";
/// Stands for what a function of the registry itself says: it may say anything.
const OF_A_FUNCTION: &str =
    "a function of the registry raised it; what it says may quote rows, so only the server's own log has it";

/// An `ErrorResponse` or `NoticeResponse` of the server. Written out, it quotes no row: what is told of a row's values (SQLSTATE classes 22 and
/// 23) and by functions of the registry (class P0) is left out.
#[derive(Clone, Debug, Default, thiserror::Error)]
pub struct ServerError {
    /// ERROR, FATAL, PANIC, WARNING, …, not localised.
    pub severity: String,
    /// SQLSTATE, five characters.
    pub code: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the server would do about it.
    pub hint: Option<String>,
}

impl ServerError {
    /// Reads the body of an error or notice: fields of one type byte and a terminated string, then a zero byte.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, value)) = field.split_first() else {
                break;
            };
            let value = String::from_utf8_lossy(value).into_owned();
            match kind {
                // 'V' is the severity that is never translated; 'S' may be in any language.
                b'V' => error.severity = value,
                b'C' => error.code = value,
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'H' => error.hint = Some(value),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, code) = (&self.severity, &self.code);
        let message = match code.get(..2) {
            Some("22") => withhold_values(&self.message),
            Some("P0") => Cow::Borrowed(OF_A_FUNCTION),
            _ => Cow::Borrowed(self.message.as_str()),
        };
        write!(formatter, "{severity} {code}: {message}")?;
        match &self.detail {
            Some(detail) if !matches!(code.get(..2), Some("22" | "23" | "P0")) => {
                write!(formatter, " ({detail})")
            }
            _ => Ok(()),
        }
    }
}

/// A message about a value, without the value: what stands between the first quotation mark and the last, and bytes in hexadecimal. A value may
/// itself hold quotation marks.
pub(crate) fn withhold_values(message: &str) -> Cow<'_, str> {
    let quoted = message.find('"').zip(message.rfind('"'));
    let quoted = quoted.filter(|(first, last)| first < last);
    let bytes = message.find(": 0x");
    match (quoted, bytes) {
        // Where the quoted part is a name of the server's own, the bytes behind it are the value.
        (_, Some(at)) => Cow::Owned(format!("{}: {WITHHELD}", &message[..at])),
        (Some((first, last)), None) => Cow::Owned(format!(
            "{}\"{WITHHELD}\"{}",
            &message[..first],
            &message[last + 1..]
        )),
        (None, None) => Cow::Borrowed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, message: &str, detail: Option<&str>) -> String {
        let error = ServerError {
            severity: "ERROR".into(),
            code: code.into(),
            message: message.into(),
            detail: detail.map(str::to_owned),
            hint: None,
        };
        error.to_string()
    }

    #[test]
    fn what_a_server_quotes_of_a_row_is_left_out() {
        for (code, message, detail) in [
            (
                "22P02",
                r#"invalid input syntax for type integer: "Secret "it is" Secret""#,
                None,
            ),
            (
                "22003",
                r#"value "Secret" is out of range for type integer"#,
                None,
            ),
            (
                "22021",
                r#"invalid byte sequence for encoding "UTF8": 0xSecret"#,
                None,
            ),
            (
                "23505",
                r#"could not create unique index "person_name""#,
                Some("Key (name)=(Secret) is duplicated."),
            ),
            (
                "23514",
                r#"new row for relation "person" violates check constraint "ok""#,
                Some("Failing row contains (1, Secret)."),
            ),
            ("P0001", "Secret is not allowed", Some("Secret again")),
        ] {
            let said = said(code, message, detail);
            assert!(!said.contains("Secret"), "{said}");
            assert!(
                said.starts_with(&format!("ERROR {code}: ")) && said.len() > 20,
                "{said}"
            );
        }
    }

    #[test]
    fn what_a_server_says_of_anything_else_is_told_whole() {
        let told = said(
            "42501",
            r#"permission denied for table "person""#,
            Some("it has a policy"),
        );
        assert_eq!(
            told,
            r#"ERROR 42501: permission denied for table "person" (it has a policy)"#
        );
        let told = said("23505", r#"could not create unique index "person_name""#, None);
        assert!(told.contains("person_name"), "{told}");
    }
}
