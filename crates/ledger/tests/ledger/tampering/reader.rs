//! Reads a whole store as somebody does who remembers the heads and nothing else: both chains, and every byte that they name.

use std::collections::BTreeSet;

use dataembassy_ledger::chain::{
    Authority, CustodianKey, CustodyAuthority, CustodyChain, CustodyView, Found, SignerRange,
    SourceAuthority, SourceChain, Start, StoredVersion, Walk,
};
use dataembassy_ledger::entry::{Body, CopyBody, CustodyBody, SourceBody};
use dataembassy_ledger::key::{CopyObject, ReportForm};
use dataembassy_ledger::manifest::ManifestReader;
use dataembassy_ledger::{CopyId, ObjectKey, RegistryId, Sequence, Sha256Digest, StoreDocument, VersionId};

use super::made::{Heads, Made, Store};
use crate::sample::{custodian_key, genesis, home_key, store_id};

/// What a reader says of a store.
#[derive(Default)]
pub(super) struct Verdict {
    /// What is wrong, in words.
    pub(super) findings: Vec<String>,
    /// The copies that are whole: their places, their ids, and the digests of their manifests.
    pub(super) intact: Vec<(Sequence, CopyId, Sha256Digest)>,
}

/// Reads a store that may not be what it was when `made` was made. A registry of which every byte is as it was in a store that was found whole
/// `before` is not read again: signatures take their time.
pub(super) fn read(made: &Made, store: &Store, before: &Store) -> Verdict {
    let mut reading = Reading {
        store,
        named: BTreeSet::new(),
        verdict: Verdict::default(),
    };
    reading.embassy();
    for (registry, heads) in &made.heads {
        let prefix = ObjectKey::registry_prefix(registry);
        if of(store, &prefix).eq(of(before, &prefix)) {
            let keys = store.keys().filter(|key| key.starts_with(&prefix));
            reading.named.extend(keys.cloned());
        } else {
            reading.registry(registry, *heads);
        }
    }
    reading.strangers();
    reading.verdict
}

/// Every version of every object below a prefix.
fn of<'a>(
    store: &'a Store,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a String, Vec<(&'a VersionId, &'a [u8])>)> {
    let below = store.iter().filter(move |(key, _)| key.starts_with(prefix));
    below.map(|(key, versions)| {
        let versions = versions.iter().map(|stored| (&stored.version, &*stored.bytes));
        (key, versions.collect())
    })
}

struct Reading<'a> {
    store: &'a Store,
    /// The keys that somebody with authority named.
    named: BTreeSet<String>,
    verdict: Verdict,
}

