//! What an empty embassy starts from: a `RegistryCustody` for each registry of a sheet, with its signers, and with its last source entry as
//! the head that a person vouches for.

use std::fmt::Write as _;

use dataembassy_contract::duration::Duration;
use dataembassy_ledger::TrustSheet;
use dataembassy_ledger::trust_sheet::{RegistrySheet, VerifiedSheet};

/// One stream of YAML, for `kubectl apply --filename -`. Every value is one of the format's, so in quotes it is what it says.
#[must_use]
pub fn custodies(read: &VerifiedSheet, rpo: Duration) -> String {
    let (sheet, signer) = (&read.sheet, read.signer);
    let mut text = format!(
        "# From the trust sheet of {} for {}, signed by {signer}.\n\
         # rpo, retention, quota and the like are not on it: set them as they are meant to be.\n",
        sheet.printed_at, sheet.embassy
    );
    for one in &sheet.registries {
        // A text of its own takes whatever is written to it.
        let _ = write_one(&mut text, sheet, one, rpo);
    }
    text
}

fn write_one(text: &mut String, sheet: &TrustSheet, one: &RegistrySheet, rpo: Duration) -> std::fmt::Result {
    writeln!(text, "---")?;
    writeln!(text, "apiVersion: dataembassy.io/v1alpha1")?;
    writeln!(text, "kind: RegistryCustody")?;
    writeln!(text, "metadata:")?;
    writeln!(text, "  name: \"{}\"", one.registry)?;
    writeln!(text, "spec:")?;
    writeln!(text, "  embassyRef: {{name: \"{}\"}}", sheet.embassy)?;
    writeln!(text, "  registry: {{id: \"{}\"}}", one.registry)?;
    writeln!(text, "  signers:")?;
    for signer in &one.signers {
        writeln!(text, "    - publicKey: \"{}\"", signer.key)?;
        writeln!(text, "      fromSequence: {}", signer.from)?;
        if let Some(until) = signer.until {
            writeln!(text, "      untilSequence: {until}")?;
        }
    }
    writeln!(text, "  rpo: \"{rpo}\"")?;
    writeln!(text, "  retention: {{}}")?;
    if let Some(head) = one.source_head {
        writeln!(text, "  confirmedHead:")?;
        writeln!(text, "    sequence: {}", head.entry.sequence)?;
        writeln!(text, "    digest: \"{}\"", head.entry.digest)?;
    }
    Ok(())
}
