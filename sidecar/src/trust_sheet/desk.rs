//! Where the store is and whom to trust: from a custodian's configuration, or from flags.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_ledger::activation::{Approver, Approvers};
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{EmbassyName, Sequence};
use dataembassy_ledger::{PublicKey, RegistryId, SigningKey};

use super::Arguments;
use crate::custodian::configuration::{Configuration, NAMES, RegistrySettings};
use crate::process::folder::Files;
use crate::store::Store;
use crate::store::arguments::read_text;

/// What it takes to print a sheet.
#[derive(Debug)]
pub struct Desk {
    /// The store.
    pub store: Store,
    /// The name of the `DataEmbassy`.
    pub embassy: EmbassyName,
    /// Signs the sheet.
    pub signer: SigningKey,
    /// The custodian keys in use.
    pub custodians: Vec<PublicKey>,
    /// Who may order an activation; none where nobody may.
    pub approvers: Option<Approvers>,
    /// The registries.
    pub registries: Vec<Wanted>,
}

/// A registry that is to be printed, and whom to believe about it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its id.
    pub registry: RegistryId,
    /// Whose source entries count in term 1.
    pub signers: Vec<SignerRange>,
    /// Whose custody entries count.
    pub custodians: Vec<CustodianKey>,
    /// The last known head of the source chain.
    pub source_floor: Option<EntryRef>,
    /// The last known head of the custody chain.
    pub custody_floor: Option<EntryRef>,
    /// Whether who prints should have one of the two: a custodian knows where a ledger stood before, or a person has to say so.
    pub must_be_witnessed: bool,
}

/// A registry and a key that signs its entries, as the command line names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSigner {
    /// The registry.
    pub registry: RegistryId,
    /// The key and the entries that it may sign.
    pub range: SignerRange,
}

impl FromStr for NamedSigner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it like 'population=ssh-ed25519 AAAA…', with '1-41' or '42-' behind where the key signs only these";
        let (registry, rest) = text.split_once('=').ok_or(FORM)?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (key, range) = match words[..] {
            [algorithm, key] => (format!("{algorithm} {key}"), None),
            [algorithm, key, range] => (format!("{algorithm} {key}"), Some(range)),
            _ => return Err(FORM.to_owned()),
        };
        let key = key.parse::<PublicKey>().map_err(|error| error.to_string())?;
        let mut signer = SignerRange::always(key);
        if let Some(range) = range {
            let number = |digits: &str| {
                let number = digits.parse::<u64>().map_err(|_| FORM.to_owned())?;
                Sequence::new(number).map_err(|error| error.to_string())
            };
            let (from, until) = range.split_once('-').ok_or(FORM)?;
            signer.from = number(from)?;
            signer.until = (!until.is_empty()).then(|| number(until)).transpose()?;
        }
        Ok(Self {
            registry: registry
                .parse::<RegistryId>()
                .map_err(|error| error.to_string())?,
            range: signer,
        })
    }
}

/// Somebody who may order an activation, as the command line names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedApprover(Approver);

impl FromStr for NamedApprover {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it like 'chief-justice=ssh-ed25519 AAAA…'";
        let (name, key) = text.split_once('=').ok_or(FORM)?;
        Ok(Self(Approver {
            name: name.to_owned(),
            key: key.parse::<PublicKey>().map_err(|error| error.to_string())?,
        }))
    }
}

/// The store, where one is named.
pub(super) fn store(arguments: &Arguments) -> anyhow::Result<Option<Store>> {
    if let Some(folder) = &arguments.config_dir {
        return Ok(Some(connect(&configuration(folder, arguments.store.loopback)?)?));
    }
    let given = arguments.store.given.as_ref();
    given.map(crate::store::StoreArguments::connect).transpose()
}

fn configuration(folder: &Path, loopback: Loopback) -> anyhow::Result<Configuration> {
    let files = Files::read(folder, NAMES);
    Configuration::judge(&files, loopback)
        .with_context(|| format!("the configuration in {}", folder.display()))
}

fn connect(configuration: &Configuration) -> anyhow::Result<Store> {
    Ok(Store::connect(&configuration.store, &configuration.keys)?)
}

impl Desk {
    /// Judges what the command line says.
    pub(super) fn to_print(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut desk = match &arguments.config_dir {
            Some(folder) => Self::from_configuration(&configuration(folder, arguments.store.loopback)?)?,
            None => Self::from_flags(arguments)?,
        };
        for wanted in &arguments.registries {
            let is_there = desk.registries.iter().any(|one| one.registry == *wanted);
            ensure!(
                is_there,
                "registry {wanted} is not known here: accept it with a RegistryCustody, or name who signs its entries with --signer"
            );
        }
        let is_wanted = |registry: &RegistryId| {
            arguments.registries.is_empty() || arguments.registries.contains(registry)
        };
        desk.registries.retain(|one| is_wanted(&one.registry));
        ensure!(
            !desk.registries.is_empty(),
            "there is no registry to print: accept one with a RegistryCustody, or name who signs its entries with --signer"
        );
        Ok(desk)
    }

