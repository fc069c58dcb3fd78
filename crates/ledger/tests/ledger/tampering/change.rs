//! One change to a store, drawn from a seed. The attacker owns the store and, where a kind says so, home's key or the custodian's.

use dataembassy_ledger::chain::StoredVersion;
use dataembassy_ledger::entry::{Body, CustodyBody, Entry, SourceBody};
use dataembassy_ledger::{FORMAT, ObjectKey, Role, SigningKey, VersionId};

use super::made::{Made, REGISTRIES, Store};
use crate::sample::{at, custodian_key, embassy_key, home_key, line_of_bytes, sign_line, stranger_key, term};

/// Every kind of change.
pub(super) const KINDS: [&str; 13] = [
    "flip",
    "cut",
    "extend",
    "swap",
    "rename",
    "delete",
    "duplicate",
    "replay",
    "roll back",
    "fork",
    "re-sign",
    "mix",
    "forge a version",
];

/// A row of numbers that is the same for the same seed, on every machine and with every version of every library (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one less than `count`.
    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.number() % count as u64).unwrap()
    }

    fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// The key of some object, of those that `is` lets through.
    fn key(&mut self, store: &Store, is: impl Fn(&ObjectKey) -> bool) -> ObjectKey {
        let keys: Vec<ObjectKey> = store.keys().map(|key| key.parse().unwrap()).filter(is).collect();
        self.choose(&keys).clone()
    }
}

/// The store after the change of this seed, and what kind of change it was.
pub(super) fn change(made: &Made, seed: u64) -> (&'static str, Store) {
    let (mut dice, mut store) = (Dice(seed), made.store.clone());
    let kind = *dice.choose(&KINDS);
    match kind {
        "flip" | "cut" | "extend" => bytes(kind, &mut dice, &mut store),
        "swap" => swap(&mut dice, &mut store),
        "rename" => rename(&mut dice, &mut store),
        "delete" => {
            let key = dice.key(&store, |_| true);
            store.remove(&key.to_string());
        }
        "duplicate" => {
            let key = dice.key(&store, |_| true);
            let bytes = of(&store, &key).bytes.clone();
            another_version(&mut store, &key, bytes);
        }
        "replay" => replay(&mut dice, &mut store),
        "roll back" => roll_back(&mut dice, &mut store),
        "fork" => fork(&mut dice, &mut store),
        "re-sign" => re_sign(&mut dice, &mut store),
        "mix" => mix(&mut dice, &mut store),
        _ => forge(&mut dice, &mut store),
    }
    (kind, store)
}

fn of<'a>(store: &'a Store, key: &ObjectKey) -> &'a StoredVersion {
    &store[&key.to_string()][0]
}

fn of_mut<'a>(store: &'a mut Store, key: &ObjectKey) -> &'a mut Vec<u8> {
    &mut store.get_mut(&key.to_string()).unwrap()[0].bytes
}

fn another_version(store: &mut Store, key: &ObjectKey, bytes: Vec<u8>) {
    let version: VersionId = "another".parse().unwrap();
    let versions = store.entry(key.to_string()).or_default();
    versions.push(StoredVersion { version, bytes });
}

fn bytes(kind: &str, dice: &mut Dice, store: &mut Store) {
    let key = dice.key(store, |_| true);
    let object = of_mut(store, &key);
    match kind {
        "flip" => {
            let place = dice.below(object.len());
            object[place] ^= 1 << dice.below(8);
        }
        "cut" => object.truncate(dice.below(object.len())),
        _ => {
            for _ in 0..=dice.below(8) {
                object.push(dice.number().to_le_bytes()[0]);
            }
        }
    }
}

/// Two objects change places.
fn swap(dice: &mut Dice, store: &mut Store) {
    let one = dice.key(store, |_| true);
    let other = dice.key(store, |key| *key != one);
    let taken = std::mem::take(of_mut(store, &one));
    let taken = std::mem::replace(of_mut(store, &other), taken);
    *of_mut(store, &one) = taken;
}

/// An object moves to where another one is, or could be.
fn rename(dice: &mut Dice, store: &mut Store) {
    let from = dice.key(store, |_| true);
    let mut to = dice.key(store, |key| *key != from);
    if dice.below(2) == 0 {
        let ahead = dataembassy_ledger::Sequence::new(dice.number() % 1_000 + 10).unwrap();
        match &mut to {
            ObjectKey::Source { sequence, .. } | ObjectKey::Custody { sequence, .. } => *sequence = ahead,
            ObjectKey::Copy { copy, .. } => {
                *copy = dataembassy_ledger::CopyId::from_bytes([dice.number().to_le_bytes()[0] | 0x80; 16]);
            }
            ObjectKey::Report { order, .. } => *order = "nobodys-order".parse().unwrap(),
            ObjectKey::Embassy => {}
        }
    }
    let moved = store.remove(&from.to_string()).unwrap();
    store.entry(to.to_string()).or_default().extend(moved);
}

