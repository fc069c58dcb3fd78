//! The trust sheet: what one must know to believe a store again when every cluster is gone, as one signed text that is good on paper.
//!
//! It says which store it is, whose entries count, and where each registry's chains stood when it was printed. A sheet proves nothing by
//! itself: anybody can print one that names their own key. It is believed because it was kept on paper, and because somebody compares the
//! custodian key that it names with the one they were told.

mod read;
mod text;

use crate::activation::Approvers;
use crate::chain::{CustodianKey, SignerRange};
use crate::entry::EntryRef;
pub use crate::lines::{Expected, LineFault, MAX_LINE_BYTES, WrongLine};
use crate::signature::{PublicKey, Role, SignatureError, SigningError, SigningKey};
use crate::value::{
    BucketName, EmbassyName, RegistryId, Sequence, Sha256Digest, StoreEndpoint, StoreId, Term, Timestamp,
};

/// The value of `format` in a trust sheet.
pub const SHEET_FORMAT: &str = "dataembassy-trust-sheet/1";
/// The most bytes of a sheet, its signature included.
pub const MAX_SHEET_BYTES: usize = 1024 * 1024;
/// The most registries of a sheet: as many as a custodian keeps.
pub const MAX_REGISTRIES: usize = 512;
/// The most custodian keys, those in use and, for each registry, retired ones.
pub const MAX_CUSTODIANS: usize = 8;
/// The most signers of a registry in term 1.
pub const MAX_SIGNERS: usize = 16;
/// The most terms after the first of a registry: as many as a standing names.
pub const MAX_TERMS: usize = crate::entry::MAX_STANDING;

/// What a trust sheet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustSheet {
    /// When it was printed, by the printer's clock.
    pub printed_at: Timestamp,
    /// The name of the `DataEmbassy`.
    pub embassy: EmbassyName,
    /// Where the store was reached, and what it is at the embassy; home reaches a gate in front of it.
    pub endpoint: StoreEndpoint,
    /// The bucket.
    pub bucket: BucketName,
    /// The store's id.
    pub store_id: StoreId,
    /// The SHA-256 of its `embassy.json`.
    pub document: Sha256Digest,
    /// The custodian keys in use, 1 to [`MAX_CUSTODIANS`], none twice; one of them signs the sheet.
    pub custodians: Vec<PublicKey>,
    /// Who may order that registries are served from the embassy; none where nobody may.
    pub approvers: Option<Approvers>,
    /// The registries, 1 to [`MAX_REGISTRIES`], ascending by id.
    pub registries: Vec<RegistrySheet>,
}

/// What a trust sheet says of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySheet {
    /// Its id.
    pub registry: RegistryId,
    /// Whose source entries count in term 1, 1 to [`MAX_SIGNERS`].
    pub signers: Vec<SignerRange>,
    /// Whose source entries count in the terms 2, 3 and so on, as the custody chain says; at most [`MAX_TERMS`].
    pub terms: Vec<PublicKey>,
    /// Retired custodian keys and their last entry in this registry's custody chain, at most [`MAX_CUSTODIANS`].
    pub retired: Vec<RetiredCustodian>,
    /// The last source entry; none while there was none.
    pub source_head: Option<SourceHead>,
    /// The last custody entry; none while there was none.
    pub custody_head: Option<EntryRef>,
}

/// A retired custodian key and the last custody entry of a registry that it signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetiredCustodian {
    /// The key.
    pub key: PublicKey,
    /// Its last entry.
    pub until: Sequence,
}

/// The last entry of a source chain: its key has the term in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceHead {
    /// The term that it was written in.
    pub term: Term,
    /// The entry.
    pub entry: EntryRef,
}

/// A sheet whose signature is right, by one of the custodian keys that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSheet {
    /// What it says.
    pub sheet: TrustSheet,
    /// Who signed it. Whether that key is to be believed is the reader's question.
    pub signer: PublicKey,
}

/// Why a text is no trust sheet, or why one cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// It is too large.
    #[error(
        "trust sheet has {size} bytes, more than the {MAX_SHEET_BYTES} allowed: print several, each for some of the registries"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A line is not what must stand there.
    #[error("trust sheet, {0}; compare this line with the paper")]
    WrongLine(#[from] WrongLine),
    /// What the lines say together breaks a rule.
    #[error("trust sheet breaks a rule{}: {rule}", of_registry(.registry.as_ref()))]
    BrokenRule {
        /// The registry that it is about; none for the sheet as a whole.
        registry: Option<RegistryId>,
        /// The rule.
        rule: &'static str,
    },
    /// Its signature does not count.
    #[error(
        "trust sheet is not what was signed: {0}. If it was typed or scanned, compare every line with the paper; if it is the paper that \
         differs, do not believe this sheet"
    )]
    WrongSignature(#[from] SignatureError),
    /// It is signed by somebody else than a custodian that it names.
    #[error(
        "trust sheet is signed by {signer}, which is none of the custodian keys that it names: do not believe it"
    )]
    SignerNotNamed {
        /// Who signed it.
        signer: PublicKey,
    },
    /// The key cannot sign.
    #[error(transparent)]
    NotSigned(#[from] SigningError),
}

