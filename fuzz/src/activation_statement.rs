//! Activation statements: whatever is read prints the same, and an approval of it counts for nothing else. As they are, and as the approved
//! warrant of an entry that the target itself signs, so that home's and the custodian's judgement is reached.
#![no_main]

use std::sync::LazyLock;

use dataembassy_ledger::activation::{Approver, Approvers, Claim, Statement, Warrant};
use dataembassy_ledger::chain::OpeningKind;
use dataembassy_ledger::{RegistryId, Role, SigningKey};
use libfuzzer_sys::fuzz_target;

/// An approver's key of the vectors.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[200; 32]));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = Statement::read(text) else { return };
    let printed = read.render().expect("what was read can be printed");
    assert_eq!(printed, text, "it has two spellings");
    let approver = Approver { name: "anna".into(), key: KEY.public_key() };
    let approvers = Approvers::new(vec![approver], 1).expect("one may approve");
    let approval = KEY.sign(Role::Activation, bytes).expect("the key signs");
    let warrant = Warrant { statement: printed, approvals: vec![String::new(), approval] };
    let population: RegistryId = "population".parse().expect("it is an id");
    for kind in [OpeningKind::Activation, OpeningKind::Release] {
        let claim = Claim { store: read.store, registry: &population, order: &read.order, kind, at: read.valid_until };
        if let Ok(ordered) = claim.judge(&warrant, &approvers) {
            assert_eq!(ordered.statement, read);
            assert_eq!(ordered.approved, ["anna"]);
            assert_eq!(ordered.stated.registry, population);
            assert!(ordered.stated.signer.is_some(), "a term without a signer");
        }
    }
    let mut other = warrant.statement.clone();
    other.push('\n');
    assert!(approvers.judge(&other, &warrant.approvals).approved.is_empty());
});
