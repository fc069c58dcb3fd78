//! A store of two registries: each has copies in two terms, and a custody chain with proofs, a drill and an activation.

use std::collections::BTreeMap;

use dataembassy_ledger::chain::StoredVersion;
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, CustodyBody, Entry, EntryRef, Header, PartRef, ProofBody, ReportForms, ReportRef,
    SignedObject, SourceBody, TermBody,
};
use dataembassy_ledger::key::{CopyObject, ReportForm};
use dataembassy_ledger::manifest::{ManifestWriter, SegmentRecord};
use dataembassy_ledger::{
    CopyId, ObjectKey, PartNumber, RegistryId, SegmentNumber, Sha256Digest, SigningKey, VersionId,
};

use crate::sample::{
    at, copy, custodian_key, document, drill, embassy_key, genesis, home_key, reference, sequence, store_id,
    term,
};

/// The registries' ids.
pub(super) const REGISTRIES: [&str; 2] = ["population", "business"];
/// How many copies each has in term 1, and in term 2.
const COPIES: [u64; 2] = [1, 1];
/// How many segments each copy has.
const SEGMENTS: u64 = 2;

/// Every version of every object, oldest first.
pub(super) type Store = BTreeMap<String, Vec<StoredVersion>>;

/// The last entries that somebody outside the store remembers of a registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub(super) source: EntryRef,
    pub(super) custody: EntryRef,
}

/// A store, and what its reader remembers of it.
pub(super) struct Made {
    pub(super) store: Store,
    pub(super) heads: BTreeMap<RegistryId, Heads>,
    /// How many copies it has in all.
    pub(super) copies: usize,
}

impl Made {
    pub(super) fn new() -> Self {
        let mut made = Self {
            store: Store::new(),
            heads: BTreeMap::new(),
            copies: 0,
        };
        let embassy = document().sign(&custodian_key()).unwrap();
        made.put(&ObjectKey::Embassy, embassy.bytes);
        for (number, registry) in (1..).zip(REGISTRIES) {
            made.registry(registry.parse().unwrap(), number);
        }
        made
    }

    fn put(&mut self, key: &ObjectKey, bytes: Vec<u8>) -> VersionId {
        let version: VersionId = format!("v{}", self.store.len()).parse().unwrap();
        let stored = StoredVersion {
            version: version.clone(),
            bytes,
        };
        self.store.insert(key.to_string(), vec![stored]);
        version
    }

    fn registry(&mut self, id: RegistryId, mark: u8) {
        let mut chains = Chains {
            id: id.clone(),
            mark,
            in_term: 1,
            source: None,
            custody: None,
        };
        for _ in 0..COPIES[0] {
            chains.copy(self, &home_key());
        }
        chains.proof(self);
        chains.drill(self);
        chains.activation(self);
        for _ in 0..COPIES[1] {
            chains.copy(self, &embassy_key());
        }
        chains.proof(self);
        let (source, custody) = (chains.source.unwrap(), chains.custody.unwrap());
        self.heads.insert(id, Heads { source, custody });
    }
}

/// Both chains of a registry while they are written.
struct Chains {
    id: RegistryId,
    mark: u8,
    in_term: u64,
    source: Option<EntryRef>,
    custody: Option<EntryRef>,
}

impl Chains {
    fn header(&self, head: Option<EntryRef>) -> Header {
        let number = head.map_or(1, |head| head.sequence.get() + 1);
        Header {
            store_id: store_id(),
            registry: self.id.clone(),
            sequence: sequence(number),
            prev: head.map_or_else(genesis, |head| head.digest),
            term: term(self.in_term),
            at: at(i64::try_from(number).unwrap()),
        }
    }

    fn object(&self, copy: CopyId, object: CopyObject) -> ObjectKey {
        ObjectKey::Copy {
            registry: self.id.clone(),
            copy,
            object,
        }
    }