fn of_registry(registry: Option<&RegistryId>) -> String {
    registry.map_or_else(String::new, |registry| format!(" for registry {registry}"))
}

impl TrustSheet {
    /// The sheet with its signature, as it is printed. `key` must be one of the custodian keys that it names.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SheetError> {
        self.check()?;
        let signer = key.public_key();
        if !self.custodians.contains(&signer) {
            return Err(SheetError::SignerNotNamed { signer });
        }
        let mut text = self.to_string();
        text.push_str(&key.sign(Role::Store, text.as_bytes())?);
        check_size(text.len())?;
        Ok(text)
    }

    /// The custodian keys that count for one of its registries, those in use and retired ones.
    #[must_use]
    pub fn custodians_of(&self, registry: &RegistrySheet) -> Vec<CustodianKey> {
        let in_use = self.custodians.iter().map(|key| CustodianKey {
            key: *key,
            until: None,
        });
        let retired = registry.retired.iter().map(|retired| CustodianKey {
            key: retired.key,
            until: Some(retired.until),
        });
        in_use.chain(retired).collect()
    }

    /// The rules that no line breaks by itself.
    fn check(&self) -> Result<(), SheetError> {
        let broken = |rule| SheetError::BrokenRule { registry: None, rule };
        if !(1..=MAX_CUSTODIANS).contains(&self.custodians.len()) || has_twice(&self.custodians) {
            return Err(broken("it must name 1 to 8 custodian keys, none twice"));
        }
        if !(1..=MAX_REGISTRIES).contains(&self.registries.len()) {
            return Err(broken("it must name 1 to 512 registries"));
        }
        let ascending = |pair: &[RegistrySheet]| pair[0].registry < pair[1].registry;
        if !self.registries.windows(2).all(ascending) {
            return Err(broken("its registries must ascend by id, none twice"));
        }
        let approvers = self.approvers.iter().flat_map(Approvers::all);
        if approvers.clone().any(|one| !is_label(&one.name)) {
            return Err(broken(
                "an approver's name must have 1 to 63 characters of a-z, 0-9 and '-'",
            ));
        }
        if approvers.clone().any(|one| self.custodians.contains(&one.key)) {
            return Err(broken("a key must not be both an approver's and a custodian's"));
        }
        for one in &self.registries {
            one.check(&self.custodians)
                .map_err(|rule| SheetError::BrokenRule {
                    registry: Some(one.registry.clone()),
                    rule,
                })?;
        }
        Ok(())
    }
}

impl RegistrySheet {
    fn check(&self, custodians: &[PublicKey]) -> Result<(), &'static str> {
        let ranges: Vec<_> = self.signers.iter().map(|range| (range.key, range.from)).collect();
        if !(1..=MAX_SIGNERS).contains(&ranges.len()) || has_twice(&ranges) {
            return Err("it must have 1 to 16 signers, none twice with the same first entry");
        }
        if self
            .signers
            .iter()
            .any(|range| range.until.is_some_and(|until| until < range.from))
        {
            return Err("a signer's last entry must not come before its first");
        }
        if self.terms.len() > MAX_TERMS {
            return Err("it must have at most 64 terms after the first");
        }
        let retired: Vec<_> = self.retired.iter().map(|retired| retired.key).collect();
        if retired.len() > MAX_CUSTODIANS
            || has_twice(&retired)
            || retired.iter().any(|key| custodians.contains(key))
        {
            return Err("it must have at most 8 retired custodian keys, none twice and none that is in use");
        }
        let sources = self.signers.iter().map(|range| &range.key).chain(&self.terms);
        if sources
            .into_iter()
            .any(|key| custodians.contains(key) || retired.contains(key))
        {
            return Err("a key must not be both a signer's and a custodian's");
        }
        let last_term = self.terms.len() as u64 + 1;
        if self
            .source_head
            .is_some_and(|head| u64::from(head.term.get()) > last_term)
        {
            return Err("the last source entry must not be of a term that has no signer");
        }
        Ok(())
    }
}

/// Refuses what nobody reads.
fn check_size(size: usize) -> Result<(), SheetError> {
    if size > MAX_SHEET_BYTES {
        return Err(SheetError::TooLarge { size });
    }
    Ok(())
}

/// Whether a line has room for this name, and for nothing else.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn has_twice<T: PartialEq>(values: &[T]) -> bool {
    values
        .iter()
        .enumerate()
        .any(|(place, value)| values[..place].contains(value))
}