/// What stood at one place is put at another one of its kind, over it or instead of it.
fn replay(dice: &mut Dice, store: &mut Store) {
    let from = dice.key(store, |key| {
        matches!(key, ObjectKey::Source { .. } | ObjectKey::Custody { .. })
    });
    let to = dice.key(store, |key| {
        *key != from && std::mem::discriminant(key) == std::mem::discriminant(&from)
    });
    let bytes = of(store, &from).bytes.clone();
    if dice.below(2) == 0 {
        another_version(store, &to, bytes);
    } else {
        *of_mut(store, &to) = bytes;
    }
}

/// The store's disk is put back to what it was at some moment: of the whole store, or of one registry.
fn roll_back(dice: &mut Dice, store: &mut Store) {
    let registry = REGISTRIES.get(dice.below(REGISTRIES.len() + 1));
    let is_of = |key: &str| registry.is_none_or(|id| key.starts_with(&format!("registries/{id}/")));
    // Versions were numbered in the order in which objects were put.
    let number = |versions: &[StoredVersion]| -> usize { versions[0].version.as_str()[1..].parse().unwrap() };
    let mut numbers: Vec<usize> = store
        .iter()
        .filter(|(key, _)| is_of(key))
        .map(|(_, versions)| number(versions))
        .collect();
    numbers.sort_unstable();
    let moment = *dice.choose(&numbers);
    store.retain(|key, versions| !is_of(key) || number(versions) < moment);
}

/// Whoever may sign at a place signs another entry there.
fn fork(dice: &mut Dice, store: &mut Store) {
    let key = dice.key(store, |key| {
        matches!(key, ObjectKey::Source { .. } | ObjectKey::Custody { .. })
    });
    let second = dice.below(10_000);
    let bytes = match &key {
        ObjectKey::Source { term: in_term, .. } => {
            let signer = if *in_term == term(1) {
                home_key()
            } else {
                embassy_key()
            };
            at_another_time::<SourceBody>(of(store, &key), second, &signer)
        }
        _ => at_another_time::<CustodyBody>(of(store, &key), second, &custodian_key()),
    };
    if dice.below(2) == 0 {
        another_version(store, &key, bytes);
    } else {
        *of_mut(store, &key) = bytes;
    }
}

fn at_another_time<B: Body>(stored: &StoredVersion, second: usize, signer: &SigningKey) -> Vec<u8> {
    let mut entry = Entry::<B>::verify(&stored.bytes).unwrap().entry;
    entry.header.at = at(1_000 + i64::try_from(second).unwrap());
    entry.sign(signer).unwrap().bytes
}

/// Who may not sign at a place signs what stands there.
fn re_sign(dice: &mut Dice, store: &mut Store) {
    let key = dice.key(store, |key| {
        !matches!(key, ObjectKey::Copy { .. } | ObjectKey::Report { .. })
    });
    let (role, others) = match &key {
        ObjectKey::Source { term: in_term, .. } if *in_term == term(1) => {
            (Role::Source, [stranger_key(), custodian_key(), embassy_key()])
        }
        ObjectKey::Source { .. } => (Role::Source, [stranger_key(), custodian_key(), home_key()]),
        ObjectKey::Custody { .. } => (Role::Custody, [stranger_key(), home_key(), embassy_key()]),
        _ => (Role::Store, [stranger_key(), home_key(), embassy_key()]),
    };
    let line = line_of_bytes(&of(store, &key).bytes);
    // Nobody may sign for another role either.
    let bytes = match dice.below(4) {
        3 => sign_line(&line, Role::Activation, &custodian_key()),
        other => sign_line(&line, role, &others[other]),
    };
    *of_mut(store, &key) = bytes;
}

/// An object of one copy is put in the place of the same object of another.
fn mix(dice: &mut Dice, store: &mut Store) {
    let one = dice.key(store, |key| matches!(key, ObjectKey::Copy { .. }));
    let ObjectKey::Copy { object: same, .. } = &one else {
        unreachable!()
    };
    let other = dice.key(store, |key| {
        *key != one && matches!(key, ObjectKey::Copy { object, .. } if object == same)
    });
    let bytes = of(store, &one).bytes.clone();
    *of_mut(store, &other) = bytes;
}

/// An entry claims to be of an older or a newer format, by the hand of whoever may sign it.
fn forge(dice: &mut Dice, store: &mut Store) {
    let key = dice.key(store, |key| {
        !matches!(key, ObjectKey::Copy { .. } | ObjectKey::Report { .. })
    });
    let (role, signer) = match &key {
        ObjectKey::Source { term: in_term, .. } if *in_term == term(1) => (Role::Source, home_key()),
        ObjectKey::Source { .. } => (Role::Source, embassy_key()),
        ObjectKey::Custody { .. } => (Role::Custody, custodian_key()),
        _ => (Role::Store, custodian_key()),
    };
    let format = *dice.choose(&[
        "dataembassy/0",
        "dataembassy/2",
        "dataembassy/10",
        "dataembassy",
        "",
    ]);
    let line = line_of_bytes(&of(store, &key).bytes);
    let forged = line.replacen(&format!("\"{FORMAT}\""), &format!("\"{format}\""), 1);
    assert_ne!(line, forged, "the line names its format");
    *of_mut(store, &key) = sign_line(&forged, role, &signer);
}
