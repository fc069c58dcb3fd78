//! Entries and `embassy.json`: as they are, and as lines that the target itself signs, so that what is behind the signature is reached.
#![no_main]

use std::sync::LazyLock;

use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{Body, CustodyBody, Entry, SourceBody};
use dataembassy_ledger::{Role, SigningKey, StoreDocument};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[1; 32]));

/// What is read once can be written, and reads back as the same.
fn verify<B: Body + PartialEq + std::fmt::Debug>(object: &[u8]) {
    let Ok(read) = Entry::<B>::verify(object) else { return };
    let written = read.entry.sign(&KEY).expect("what was read can be written");
    assert_eq!(Entry::<B>::verify(&written.bytes).expect("what was written can be read").entry, read.entry);
}

/// What a reader that starts at a proof takes over from it is what the proof says.
fn start_at(object: &[u8]) {
    let Ok(read) = Entry::<CustodyBody>::verify(object) else { return };
    let CustodyBody::Proof(proof) = &read.entry.body else { return };
    let Some(mut view) = CustodyView::standing_before(proof) else { return };
    // Of one that is larger than a writer makes it, old drills are left out.
    if proof.standing.as_ref().is_some_and(dataembassy_ledger::entry::Standing::fits) {
        assert_eq!(Some(view.standing()), proof.standing);
    }
    assert_eq!(view.current_term(), read.entry.header.term);
    view.apply(&read).expect("a proof opens no term");
}

fn signed(role: Role, line: &[u8]) -> Vec<u8> {
    let signature = KEY.sign(role, line).expect("the key signs");
    [line, signature.as_bytes()].concat()
}

fuzz_target!(|bytes: &[u8]| {
    verify::<SourceBody>(bytes);
    verify::<CustodyBody>(bytes);
    let _ = StoreDocument::verify(bytes);
    // The line ends at its first LF; vectors come with their signatures, which are cut off here.
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let line = [&bytes[..end], b"\n"].concat();
    verify::<SourceBody>(&signed(Role::Source, &line));
    let custody = signed(Role::Custody, &line);
    verify::<CustodyBody>(&custody);
    start_at(&custody);
    let _ = StoreDocument::verify(&signed(Role::Store, &line));
});
