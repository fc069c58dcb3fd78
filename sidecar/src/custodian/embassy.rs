//! The store as a whole: can it be reached, is it set up as it must be, is it the one that was agreed on, and whose registries does it have.
//! Its document is kept locked for as long as it is kept, which is for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_ledger::store_document::VerifiedStoreDocument;
use dataembassy_ledger::{ObjectKey, RegistryId};
use jiff::Timestamp;

use super::configuration::{Configuration, LockRule};
use super::prolonging::{Aim, secure};
use crate::store::ledger::read_document;
use crate::store::{LedgerError, Store, StoreError, clocks_agree, judge_clock, probe};

/// Parts of the lock's length: after an eighth, the document's lock is looked at again.
const LOOK_PARTS: u32 = 8;
/// Before it is tried again to prolong it.
const RETRY: Duration = Duration::from_mins(1);

/// What a look at the store found.
#[derive(Debug, Default)]
pub struct StoreLook {
    /// `embassy.json`, if it could be read and names a custodian that the configuration names.
    pub document: Option<VerifiedStoreDocument>,
    /// Registries that the store has and nobody accepted.
    pub unknown: Option<Vec<String>>,
    /// For how many days the bucket locks what comes, if it does as it must.
    pub locked_days: Option<u64>,
    /// The store's clock minus ours, in seconds.
    pub clock_difference: Option<i64>,
    /// Whether the clocks agree well enough for entries.
    pub clocks_agree: bool,
    /// The first thing that is wrong.
    pub fault: Option<(Reason, String)>,
}

/// Looks at the store. One thing that is wrong does not keep the others from being looked at.
pub async fn look(store: &Store, configuration: &Configuration) -> StoreLook {
    let mut look = StoreLook::default();
    let document = read_checked_document(store, configuration).await;
    match document {
        Ok(document) => look.document = Some(document),
        Err(error) => look.note(error.reason(), error.to_string()),
    }
    match probe(store, configuration.requirements).await {
        Ok(report) => look.locked_days = Some(report.locked_days),
        Err(error) => look.note(error.reason(), error.to_string()),
    }
    match unknown_registries(store, configuration).await {
        Ok(unknown) => look.unknown = Some(unknown),
        Err(error) => look.note(error.reason(), error.to_string()),
    }
    let ahead = store.clock_ahead();
    look.clock_difference = ahead.map(|ahead| ahead / 1_000);
    // By what was measured, and not by what is told: of several faults only the first is.
    look.clocks_agree = ahead.is_some_and(clocks_agree);
    // A store may tell the right time to who asks about its bucket, and another to who reads.
    if let Some(Err(error)) = ahead.map(judge_clock) {
        look.note(error.reason(), error.to_string());
    }
    look
}

impl StoreLook {
    fn note(&mut self, reason: Reason, message: String) {
        self.fault.get_or_insert((reason, message));
    }
}

/// Prolongs the lock of `embassy.json`, as those of entries; returns how long it takes until that is to be done again.
pub async fn keep_document(store: &Store, rule: &LockRule) -> Duration {
    match prolong_document(store, rule, Timestamp::now()).await {
        Ok(()) => rule.length / LOOK_PARTS,
        Err(error) => {
            tracing::error!(reason = %error.reason(), %error, "the lock of embassy.json cannot be prolonged");
            RETRY
        }
    }
}

async fn prolong_document(store: &Store, rule: &LockRule, now: Timestamp) -> Result<(), StoreError> {
    let rule = rule.of_entries();
    let versions = store.versions_of(&ObjectKey::Embassy).await?;
    // There should be one; which of several counts is judged where it is read.
    for version in versions.iter().filter(|version| !version.is_delete_marker) {
        if let Some(id) = &version.version {
            secure(store, &ObjectKey::Embassy, id, &rule, Aim::of(&rule, now)).await?;
        }
    }
    Ok(())
}

async fn read_checked_document(
    store: &Store,
    configuration: &Configuration,
) -> Result<VerifiedStoreDocument, LedgerError> {
    let document = read_document(store).await?;
    let named = document.document.custodian_key;
    if configuration.custodians.contains(&named) {
        Ok(document)
    } else {
        Err(LedgerError::OtherStore {
            found: named.to_string(),
        })
    }
}

async fn unknown_registries(
    store: &Store,
    configuration: &Configuration,
) -> Result<Vec<String>, LedgerError> {
    let folders = store.folders("registries/").await?;
    let accepted: BTreeSet<&str> = configuration
        .registries
        .iter()
        .map(|one| one.registry.as_str())
        .collect();
    // A store is probed in registries of its own, which are nobody's.
    let is_for_checks = |name: &str| name.parse::<RegistryId>().is_ok_and(|id| id.is_for_checks());
    let unknown = folders.names.into_iter();
    Ok(unknown
        .filter(|name| !accepted.contains(name.as_str()) && !is_for_checks(name))
        .collect())
}
