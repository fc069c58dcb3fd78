//! Reads a sheet line by line. Whoever typed it from paper is told which line is not what it should be.

use super::text::TITLE;
use super::{
    Expected, MAX_CUSTODIANS, MAX_REGISTRIES, MAX_SIGNERS, MAX_TERMS, RegistrySheet, RetiredCustodian,
    SHEET_FORMAT, SheetError, SourceHead, TrustSheet, VerifiedSheet, WrongLine, check_size,
};
use crate::activation::{Approver, Approvers, MAX_APPROVERS};
use crate::chain::SignerRange;
use crate::entry::EntryRef;
use crate::lines::{Lines, number};
use crate::signature::{self, Role};

/// How a signature begins.
const ARMOR: &str = "-----BEGIN SSH SIGNATURE-----";

impl TrustSheet {
    /// Reads a sheet and checks that a custodian key that it names signed it.
    ///
    /// The lines are read before the signature is checked: where a letter was mistyped, a person needs to know in which line.
    pub fn verify(sheet: &[u8]) -> Result<VerifiedSheet, SheetError> {
        check_size(sheet.len())?;
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
        return Err(lines
            .fault(Expected::Form(
                "'format: dataembassy-trust-sheet/1', the only one that this version knows",
            ))
            .into());
    }
    let mut sheet = TrustSheet {
        printed_at: lines.value("printed")?,
        embassy: lines.value("embassy")?,
        endpoint: lines.value("endpoint")?,
        bucket: lines.value("bucket")?,
        store_id: lines.value("store")?,
        document: lines.value("document")?,
        custodians: Vec::new(),
        approvers: None,
        registries: Vec::new(),
    };
    while sheet.custodians.len() < MAX_CUSTODIANS && lines.next_is("custodian") {
        let key = lines.field("custodian")?;
        sheet.custodians.push(lines.key(key)?);
    }
    sheet.approvers = approvers(&mut lines)?;
    lines.fixed("")?;
    while sheet.registries.len() < MAX_REGISTRIES && !lines.ended() {
        sheet.registries.push(registry(&mut lines)?);
        lines.fixed("")?;
    }
    // Nothing may stand between the last registry and the signature.
    lines.end(Expected::Text(ARMOR))?;
    sheet.check()?;
    Ok(sheet)
}

fn approvers(lines: &mut Lines<'_>) -> Result<Option<Approvers>, WrongLine> {
    const FORM: &str = "'approvals: none', or a number without leading zeros";
    let text = lines.field("approvals")?;
    if text == "none" {
        return Ok(None);
    }
    let required = number(text);
    let required = required.ok_or_else(|| lines.fault(Expected::Form(FORM)))?;
    let mut all = Vec::new();
    while all.len() < MAX_APPROVERS && lines.next_is("approver") {
        let (name, key) = lines.pair("approver", "'approver: <name> ssh-ed25519 …'")?;
        all.push(Approver {
            name: name.to_owned(),
            key: lines.key(key)?,
        });
    }
    Approvers::new(all, required)
        .map(Some)
        .map_err(|error| lines.invalid(error))
}

fn registry(lines: &mut Lines<'_>) -> Result<RegistrySheet, WrongLine> {
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

fn signer(lines: &Lines<'_>, range: &str, key: &str) -> Result<SignerRange, WrongLine> {
    let form = Expected::Form("'signer: <first>-<last, or nothing> ssh-ed25519 …'");
    let (from, until) = range.split_once('-').ok_or_else(|| lines.fault(form))?;
    let until = (!until.is_empty()).then(|| lines.sequence(until));
    Ok(SignerRange {
        key: lines.key(key)?,
        from: lines.sequence(from)?,
        until: until.transpose()?,
    })
}

fn source_head(lines: &mut Lines<'_>) -> Result<Option<SourceHead>, WrongLine> {
    const FORM: &str = "'source: none', or term, '-', number with twelve digits and SHA-256";
    let value = lines.field("source")?;
    if value == "none" {
        return Ok(None);
    }
    let (term, entry) = lines.source_entry(value, FORM)?;
    Ok(Some(SourceHead { term, entry }))
}

fn custody_head(lines: &mut Lines<'_>) -> Result<Option<EntryRef>, WrongLine> {
    const FORM: &str = "'custody: none', or number with twelve digits and SHA-256";
    let value = lines.field("custody")?;
    if value == "none" {
        return Ok(None);
    }
    let parts = value.split_once(' ');
    let (sequence, digest) = parts.ok_or_else(|| lines.fault(Expected::Form(FORM)))?;
    lines.entry(sequence, digest).map(Some)
}