impl Reading<'_> {
    fn find(&mut self, what: &impl ToString) {
        self.verdict.findings.push(what.to_string());
    }

    fn versions(&self, key: &str) -> &[StoredVersion] {
        self.store.get(key).map_or(&[], Vec::as_slice)
    }

    fn embassy(&mut self) {
        let key = ObjectKey::Embassy.to_string();
        match self.versions(&key) {
            [only] => match StoreDocument::verify(&only.bytes) {
                Ok(verified) if verified.digest == genesis() => {}
                Ok(_) => self.find(&"it is another store"),
                Err(error) => self.find(&error),
            },
            versions => {
                let what = format!("{key} has {} versions", versions.len());
                self.find(&what);
            }
        }
        self.named.insert(key);
    }

    fn registry(&mut self, registry: &RegistryId, heads: Heads) {
        let custodians = vec![CustodianKey {
            key: custodian_key().public_key(),
            until: None,
        }];
        let genesis = Start::Genesis(genesis());
        let authority = CustodyAuthority::new(custodians.clone());
        let chain = CustodyChain::new(store_id(), registry.clone(), authority, genesis);
        let (mut view, mut reports) = (CustodyView::new(), Vec::new());
        self.walk(chain.with_floor(Some(heads.custody)), |reading, found| {
            if let Err(error) = view.apply(&found.entry) {
                reading.find(&error);
            }
            if let CustodyBody::Drill(drill) = &found.entry.entry.body {
                reports.push(drill.clone());
            }
        });
        for drill in reports {
            for (form, report) in [
                (ReportForm::Json, &drill.reports.json),
                (ReportForm::Html, &drill.reports.html),
            ] {
                let key = ObjectKey::Report {
                    registry: registry.clone(),
                    order: drill.order.clone(),
                    form,
                };
                self.part(&key, &report.version, report.size, report.sha256);
            }
        }

        let signers = vec![SignerRange::always(home_key().public_key())];
        let authority = match SourceAuthority::new(signers, &custodians, view) {
            Ok(authority) => authority,
            Err(error) => return self.find(&error),
        };
        let chain = SourceChain::new(store_id(), registry.clone(), authority, genesis);
        let mut copies = Vec::new();
        self.walk(chain.with_floor(Some(heads.source)), |_, found| {
            let SourceBody::Copy(copy) = &found.entry.entry.body;
            copies.push((found.entry.entry.header.sequence, (**copy).clone()));
        });
        for (sequence, copy) in copies {
            if self.is_whole(registry, &copy) {
                let manifest = copy.manifest[0].sha256;
                self.verdict.intact.push((sequence, copy.copy_id, manifest));
            }
        }
    }

    /// Follows a chain to its end, and gives every entry that counts, in order.
    fn walk<B, A>(&mut self, mut chain: Walk<B, A>, mut take: impl FnMut(&mut Self, &Found<B>))
    where
        B: Body,
        A: Authority<B>,
    {
        while let Some(key) = chain.next() {
            let name = key.to_string();
            let versions = self.store.get(&name).cloned().unwrap_or_default();
            let step = chain.offer(&versions);
            self.named.insert(name);
            for alarm in step.alarms {
                self.find(&alarm);
            }
            for found in &step.decided {
                take(self, found);
            }
            if !step.advanced {
                break;
            }
        }
        if let Some(head) = chain.head() {
            take(self, head);
        }
        let beyond = self.store.keys().filter_map(|key| key.parse().ok());
        let gaps: Vec<_> = beyond.filter_map(|key: ObjectKey| chain.beyond(&key)).collect();
        for alarm in gaps.into_iter().chain(chain.rolled_back()) {
            self.find(&alarm);
        }
    }

    fn is_whole(&mut self, registry: &RegistryId, copy: &CopyBody) -> bool {
        let key = |object| ObjectKey::Copy {
            registry: registry.clone(),
            copy: copy.copy_id,
            object,
        };
        let mut is_whole = true;
        for part in &copy.inventory {
            is_whole &= self
                .part(&key(part.name), &part.version, part.size, part.sha256)
                .is_some();
        }
        let (mut reader, mut records) = (ManifestReader::new(), Vec::new());
        for part in &copy.manifest {
            let Some(bytes) = self.part(&key(part.name), &part.version, part.size, part.sha256) else {
                is_whole = false;
                continue;
            };
            match reader.read_part(&bytes) {
                Ok(of_part) => records.extend(of_part),
                Err(error) => {
                    is_whole = false;
                    self.find(&error);
                }
            }
        }
        for record in records {
            let key = key(CopyObject::Segment(record.number));
            is_whole &= self
                .part(&key, &record.version, record.size, record.sha256)
                .is_some();
        }
        is_whole
            && reader.segments() == copy.totals.segments
            && reader.sealed_bytes() == copy.totals.sealed_bytes
    }

    /// Reads one object back; its bytes, if they are those that were named.
    fn part(
        &mut self,
        key: &ObjectKey,
        version: &VersionId,
        size: u64,
        sha256: Sha256Digest,
    ) -> Option<Vec<u8>> {
        let name = key.to_string();
        let versions = self.store.get(&name).cloned().unwrap_or_default();
        if versions.len() > 1 {
            let what = format!("{name} has {} versions", versions.len());
            self.find(&what);
        }
        let found = versions.into_iter().find(|stored| stored.version == *version);
        let is_it = |stored: &StoredVersion| {
            stored.bytes.len() as u64 == size && Sha256Digest::of(&stored.bytes) == sha256
        };
        let bytes = match found {
            Some(stored) if is_it(&stored) => Some(stored.bytes),
            Some(_) => {
                self.find(&format!("{name} is not what the ledger names"));
                None
            }
            None => {
                self.find(&format!("{name} is missing"));
                None
            }
        };
        self.named.insert(name);
        bytes
    }

    /// What nobody has named does not count, and is told.
    fn strangers(&mut self) {
        let strangers: Vec<_> = self
            .store
            .keys()
            .filter(|key| !self.named.contains(*key))
            .map(|key| format!("nobody has named {key}"))
            .collect();
        self.verdict.findings.extend(strangers);
    }
}
