//! `store trust-sheet`: prints what one must know to believe the store again when every cluster is gone, and checks such a sheet.
//!
//! [`desk`] finds out where the store is and whom to trust, [`printing`] reads the ledgers and refuses what it cannot vouch for, [`checking`]
//! holds a sheet against the store, [`custodies`] makes of it what an empty embassy starts from. A sheet is believed because it was kept on
//! paper, and because a person compares the custodian key on it: nothing here can do that for them, so what takes a sheet's word for
//! something asks for the key.

mod checking;
mod custodies;
mod desk;
mod printing;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use dataembassy_contract::duration;
use dataembassy_ledger::trust_sheet::{MAX_SHEET_BYTES, VerifiedSheet};
use dataembassy_ledger::value::EmbassyName;
use dataembassy_ledger::{PublicKey, RegistryId, TrustSheet};

pub use checking::{Checked, Finding, check};
pub use custodies::custodies;
pub use desk::{Desk, NamedApprover, NamedSigner, Wanted};
pub use printing::{PrintError, print};

use crate::store::arguments::OptionalStore;

/// Command line of `dataembassy-sidecar store trust-sheet`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Checks the sheet in this file instead of printing one: its signature and, where a store is named, whether that still holds every
    /// entry that the sheet names. `/dev/stdin` is a file too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "signing_key", "signers", "approvers", "embassy"])]
    verify: Option<PathBuf>,
    /// With --verify: prints, instead of words, the `RegistryCustody` resources that an empty embassy starts from, for `kubectl apply`. Whom
    /// to trust then comes from the sheet, so --custodian-key must name its signer.
    #[arg(long, requires_all = ["verify", "custodian_keys"])]
    custodies: bool,
    /// With --custodies: `spec.rpo` of the resources, which is not on the sheet.
    #[arg(long, default_value = "24h", requires = "custodies")]
    rpo: duration::Duration,
    /// A folder with a custodian's configuration and secrets, `/etc/dataembassy` in its pod: it says all that the other flags would.
    #[arg(long, conflicts_with_all = ["endpoint", "signing_key", "signers", "approvers", "embassy"])]
    config_dir: Option<PathBuf>,
    /// Only this registry. Given once for each. Default: all that the configuration, --signer or the sheet names.
    #[arg(long = "registry")]
    registries: Vec<RegistryId>,
    /// The custodian's private key, OpenSSH form, which signs the sheet.
    #[arg(long)]
    signing_key: Option<PathBuf>,
    /// A public key of the custodian: 'ssh-ed25519 AAAA…'. Given once for each. To print, those in use beside the signing key. To check, those
    /// that you were told on another way than by the sheet: it must be signed by one of them.
    #[arg(long = "custodian-key", value_name = "KEY")]
    custodian_keys: Vec<PublicKey>,
    /// To print without a configuration: a registry and a public key that signs its entries, 'population=ssh-ed25519 AAAA…', and where
    /// the key may sign only some of them, which: 'population=ssh-ed25519 AAAA… 1-41' or '42-'. Given once for each key.
    #[arg(long = "signer", value_name = "REGISTRY=KEY")]
    signers: Vec<NamedSigner>,
    /// To print without a configuration: somebody who may order an activation, 'chief-justice=ssh-ed25519 AAAA…'. Given once for each. Default:
    /// nobody may.
    #[arg(long = "approver", value_name = "NAME=KEY", requires = "approvals")]
    approvers: Vec<NamedApprover>,
    /// How many of the approvers must sign an order.
    #[arg(long, value_name = "NUMBER", requires = "approvers")]
    approvals: Option<usize>,
    /// To print without a configuration: the name of the `DataEmbassy`.
    #[arg(long)]
    embassy: Option<EmbassyName>,
    #[command(flatten)]
    store: OptionalStore,
    /// A new file that the sheet is written to. Default: it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What a command found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is to be printed.
    pub printed: String,
    /// Whether all is well, or what is not.
    pub verdict: Result<(), String>,
}

/// Runs `store trust-sheet`.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Told> {
    match &arguments.verify {
        Some(path) => verify(path, arguments).await,
        None => print_to(arguments).await,
    }
}

