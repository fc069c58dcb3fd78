//! Reads a sheet line by line. Whoever typed it from paper is told which line is not what it should be.

use std::str::FromStr;

use super::text::TITLE;
use super::{
    Expected, LineFault, MAX_CUSTODIANS, MAX_LINE_BYTES, MAX_REGISTRIES, MAX_SHEET_BYTES, MAX_SIGNERS,
    MAX_TERMS, RegistrySheet, RetiredCustodian, SHEET_FORMAT, SheetError, SourceHead, TrustSheet,
    VerifiedSheet,
};
use crate::chain::SignerRange;
use crate::entry::EntryRef;
use crate::signature::{self, PublicKey, Role};
use crate::value::{InvalidValue, Sequence, Term};

/// How a signature begins.
const ARMOR: &str = "-----BEGIN SSH SIGNATURE-----";

impl TrustSheet {
    /// Reads a sheet and checks that a custodian key that it names signed it.
    ///
    /// The lines are read before the signature is checked: where a letter was mistyped, a person needs to know in which line.
    pub fn verify(sheet: &[u8]) -> Result<VerifiedSheet, SheetError> {
        if sheet.len() > MAX_SHEET_BYTES {
            return Err(SheetError::TooLarge { size: sheet.len() });
        }
        let (text, armored) = sheet.split_at(start_of_signature(sheet));
        let read = read(text)?;
        let signer = signature::verify(Role::Store, text, armored)?;
        if !read.custodians.contains(&signer) {
            return Err(SheetError::SignerNotNamed { signer });
        }
        Ok(VerifiedSheet { sheet: read, signer })
    }
}

/// Where the signature begins; the end of a text that has none.
fn start_of_signature(sheet: &[u8]) -> usize {
    let mut start = 0;
    for line in sheet.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(ARMOR.as_bytes()) {
            return start;
        }
        start += line.len();
    }
    start
}

fn read(text: &[u8]) -> Result<TrustSheet, SheetError> {
    let mut lines = Lines::cut(text)?;
    for line in TITLE {
        lines.fixed(line)?;
    }
    lines.fixed("")?;
    let format = lines.field("format")?;
    if format != SHEET_FORMAT {
        return Err(lines.fault(Expected::Form(
            "'format: dataembassy-trust-sheet/1', the only one that this version knows",
        )));
    }
    let mut sheet = TrustSheet {
        printed_at: lines.value("printed")?,
        embassy: lines.value("embassy")?,
        endpoint: lines.value("endpoint")?,
        bucket: lines.value("bucket")?,
        store_id: lines.value("store")?,
        document: lines.value("document")?,
        custodians: Vec::new(),
        registries: Vec::new(),
    };
    while sheet.custodians.len() < MAX_CUSTODIANS && lines.next_is("custodian") {
        let key = lines.field("custodian")?;
        sheet.custodians.push(lines.key(key)?);
    }
    lines.fixed("")?;
    while sheet.registries.len() < MAX_REGISTRIES && !lines.ended() {
        sheet.registries.push(registry(&mut lines)?);
        lines.fixed("")?;
    }
    lines.end()?;
    sheet.check()?;
    Ok(sheet)
}

fn registry(lines: &mut Lines<'_>) -> Result<RegistrySheet, SheetError> {
    let mut one = RegistrySheet {
        registry: lines.value("registry")?,
        signers: Vec::new(),
        terms: Vec::new(),
        retired: Vec::new(),
        source_head: None,
        custody_head: None,
    };
    while one.signers.len() < MAX_SIGNERS && lines.next_is("signer") {
        let (range, key) = lines.pair("signer", "'signer: <first>-<last, or nothing> ssh-ed25519 …'")?;
        one.signers.push(signer(lines, range, key)?);
    }
    while one.terms.len() < MAX_TERMS && lines.next_is("term") {
        let (number, key) = lines.pair("term", "'term: <number> ssh-ed25519 …'")?;
        if number != (one.terms.len() + 2).to_string() {
            return Err(lines.fault(Expected::Form("the next term, the first of them 2")));
        }
        one.terms.push(lines.key(key)?);
    }
    while one.retired.len() < MAX_CUSTODIANS && lines.next_is("retired") {
        let (until, key) = lines.pair("retired", "'retired: <last custody entry> ssh-ed25519 …'")?;
        let (until, key) = (lines.sequence(until)?, lines.key(key)?);
        one.retired.push(RetiredCustodian { key, until });
    }
    one.source_head = source_head(lines)?;
    one.custody_head = custody_head(lines)?;
    Ok(one)
}

fn signer(lines: &Lines<'_>, range: &str, key: &str) -> Result<SignerRange, SheetError> {
    let form = Expected::Form("'signer: <first>-<last, or nothing> ssh-ed25519 …'");
    let (from, until) = range.split_once('-').ok_or_else(|| lines.fault(form))?;
    let until = (!until.is_empty()).then(|| lines.sequence(until));
    Ok(SignerRange {
        key: lines.key(key)?,
        from: lines.sequence(from)?,
        until: until.transpose()?,
    })
}

