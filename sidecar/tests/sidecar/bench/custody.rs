//! A custody chain that a test writes, entry by entry, as a custodian would.

use dataembassy_ledger::chain::{CustodianKey, CustodyView};
use dataembassy_ledger::entry::{
    Body as _, CustodyBody, CustodyEntry, EntryRef, Header, OpeningKind, ProofBody, SignedObject, TermBody,
};
use dataembassy_ledger::value::{Sequence, Sha256Digest, StoreId, Timestamp};
use dataembassy_ledger::{ObjectKey, Role, SigningKey};
use dataembassy_sidecar::store::ledger::read_document;
use dataembassy_sidecar::store::{PutOutcome, Store};

use super::{REGISTRY, registry, sequence, sha256};

/// The custodian's key of the tests.
pub fn custodian() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

/// The same as a reader trusts it.
pub fn trusted() -> Vec<CustodianKey> {
    vec![CustodianKey {
        key: custodian().public_key(),
        until: None,
    }]
}

pub fn custody_key(number: u64) -> ObjectKey {
    ObjectKey::Custody {
        registry: registry(),
        sequence: sequence(number),
    }
}

/// The folder of an entry on the store's disk, below the bucket.
pub fn custody_folder(number: u64) -> String {
    format!("registries/{REGISTRY}/custody/{number:012}")
}

/// A source entry that is nowhere, for proofs to name.
pub fn somewhere(number: u64) -> EntryRef {
    EntryRef {
        sequence: sequence(number),
        digest: sha256(&number.to_be_bytes()),
    }
}

/// A chain and what its entries say together.
pub struct CustodyWriter {
    pub store: Store,
    pub view: CustodyView,
    /// Signs what comes next.
    pub signer: SigningKey,
    store_id: StoreId,
    tip: Sha256Digest,
    next: Sequence,
}

impl CustodyWriter {
    /// At the beginning of a chain that is empty.
    pub async fn begin(store: Store) -> Self {
        let document = read_document(&store).await.unwrap();
        Self {
            store,
            view: CustodyView::new(),
            signer: custodian(),
            store_id: document.document.store_id,
            tip: document.digest,
            next: Sequence::FIRST,
        }
    }

    /// The next entry, signed and taken in, but not put.
    pub fn sign(&mut self, body: CustodyBody) -> (ObjectKey, SignedObject) {
        let object = self.sign_as(body, &self.signer);
        let entry = CustodyEntry::verify(&object.bytes).unwrap();
        self.view.apply(&entry).unwrap();
        let key = custody_key(self.next.get());
        self.tip = object.digest;
        self.next = self.next.next().unwrap();
        (key, object)
    }

    /// What would be the next entry, signed by somebody.
    pub fn sign_as(&self, body: CustodyBody, key: &SigningKey) -> SignedObject {
        let header = Header {
            store_id: self.store_id,
            registry: registry(),
            sequence: self.next,
            prev: self.tip,
            term: self.view.current_term(),
            at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
        };
        CustodyEntry { header, body }.sign(key).unwrap()
    }

    /// Writes the next entry.
    pub async fn write(&mut self, body: CustodyBody) {
        let (key, object) = self.sign(body);
        put(&self.store, &key, object).await;
    }

    /// A proof of this head that says what came before it.
    pub fn proof(&self, head: EntryRef) -> CustodyBody {
        CustodyBody::Proof(ProofBody {
            standing: Some(self.view.standing()),
            ..ProofBody::new(head)
        })
    }

    /// The opening of the next term.
    pub fn opening(&self, kind: OpeningKind, head: Option<EntryRef>, signer: &SigningKey) -> CustodyBody {
        let body = TermBody {
            source_head: head,
            next_term: self.view.current_term().next().unwrap(),
            signer: signer.public_key(),
            order: None,
            warrant: None,
        };
        match kind {
            OpeningKind::Activation => CustodyBody::Activation(body),
            OpeningKind::Release => CustodyBody::Release(body),
        }
    }
}

/// An entry as a newer version might write it: of a kind that this one does not know.
pub fn of_a_newer_version(object: &SignedObject, signer: &SigningKey) -> SignedObject {
    let text = std::str::from_utf8(&object.bytes).unwrap();
    let line = text.split_inclusive('\n').next().unwrap();
    let entry = CustodyEntry::verify(&object.bytes).unwrap().entry;
    let kind = |kind: &str| format!("\"kind\":\"{kind}\"");
    let line = line.replacen(&kind(entry.body.kind()), &kind("truce"), 1);
    let signature = signer.sign(Role::Custody, line.as_bytes()).unwrap();
    let bytes = [line.as_bytes(), signature.as_bytes()].concat();
    let digest = Sha256Digest::of(&bytes);
    SignedObject { bytes, digest }
}

/// Puts an entry whose place is free.
pub async fn put(store: &Store, key: &ObjectKey, object: SignedObject) {
    let outcome = store.put(key, object.bytes.into(), object.digest).await.unwrap();
    assert!(matches!(outcome, PutOutcome::Stored(_)), "{key}: {outcome:?}");
}