    fn from_configuration(configuration: &Configuration) -> anyhow::Result<Self> {
        let signer = configuration.signer.clone();
        // Retired keys differ from registry to registry; those in use are the same for each.
        let mut custodians = vec![signer.public_key()];
        for one in configuration.registries.iter().flat_map(|one| &one.custodians) {
            if one.until.is_none() && !custodians.contains(&one.key) {
                custodians.push(one.key);
            }
        }
        let wanted = |one: &Arc<RegistrySettings>| Wanted {
            registry: one.registry.clone(),
            signers: one.signers.clone(),
            custodians: one.custodians.clone(),
            source_floor: one.source_floor.max(one.confirmed_head),
            custody_floor: one.custody_floor,
            must_be_witnessed: true,
        };
        if let Some(other) = configuration.registries.iter().find(|one| !one.may_sign) {
            anyhow::bail!(
                "the custodian's key {} is not among the DataEmbassy's custodianKeys in use, so nobody would believe a sheet of {} that \
                 it signs: add it there, or give the secret whose key is there",
                signer.public_key(),
                other.registry
            );
        }
        Ok(Self {
            store: connect(configuration)?,
            embassy: configuration.embassy.parse()?,
            signer,
            custodians,
            approvers: configuration.approvers.clone(),
            registries: configuration.registries.iter().map(wanted).collect(),
        })
    }

    fn from_flags(arguments: &Arguments) -> anyhow::Result<Self> {
        let store = store(arguments)?
            .context("say where the store is: --config-dir /etc/dataembassy in a custodian's pod, or --endpoint and the flags beside it")?;
        let key = arguments.signing_key.as_ref();
        let key = key.context("say which key signs the sheet: --signing-key, the custodian's private key")?;
        let signer = SigningKey::from_openssh(&read_text(key)?)?;
        let embassy = arguments.embassy.clone();
        let embassy = embassy.context("say what the DataEmbassy is called: --embassy")?;
        let mut custodians = vec![signer.public_key()];
        for key in &arguments.custodian_keys {
            if !custodians.contains(key) {
                custodians.push(*key);
            }
        }
        let trusted = custodians.iter().map(|key| CustodianKey {
            key: *key,
            until: None,
        });
        let trusted: Vec<CustodianKey> = trusted.collect();
        let mut registries: BTreeMap<RegistryId, Vec<SignerRange>> = BTreeMap::new();
        for one in &arguments.signers {
            registries
                .entry(one.registry.clone())
                .or_default()
                .push(one.range.clone());
        }
        let wanted = |(registry, signers)| Wanted {
            registry,
            signers,
            custodians: trusted.clone(),
            source_floor: None,
            custody_floor: None,
            must_be_witnessed: false,
        };
        Ok(Self {
            store,
            embassy,
            signer,
            registries: registries.into_iter().map(wanted).collect(),
            custodians,
            approvers: approvers(arguments)?,
        })
    }
}

fn approvers(arguments: &Arguments) -> anyhow::Result<Option<Approvers>> {
    if arguments.approvers.is_empty() {
        return Ok(None);
    }
    let all = arguments.approvers.iter().map(|NamedApprover(one)| one.clone());
    let required = arguments.approvals;
    let required = required.context("say how many of the approvers must sign an order: --approvals")?;
    Ok(Some(Approvers::new(all.collect(), required)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_is_named_with_its_registry_and_the_entries_that_it_may_sign() {
        let key = SigningKey::from_seed(&[1; 32]).public_key();
        let named = |text: &str| text.parse::<NamedSigner>();
        let always = named(&format!("population={key}")).unwrap();
        assert_eq!(always.registry.as_str(), "population");
        assert_eq!(always.range, SignerRange::always(key));
        let range = |text: &str| {
            let range = named(&format!("population={key} {text}")).unwrap().range;
            (range.from.get(), range.until.map(Sequence::get))
        };
        assert_eq!(range("1-41"), (1, Some(41)));
        assert_eq!(range("42-"), (42, None));
        for wrong in [
            "population".to_owned(),
            format!("p={key}"),
            "population=ssh-rsa AAAA".to_owned(),
            format!("population={key} 41"),
            format!("population={key} 0-"),
            format!("population={key} 1-2 3"),
        ] {
            assert!(named(&wrong).is_err(), "{wrong}");
        }
    }
}
