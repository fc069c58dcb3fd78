//! Reads a statement line by line: one that was changed in a letter is another one, and its approvals do not count.

use super::text::{NONE, TITLE};
use super::{
    MAX_STATED, MAX_STATEMENT_BYTES, Mode, STATEMENT_FORMAT, State, StatedFloor, StatedRegistry, Statement,
    StatementError, Unfenced, WrongLine,
};
use crate::lines::{Expected, Lines, number};
use crate::signature::PublicKey;
use crate::value::RegistryId;

impl Statement {
    /// Reads a statement's text.
    pub fn read(text: &str) -> Result<Self, StatementError> {
        if text.len() > MAX_STATEMENT_BYTES {
            return Err(StatementError::TooLarge { size: text.len() });
        }
        let mut lines = Lines::cut(text.as_bytes())?;
        for line in TITLE {
            lines.fixed(line)?;
        }
        lines.fixed("")?;
        if lines.field("format")? != STATEMENT_FORMAT {
            let only = "'format: dataembassy-activation/1', the only one that this version knows";
            return Err(lines.fault(Expected::Form(only)).into());
        }
        let mut statement = Self {
            store: lines.value("store")?,
            embassy: lines.value("embassy")?,
            resource: lines.value("resource")?,
            uid: lines.value("uid")?,
            order: lines.value("order")?,
            mode: word(&mut lines, "mode", &[Mode::Rehearse, Mode::Activate], |mode| {
                mode.word()
            })?,
            state: word(&mut lines, "state", &[State::Active, State::StoodDown], |state| {
                state.word()
            })?,
            valid_until: lines.value("valid-until")?,
            unfenced: word(
                &mut lines,
                "unfenced",
                &[Unfenced::Refused, Unfenced::Accepted],
                Unfenced::word,
            )?,
            required: required(&mut lines)?,
            approvers: lines.value("approvers")?,
            spec: lines.value("spec")?,
            registries: Vec::new(),
        };
        while statement.registries.len() < MAX_STATED && !lines.ended() {
            lines.fixed("")?;
            statement.registries.push(registry(&mut lines)?);
        }
        lines.end(Expected::Form("nothing more: the statement has ended"))?;
        statement.check()?;
        Ok(statement)
    }
}

/// One of a few words.
fn word<T: Copy>(
    lines: &mut Lines<'_>,
    field: &'static str,
    values: &[T],
    spell: impl Fn(T) -> &'static str,
) -> Result<T, WrongLine> {
    let text = lines.field(field)?;
    let value = values.iter().copied().find(|value| spell(*value) == text);
    value.ok_or_else(|| lines.fault(Expected::Form("a word that this version knows")))
}

fn required(lines: &mut Lines<'_>) -> Result<usize, WrongLine> {
    let text = lines.field("approvals")?;
    number(text).ok_or_else(|| lines.fault(Expected::Form("a number without leading zeros")))
}

fn registry(lines: &mut Lines<'_>) -> Result<StatedRegistry, WrongLine> {
    let registry = lines.value("registry")?;
    let after = after(lines)?;
    let floor = floor(lines)?;
    let copy = lines.value("copy")?;
    let target = lines.value("target")?;
    let signer = signer(lines)?;
    let (count, digest) = lines.pair("questions", "'questions: <how many> <SHA-256>'")?;
    let questions =
        number(count).ok_or_else(|| lines.fault(Expected::Form("a number without leading zeros")))?;
    Ok(StatedRegistry {
        registry,
        after,
        floor,
        copy,
        target,
        signer,
        questions,
        questions_digest: digest.parse().map_err(|error| lines.invalid(error))?,
        exposed: lines.value("exposed")?,
    })
}

fn after(lines: &mut Lines<'_>) -> Result<Vec<RegistryId>, WrongLine> {
    let first = lines.field("after")?;
    if first == NONE {
        return Ok(Vec::new());
    }
    let mut after = vec![first.parse().map_err(|error| lines.invalid(error))?];
    while after.len() < MAX_STATED && lines.next_is("after") {
        after.push(lines.value("after")?);
    }
    Ok(after)
}

fn floor(lines: &mut Lines<'_>) -> Result<Option<StatedFloor>, WrongLine> {
    const FORM: &str = "'head: none', or term, '-', number with twelve digits and SHA-256";
    let value = lines.field("head")?;
    if value == NONE {
        return Ok(None);
    }
    let (term, entry) = lines.source_entry(value, FORM)?;
    Ok(Some(StatedFloor {
        term,
        entry,
        taken_at: lines.value("taken")?,
    }))
}

fn signer(lines: &mut Lines<'_>) -> Result<Option<PublicKey>, WrongLine> {
    let text = lines.field("signer")?;
    if text == NONE {
        return Ok(None);
    }
    lines.key(text).map(Some)
}