fn source_head(lines: &mut Lines<'_>) -> Result<Option<SourceHead>, SheetError> {
    const FORM: &str = "'source: none', or term, '-', number with twelve digits and SHA-256";
    let value = lines.field("source")?;
    if value == "none" {
        return Ok(None);
    }
    let parts = value
        .split_once(' ')
        .and_then(|(place, digest)| Some((place.split_once('-')?, digest)));
    let ((term, sequence), digest) = parts.ok_or_else(|| lines.fault(Expected::Form(FORM)))?;
    let term = Term::from_key(term).map_err(|error| lines.invalid(error))?;
    let entry = entry(lines, sequence, digest)?;
    Ok(Some(SourceHead { term, entry }))
}

fn custody_head(lines: &mut Lines<'_>) -> Result<Option<EntryRef>, SheetError> {
    const FORM: &str = "'custody: none', or number with twelve digits and SHA-256";
    let value = lines.field("custody")?;
    if value == "none" {
        return Ok(None);
    }
    let parts = value.split_once(' ');
    let (sequence, digest) = parts.ok_or_else(|| lines.fault(Expected::Form(FORM)))?;
    entry(lines, sequence, digest).map(Some)
}

fn entry(lines: &Lines<'_>, sequence: &str, digest: &str) -> Result<EntryRef, SheetError> {
    Ok(EntryRef {
        sequence: Sequence::from_key(sequence).map_err(|error| lines.invalid(error))?,
        digest: digest.parse().map_err(|error| lines.invalid(error))?,
    })
}

/// The lines of a text, and how many of them were read.
struct Lines<'a> {
    lines: Vec<&'a str>,
    read: usize,
}

impl<'a> Lines<'a> {
    fn cut(text: &'a [u8]) -> Result<Self, SheetError> {
        let mut lines = Vec::new();
        for (place, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line
                .strip_suffix(b"\n")
                .filter(|line| line.len() <= MAX_LINE_BYTES)
                .filter(|line| line.iter().all(|byte| matches!(byte, b' '..=b'~')))
                .and_then(|line| std::str::from_utf8(line).ok());
            lines.push(line.ok_or(SheetError::WrongLine {
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

    fn ended(&self) -> bool {
        self.read >= self.lines.len()
    }

    /// Nothing may stand between the last registry and the signature.
    fn end(&mut self) -> Result<(), SheetError> {
        if self.ended() {
            return Ok(());
        }
        self.read += 1;
        Err(self.fault(Expected::Text(ARMOR)))
    }

    fn next_is(&self, word: &str) -> bool {
        let line = self.lines.get(self.read);
        line.is_some_and(|line| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(": ")))
    }

    fn fixed(&mut self, text: &'static str) -> Result<(), SheetError> {
        let ended = self.ended();
        if self.next() == text && !ended {
            return Ok(());
        }
        Err(self.fault(Expected::Text(text)))
    }

    fn field(&mut self, word: &'static str) -> Result<&'a str, SheetError> {
        let value = self
            .next()
            .strip_prefix(word)
            .and_then(|rest| rest.strip_prefix(": "));
        value.ok_or_else(|| self.fault(Expected::Field(word)))
    }

    /// A value that has one spelling.
    fn value<T: FromStr<Err = InvalidValue>>(&mut self, word: &'static str) -> Result<T, SheetError> {
        let text = self.field(word)?;
        text.parse().map_err(|error| self.invalid(error))
    }

    /// A field's two values: the second is what follows the first blank.
    fn pair(&mut self, word: &'static str, form: &'static str) -> Result<(&'a str, &'a str), SheetError> {
        let pair = self.field(word)?.split_once(' ');
        pair.ok_or_else(|| self.fault(Expected::Form(form)))
    }

    fn key(&self, text: &str) -> Result<PublicKey, SheetError> {
        PublicKey::try_from(text.to_owned()).map_err(|error| self.invalid(error))
    }

    /// A number as people write it: no leading zero, no sign.
    fn sequence(&self, text: &str) -> Result<Sequence, SheetError> {
        let number = text
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == text);
        Sequence::new(number.unwrap_or_default()).map_err(|error| self.invalid(error))
    }

    fn fault(&self, expected: Expected) -> SheetError {
        self.wrong(LineFault::Expected(expected))
    }

    fn invalid(&self, error: InvalidValue) -> SheetError {
        self.wrong(LineFault::InvalidValue(error))
    }

    /// What is wrong with the line that was read last.
    fn wrong(&self, fault: LineFault) -> SheetError {
        SheetError::WrongLine {
            line: self.read,
            fault,
        }
    }
}