async fn print_to(arguments: &Arguments) -> anyhow::Result<Told> {
    let desk = Desk::to_print(arguments)?;
    let sheet = print(&desk, jiff::Timestamp::now()).await?;
    let text = sheet.sign(&desk.signer)?;
    let printed = match &arguments.out {
        Some(path) => {
            write_new(path, &text)?;
            let count = sheet.registries.len();
            format!("trust sheet of {count} registries written to {}", path.display())
        }
        None => text,
    };
    Ok(Told {
        printed,
        verdict: Ok(()),
    })
}

async fn verify(path: &Path, arguments: &Arguments) -> anyhow::Result<Told> {
    let mut read = read_sheet(path)?;
    let trusted = &arguments.custodian_keys;
    ensure!(
        trusted.is_empty() || trusted.contains(&read.signer),
        "the trust sheet is signed by {}, which is not the key that you gave: do not believe it",
        read.signer
    );
    let sheet = &mut read.sheet;
    for wanted in &arguments.registries {
        let is_there = sheet.registries.iter().any(|one| one.registry == *wanted);
        ensure!(is_there, "the trust sheet does not name registry {wanted}");
    }
    let is_wanted =
        |registry: &RegistryId| arguments.registries.is_empty() || arguments.registries.contains(registry);
    sheet.registries.retain(|one| is_wanted(&one.registry));
    let store = desk::store(arguments)?;
    let checked = match &store {
        Some(store) => Some(check(store, sheet).await?),
        None => None,
    };
    let verdict = checked.as_ref().map_or(Ok(()), Checked::verdict);
    let printed = match (arguments.custodies, &verdict) {
        (true, Ok(())) => custodies(&read, arguments.rpo),
        _ => described(&read, !trusted.is_empty(), checked.as_ref()),
    };
    Ok(Told { printed, verdict })
}

/// What a sheet says, in words, and what the store says to it.
fn described(read: &VerifiedSheet, is_trusted: bool, checked: Option<&Checked>) -> String {
    let (sheet, signer) = (&read.sheet, read.signer);
    let mut lines = vec![
        format!(
            "trust sheet of {} for embassy {}, store {}",
            sheet.printed_at, sheet.embassy, sheet.store_id
        ),
        if is_trusted {
            format!("signed by {signer}, as you said")
        } else {
            format!("signed by {signer}: compare this key, letter by letter, with the one that you were told")
        },
    ];
    lines.push(match &sheet.approvers {
        Some(approvers) => {
            let names: Vec<_> = approvers.all().iter().map(|one| one.name.as_str()).collect();
            let required = approvers.required();
            format!(
                "{required} of these must sign an activation: {}",
                names.join(", ")
            )
        }
        None => "nobody may order an activation".to_owned(),
    });
    for (place, one) in sheet.registries.iter().enumerate() {
        let stood = |head: Option<u64>| head.map_or_else(|| "none".to_owned(), |head| head.to_string());
        let source = one.source_head.map(|head| head.entry.sequence.get());
        let custody = one.custody_head.map(|head| head.sequence.get());
        let mut line = format!(
            "registry {}: last source entry {}, last custody entry {}",
            one.registry,
            stood(source),
            stood(custody)
        );
        if let Some(finding) = checked.and_then(|checked| checked.findings.get(place)) {
            line.push_str("; ");
            line.push_str(&finding.to_string());
        }
        lines.push(line);
    }
    if checked.is_none() {
        lines
            .push("no store was named, so whether it still holds these entries was not looked at".to_owned());
    }
    lines.join("\n")
}

fn read_sheet(path: &Path) -> anyhow::Result<VerifiedSheet> {
    let unreadable = || format!("{} cannot be read", path.display());
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let mut bytes = Vec::new();
    let limit = MAX_SHEET_BYTES as u64 + 1;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, limit), &mut bytes).with_context(unreadable)?;
    TrustSheet::verify(&bytes).with_context(|| path.display().to_string())
}

/// An older sheet is never written over: it may be the only record of a head.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} cannot be made: give the name of a new file", path.display()))
}
