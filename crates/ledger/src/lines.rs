//! Texts that people sign and type: lines of a word and a value, in one order and one spelling, read line by line. Whoever typed one from
//! paper is told which line is not what it should be.

use std::str::FromStr;

use crate::entry::EntryRef;
use crate::signature::PublicKey;
use crate::value::{InvalidValue, Sequence, Term};

/// The most bytes of a line, without the LF.
pub const MAX_LINE_BYTES: usize = 600;

/// A line is not what must stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct WrongLine {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It has characters that a sheet has not, or too many.
    #[error("a line has at most {MAX_LINE_BYTES} printable ASCII characters and ends with LF")]
    NotALine,
    /// Something else must stand there.
    #[error("here must stand {0}")]
    Expected(Expected),
    /// A value breaks its rule.
    #[error(transparent)]
    InvalidValue(#[from] InvalidValue),
}

/// What must stand in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this text.
    Text(&'static str),
    /// A field of this name.
    Field(&'static str),
    /// What the word describes.
    Form(&'static str),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text("") => formatter.write_str("nothing: the line is empty"),
            Self::Text(text) => write!(formatter, "'{text}'"),
            Self::Field(word) => write!(formatter, "'{word}: …'"),
            Self::Form(form) => formatter.write_str(form),
        }
    }
}

/// The lines of a text, and how many of them were read.
pub(crate) struct Lines<'a> {
    lines: Vec<&'a str>,
    read: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn cut(text: &'a [u8]) -> Result<Self, WrongLine> {
        let mut lines = Vec::new();
        for (place, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line
                .strip_suffix(b"\n")
                .filter(|line| line.len() <= MAX_LINE_BYTES)
                .filter(|line| line.iter().all(|byte| matches!(byte, b' '..=b'~')))
                .and_then(|line| std::str::from_utf8(line).ok());
            lines.push(line.ok_or(WrongLine {
                line: place + 1,
                fault: LineFault::NotALine,
            })?);
        }
        Ok(Self { lines, read: 0 })
    }

    fn next(&mut self) -> &'a str {
        let line = self.lines.get(self.read).copied().unwrap_or_default();
        self.read += 1;
        line
    }

    pub(crate) fn ended(&self) -> bool {
        self.read >= self.lines.len()
    }

    /// Nothing may follow but `next`.
    pub(crate) fn end(&mut self, next: Expected) -> Result<(), WrongLine> {
        if self.ended() {
            return Ok(());
        }
        self.read += 1;
        Err(self.fault(next))
    }

    pub(crate) fn next_is(&self, word: &str) -> bool {
        let line = self.lines.get(self.read);
        line.is_some_and(|line| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(": ")))
    }

    pub(crate) fn fixed(&mut self, text: &'static str) -> Result<(), WrongLine> {
        let ended = self.ended();
        if self.next() == text && !ended {
            return Ok(());
        }
        Err(self.fault(Expected::Text(text)))
    }

    pub(crate) fn field(&mut self, word: &'static str) -> Result<&'a str, WrongLine> {
        let value = self
            .next()
            .strip_prefix(word)
            .and_then(|rest| rest.strip_prefix(": "));
        value.ok_or_else(|| self.fault(Expected::Field(word)))
    }

    /// A value that has one spelling.
    pub(crate) fn value<T: FromStr<Err = InvalidValue>>(
        &mut self,
        word: &'static str,
    ) -> Result<T, WrongLine> {
        let text = self.field(word)?;
        text.parse().map_err(|error| self.invalid(error))
    }

    /// A field's two values: the second is what follows the first blank.
    pub(crate) fn pair(
        &mut self,
        word: &'static str,
        form: &'static str,
    ) -> Result<(&'a str, &'a str), WrongLine> {
        let pair = self.field(word)?.split_once(' ');
        pair.ok_or_else(|| self.fault(Expected::Form(form)))
    }

    pub(crate) fn key(&self, text: &str) -> Result<PublicKey, WrongLine> {
        PublicKey::try_from(text.to_owned()).map_err(|error| self.invalid(error))
    }

    /// A number as people write it: no leading zero, no sign.
    pub(crate) fn sequence(&self, text: &str) -> Result<Sequence, WrongLine> {
        Sequence::new(number(text).unwrap_or_default()).map_err(|error| self.invalid(error))
    }

    /// A place in the source chain and what stands there: `<term, 4 digits>-<sequence, 12 digits> <digest>`.
    pub(crate) fn source_entry(
        &self,
        value: &str,
        form: &'static str,
    ) -> Result<(Term, EntryRef), WrongLine> {
        let parts = value
            .split_once(' ')
            .and_then(|(place, digest)| Some((place.split_once('-')?, digest)));
        let ((term, sequence), digest) = parts.ok_or_else(|| self.fault(Expected::Form(form)))?;
        let term = Term::from_key(term).map_err(|error| self.invalid(error))?;
        Ok((term, self.entry(sequence, digest)?))
    }

    /// A place in a chain, in twelve digits, and what stands there.
    pub(crate) fn entry(&self, sequence: &str, digest: &str) -> Result<EntryRef, WrongLine> {
        Ok(EntryRef {
            sequence: Sequence::from_key(sequence).map_err(|error| self.invalid(error))?,
            digest: digest.parse().map_err(|error| self.invalid(error))?,
        })
    }

    pub(crate) fn fault(&self, expected: Expected) -> WrongLine {
        self.wrong(LineFault::Expected(expected))
    }

    pub(crate) fn invalid(&self, error: InvalidValue) -> WrongLine {
        self.wrong(LineFault::InvalidValue(error))
    }

    /// What is wrong with the line that was read last.
    fn wrong(&self, fault: LineFault) -> WrongLine {
        WrongLine {
            line: self.read,
            fault,
        }
    }
}

/// A number as people write it: no leading zero, no sign.
pub(crate) fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}