    fn copy(&mut self, made: &mut Made, signer: &SigningKey) {
        let header = self.header(self.source);
        let id = CopyId::from_bytes([self.mark * 16 + u8::try_from(header.sequence.get()).unwrap(); 16]);
        let mut manifest = ManifestWriter::new();
        for number in 1..=SEGMENTS {
            let number = SegmentNumber::new(number).unwrap();
            let bytes = format!("segment {number} of copy {id}, sealed").into_bytes();
            let (size, sha256) = (bytes.len() as u64, Sha256Digest::of(&bytes));
            let version = made.put(&self.object(id, CopyObject::Segment(number)), bytes);
            let record = SegmentRecord {
                number,
                version,
                size,
                sha256,
            };
            assert!(
                manifest.push(&record).unwrap().is_none(),
                "one part has room for it"
            );
        }
        let totals = CopyTotals {
            segments: manifest.segments(),
            sealed_bytes: manifest.sealed_bytes(),
        };
        let manifest = manifest.finish().unwrap();
        let manifest = self.part(made, id, CopyObject::Manifest(PartNumber::FIRST), manifest);
        let inventory = format!("inventory of copy {id}, sealed").into_bytes();
        let inventory = self.part(made, id, CopyObject::Inventory(PartNumber::FIRST), inventory);
        let body = CopyBody {
            copy_id: id,
            manifest: vec![manifest],
            inventory: vec![inventory],
            totals,
            ..copy(1)
        };
        let entry = Entry {
            header,
            body: SourceBody::Copy(Box::new(body)),
        };
        self.source = Some(commit(
            made,
            &entry.object_key(),
            entry.sign(signer).unwrap(),
            self.source,
        ));
        made.copies += 1;
    }

    fn part(&self, made: &mut Made, copy: CopyId, name: CopyObject, bytes: Vec<u8>) -> PartRef {
        let (size, sha256) = (bytes.len() as u64, Sha256Digest::of(&bytes));
        PartRef {
            name,
            version: made.put(&self.object(copy, name), bytes),
            size,
            sha256,
        }
    }

    fn custody(&mut self, made: &mut Made, body: CustodyBody) {
        let entry = Entry {
            header: self.header(self.custody),
            body,
        };
        let object = entry.sign(&custodian_key()).unwrap();
        self.custody = Some(commit(made, &entry.object_key(), object, self.custody));
    }

    fn proof(&mut self, made: &mut Made) {
        let proof = ProofBody::new(self.source.unwrap());
        self.custody(made, CustodyBody::Proof(proof));
    }

    fn drill(&mut self, made: &mut Made) {
        let order = format!("drill-{}", self.mark);
        let mut reports = [ReportForm::Json, ReportForm::Html].map(|form| {
            let bytes = format!("a report of {} as {form:?}", self.id).into_bytes();
            let (size, sha256) = (bytes.len() as u64, Sha256Digest::of(&bytes));
            let key = ObjectKey::Report {
                registry: self.id.clone(),
                order: order.parse().unwrap(),
                form,
            };
            Some(ReportRef {
                version: made.put(&key, bytes),
                size,
                sha256,
            })
        });
        let last = self.source.unwrap();
        let mut body = drill(last, 0, &order, true);
        body.copy_id = CopyId::from_bytes([self.mark * 16 + u8::try_from(last.sequence.get()).unwrap(); 16]);
        body.reports = ReportForms {
            json: reports[0].take().unwrap(),
            html: reports[1].take().unwrap(),
        };
        self.custody(made, CustodyBody::Drill(body));
    }

    fn activation(&mut self, made: &mut Made) {
        let opening = TermBody {
            source_head: self.source,
            next_term: term(self.in_term + 1),
            signer: embassy_key().public_key(),
            order: None,
            warrant: None,
        };
        self.custody(made, CustodyBody::Activation(opening));
        self.in_term += 1;
    }
}

fn commit(made: &mut Made, key: &ObjectKey, object: SignedObject, head: Option<EntryRef>) -> EntryRef {
    let reference = reference(head.map_or(1, |head| head.sequence.get() + 1), &object);
    made.put(key, object.bytes);
    reference
}
