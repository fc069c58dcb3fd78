//! A store, keys and entries to test with. Everything is fixed, so objects are the same on each run.

use dataembassy_ledger::chain::StoredVersion;
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, CustodyBody, CustodyEntry, DrillBody, Engine, Entry, EntryRef, ExpiredCopy, Header,
    PartRef, ReportBody, ReportForms, ReportOutcome, ReportRef, SignedObject, SourceBody, SourceEntry,
    SourceIdentity, VoidBody,
};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::{
    CopyId, PartNumber, RegistryId, Role, Sequence, Sha256Digest, SigningKey, StoreDocument, StoreId, Term,
    Timestamp,
};

pub(crate) fn home_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(crate) fn custodian_key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub(crate) fn embassy_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

pub(crate) fn stranger_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

pub(crate) fn store_id() -> StoreId {
    StoreId::from_bytes([0x5e; 16])
}

pub(crate) fn registry() -> RegistryId {
    "population".parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_000_000_000 + second * 1000).unwrap()
}

pub(crate) fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

pub(crate) fn term(number: u64) -> Term {
    Term::new(number).unwrap()
}

pub(crate) fn document() -> StoreDocument {
    StoreDocument {
        store_id: store_id(),
        custodian_key: custodian_key().public_key(),
        at: at(0),
    }
}

pub(crate) fn genesis() -> Sha256Digest {
    document().sign(&custodian_key()).unwrap().digest
}

pub(crate) fn header(number: u64, in_term: u64, prev: Sha256Digest) -> Header {
    let number_at = i64::try_from(number).unwrap();
    Header {
        store_id: store_id(),
        registry: registry(),
        sequence: sequence(number),
        prev,
        term: term(in_term),
        at: at(number_at),
    }
}

fn part(name: CopyObject, size: u64) -> PartRef {
    let text = name.to_string();
    PartRef {
        name,
        version: format!("v-{text}").parse().unwrap(),
        size,
        sha256: Sha256Digest::of(text.as_bytes()),
    }
}

/// A copy whose id is made of `mark`.
pub(crate) fn copy(mark: u8) -> CopyBody {
    CopyBody {
        copy_id: CopyId::from_bytes([mark; 16]),
        started_at: at(1),
        taken_at: at(2),
        slot: Some(at(0)),
        trigger: None,
        source: SourceIdentity {
            engine: Engine::Postgresql,
            version: "17.12".parse().unwrap(),
            system_identifier: "7571239876543210987".parse().unwrap(),
            database_oid: 16_384,
        },
        recipients: vec![
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
                .parse()
                .unwrap(),
        ],
        copy_key: "YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==".to_owned(),
        manifest: vec![part(CopyObject::Manifest(PartNumber::FIRST), 400)],
        inventory: vec![part(CopyObject::Inventory(PartNumber::FIRST), 900)],
        totals: CopyTotals {
            segments: 2,
            sealed_bytes: 20_000_000,
        },
        parents: Vec::new(),
        custody_head: None,
    }
}

pub(crate) fn copy_entry(number: u64, in_term: u64, prev: Sha256Digest, mark: u8) -> SourceEntry {
    Entry {
        header: header(number, in_term, prev),
        body: SourceBody::Copy(Box::new(copy(mark))),
    }
}

pub(crate) fn custody_entry(
    number: u64,
    in_term: u64,
    prev: Sha256Digest,
    body: CustodyBody,
) -> CustodyEntry {
    Entry {
        header: header(number, in_term, prev),
        body,
    }
}

/// A `void` of the copies whose ids are made of these marks.
pub(crate) fn void(marks: &[u8]) -> CustodyBody {
    let copies = marks.iter().map(|mark| CopyId::from_bytes([*mark; 16]));
    CustodyBody::Void(VoidBody {
        copies: copies.collect(),
        order: None,
    })
}

/// A `drill` of a copy whose id is made of `mark`.
pub(crate) fn drill(copy: EntryRef, mark: u8, order: &str, passed: bool) -> DrillBody {
    let report = |form: &str, size| ReportRef {
        version: format!("v-{form}").parse().unwrap(),
        size,
        sha256: Sha256Digest::of(form.as_bytes()),
    };
    DrillBody {
        order: order.parse().unwrap(),
        source_entry: copy,
        copy_id: CopyId::from_bytes([mark; 16]),
        passed,
        started_at: at(100),
        ended_at: at(160),
        reports: ReportForms {
            json: report("json", 4_000),
            html: report("html", 20_000),
        },
    }
}

/// A `report` by this order; where nothing was done, no copy was chosen.
pub(crate) fn report(copy: EntryRef, order: &str, outcome: ReportOutcome) -> ReportBody {
    let drill = drill(copy, 1, order, true);
    ReportBody {
        about: order.strip_suffix("-report").unwrap().parse().unwrap(),
        order: drill.order,
        statement: Sha256Digest::of(b"what people signed"),
        outcome,
        source_entry: (outcome != ReportOutcome::Failed).then_some(copy),
        started_at: drill.started_at,
        ended_at: drill.ended_at,
        reports: drill.reports,
    }
}

/// What an `expiry` says of the copy at a place whose id is made of that place.
pub(crate) fn expired(number: u8) -> ExpiredCopy {
    ExpiredCopy {
        sequence: sequence(number.into()),
        copy_id: CopyId::from_bytes([number; 16]),
    }
}

/// Source entries 1 to `count` of term 1, signed at home.
pub(crate) fn source_objects(count: u64) -> Vec<SignedObject> {
    let mut objects: Vec<SignedObject> = Vec::new();
    for number in 1..=count {
        let prev = objects.last().map_or_else(genesis, |object| object.digest);
        let mark = u8::try_from(number).unwrap();
        objects.push(copy_entry(number, 1, prev, mark).sign(&home_key()).unwrap());
    }
    objects
}

pub(crate) fn reference(number: u64, object: &SignedObject) -> EntryRef {
    EntryRef {
        sequence: sequence(number),
        digest: object.digest,
    }
}

pub(crate) fn stored(version: &str, object: &SignedObject) -> StoredVersion {
    StoredVersion {
        version: version.parse().unwrap(),
        bytes: object.bytes.clone(),
    }
}

/// The text of an object's line, without its LF.
pub(crate) fn line_of(object: &SignedObject) -> String {
    line_of_bytes(&object.bytes)
}

/// The same, of an object as it is stored.
pub(crate) fn line_of_bytes(object: &[u8]) -> String {
    let text = std::str::from_utf8(object).unwrap();
    text.split_once('\n').unwrap().0.to_owned()
}

/// Any line, signed as an entry is.
pub(crate) fn sign_line(line: &str, role: Role, key: &SigningKey) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    bytes.push(b'\n');
    let signature = key.sign(role, &bytes).unwrap();
    bytes.extend_from_slice(signature.as_bytes());
    bytes
}
