//! The sheet as it stands on paper: lines of a word and a value, in one order and one spelling.

use std::fmt;

use super::{RegistrySheet, SHEET_FORMAT, TrustSheet};

/// The first lines of every sheet, for who finds one.
pub(super) const TITLE: [&str; 3] = [
    "DataEmbassy trust sheet",
    "Keep it on paper beside each identity. Believe it if the custodian key that verifies the",
    "signature below is, letter by letter, the one that you were told on another way.",
];

impl fmt::Display for TrustSheet {
    /// What is signed: everything up to the signature.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in TITLE {
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter)?;
        writeln!(formatter, "format: {SHEET_FORMAT}")?;
        writeln!(formatter, "printed: {}", self.printed_at)?;
        writeln!(formatter, "embassy: {}", self.embassy)?;
        writeln!(formatter, "endpoint: {}", self.endpoint)?;
        writeln!(formatter, "bucket: {}", self.bucket)?;
        writeln!(formatter, "store: {}", self.store_id)?;
        writeln!(formatter, "document: {}", self.document)?;
        for key in &self.custodians {
            writeln!(formatter, "custodian: {key}")?;
        }
        match &self.approvers {
            Some(approvers) => {
                writeln!(formatter, "approvals: {}", approvers.required())?;
                for one in approvers.all() {
                    writeln!(formatter, "approver: {} {}", one.name, one.key)?;
                }
            }
            None => writeln!(formatter, "approvals: none")?,
        }
        writeln!(formatter)?;
        for registry in &self.registries {
            writeln!(formatter, "{registry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RegistrySheet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "registry: {}", self.registry)?;
        for signer in &self.signers {
            write!(formatter, "signer: {}-", signer.from)?;
            if let Some(until) = signer.until {
                write!(formatter, "{until}")?;
            }
            writeln!(formatter, " {}", signer.key)?;
        }
        for (place, key) in self.terms.iter().enumerate() {
            writeln!(formatter, "term: {} {key}", place + 2)?;
        }
        for retired in &self.retired {
            writeln!(formatter, "retired: {} {}", retired.until, retired.key)?;
        }
        match &self.source_head {
            Some(head) => {
                let (term, sequence) = (head.term.to_key(), head.entry.sequence.to_key());
                writeln!(formatter, "source: {term}-{sequence} {}", head.entry.digest)?;
            }
            None => writeln!(formatter, "source: none")?,
        }
        match &self.custody_head {
            Some(head) => writeln!(formatter, "custody: {} {}", head.sequence.to_key(), head.digest),
            None => writeln!(formatter, "custody: none"),
        }
    }
}
