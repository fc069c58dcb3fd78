//! What stands in a term that has ended, beyond its last entry. It does not count, and nobody should have put it there: home, which does not
//! know yet that it is fenced or does not care, past a gate that should have refused it.

use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{CustodyView, Opening};
use dataembassy_ledger::value::{RegistryId, Term};

use crate::custodian::finding::{Finding, Loss};
use crate::custodian::registry::listing::Listing;
use crate::store::{Store, StoreError};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(20);
/// Of so many of the latest terms that have ended the ends are looked at.
const TERMS: usize = 4;
/// The most objects of a term that are told.
const MAX_TOLD: usize = 8;

/// What was found behind the ends of terms.
#[derive(Debug, Default)]
pub struct LateEntries {
    findings: Vec<Finding>,
    /// How many terms had ended when it was looked last, and when the next look is due.
    looked: Option<(usize, Instant)>,
}

impl LateEntries {
    /// What is wrong, as the last look found it.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Looks behind the ends of the latest terms, if it is time.
    pub async fn look(
        &mut self,
        store: &Store,
        registry: &RegistryId,
        view: &CustodyView,
    ) -> Result<(), StoreError> {
        let now = Instant::now();
        let openings = view.openings();
        let is_recent = |(ended, due): &(usize, Instant)| *ended == openings.len() && now < *due;
        if openings.is_empty() || self.looked.as_ref().is_some_and(is_recent) {
            return Ok(());
        }
        let mut findings = Vec::new();
        for opening in openings.iter().rev().take(TERMS) {
            findings.extend(behind(store, registry, view, opening).await?);
        }
        self.findings = findings;
        self.looked = Some((openings.len(), now + PERIOD));
        Ok(())
    }
}

/// What stands behind the end of the term before an opening.
async fn behind(
    store: &Store,
    registry: &RegistryId,
    view: &CustodyView,
    opening: &Opening,
) -> Result<Vec<Finding>, StoreError> {
    let Ok(ended) = Term::new(u64::from(opening.term.get()) - 1) else {
        return Ok(Vec::new());
    };
    // The term before may have ended without an entry of its own: then its head stands in an earlier one.
    let head = opening
        .source_head
        .filter(|head| view.term_of(head.sequence) == ended);
    let marker = head.map(|head| {
        let sequence = head.sequence;
        let registry = registry.clone();
        let key = ObjectKey::Source {
            registry,
            term: ended,
            sequence,
        };
        key.to_string()
    });
    let prefix = format!("{}{:04}-", ObjectKey::source_prefix(registry), ended.get());
    let mut listing = Listing::new(store, &prefix, marker);
    let mut findings = Vec::new();
    while findings.len() < MAX_TOLD
        && let Some(group) = listing.next().await?
    {
        let Ok(ObjectKey::Source { sequence, .. }) = group.key.parse() else {
            continue;
        };
        findings.push(Finding {
            reason: Reason::LateEntry,
            sequence: Some(sequence),
            what: format!(
                "{} stands in term {ended}, which custody entry {} has ended before it: it does not count, and makes no copy",
                group.key, opening.entry.sequence
            ),
            lost: Loss::Nothing,
        });
    }
    Ok(findings)
}
