//! Statements that people have signed: what an operator would hand to a custodian, and a custodian to home.

use dataembassy_contract::config::{ApproverConfig, ApproversConfig};
use dataembassy_ledger::activation::{
    Mode, State, StatedFloor, StatedRegistry, Statement, Unfenced, Warrant, Words,
};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{StoreId, Term, Timestamp};
use dataembassy_ledger::{PublicKey, Role, Sha256Digest, SigningKey};
use jiff::SignedDuration;

use super::REGISTRY;

/// Who may approve; two of them must.
pub const NAMES: [&str; 3] = ["anna", "bertil", "chiara"];

/// An approver's key.
pub fn key_of(name: &str) -> SigningKey {
    let place = NAMES.iter().position(|known| *known == name).unwrap();
    SigningKey::from_seed(&[60 + u8::try_from(place).unwrap(); 32])
}

/// Signs source entries while the embassy serves.
pub fn embassy() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

/// Those who may approve, as both clusters are told.
pub fn approvers() -> ApproversConfig {
    let approver = |name: &&str| ApproverConfig {
        name: (*name).into(),
        public_key: key_of(name).public_key().to_string(),
    };
    ApproversConfig {
        approvers: NAMES.iter().map(approver).collect(),
        required: 2,
    }
}

fn words(text: &str) -> Words {
    text.parse().unwrap()
}

/// A statement that orders something of the tests' registry, for the next hour.
pub fn statement(store: StoreId, order: &str, state: State, signer: PublicKey) -> Statement {
    let approvers = approvers().checked().unwrap();
    let until = jiff::Timestamp::now().checked_add(SignedDuration::from_hours(1));
    Statement {
        store,
        embassy: "luxembourg".parse().unwrap(),
        resource: words("operations/the-day"),
        uid: words("5f2d6a3e-0000-4000-8000-000000000001"),
        order: order.parse().unwrap(),
        mode: Mode::Activate,
        state,
        valid_until: Timestamp::from_jiff(until.unwrap()).unwrap(),
        unfenced: Unfenced::Refused,
        required: approvers.required(),
        approvers: approvers.digest(),
        spec: Sha256Digest::of(b"spec"),
        registries: vec![StatedRegistry {
            registry: REGISTRY.parse().unwrap(),
            after: Vec::new(),
            floor: None,
            copy: words("latestIntact"),
            target: words("managed postgresql:17"),
            signer: Some(signer),
            questions: 0,
            questions_digest: Sha256Digest::of(b""),
            exposed: words("Service population"),
        }],
    }
}

/// Names the head that the approvers saw.
pub fn with_floor(mut statement: Statement, term: u64, entry: EntryRef) -> Statement {
    statement.registries[0].floor = Some(StatedFloor {
        term: Term::new(term).unwrap(),
        entry,
        taken_at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
    });
    statement
}

/// The statement, signed by these.
pub fn signed(statement: &Statement, names: &[&str]) -> Warrant {
    let statement = statement.render().unwrap();
    let approvals = names.iter().map(|name| approval(&statement, name));
    Warrant {
        approvals: approvals.collect(),
        statement,
    }
}

/// What somebody signs.
pub fn approval(statement: &str, name: &str) -> String {
    key_of(name).sign(Role::Activation, statement.as_bytes()).unwrap()
}
