//! The names and labels of what is made for an activation.

use dataembassy_crds::EmbassyActivation;
use dataembassy_ledger::{PublicKey, Sha256Digest};
use kube::ResourceExt;
use serde_json::Value;

use crate::labels;

/// The component of every activation's objects.
const COMPONENT: &str = "activation";
/// The most characters of a restore's name.
const LONGEST_RESTORE: usize = 40;

/// The activation, as its statement and the metrics call it.
#[must_use]
pub fn full(activation: &EmbassyActivation) -> String {
    format!(
        "{}/{}",
        activation.namespace().unwrap_or_default(),
        activation.name_any()
    )
}

/// The Secret with a new key: named by the key, so that it is never taken for another one's.
#[must_use]
pub fn key_secret(activation: &str, registry: &str, key: &PublicKey) -> String {
    format!("{activation}-{registry}-term-{}", short(&key.to_string(), 8))
}

/// The `RegistryRestore` of an attempt: at most 40 characters, so that the beginning of a long registry id and its digest stand for it.
#[must_use]
pub fn restore(activation: &str, registry: &str, attempt: i64) -> String {
    let whole = format!("{activation}-{registry}-{attempt}");
    if whole.len() <= LONGEST_RESTORE {
        return whole;
    }
    let beginning: String = registry.chars().take(9).collect();
    let beginning = beginning.trim_end_matches('-');
    format!("{activation}-{beginning}-{}-{attempt}", short(registry, 6))
}

/// The `RegistryRestore` that drops what a rehearsal by this order has restored in so many attempts: what was dropped after fewer says nothing of
/// the ones since, which may be by the same order.
#[must_use]
pub fn clean_up(activation: &str, registry: &str, order: &str, attempts: i64) -> String {
    let whole = format!("{registry}\n{order}\n{attempts}");
    format!("{activation}-{}-clean-up", short(&whole, 8))
}

/// The order that a spec becomes: another resource, or another spec, is another order.
#[must_use]
pub fn order(activation: &str, uid: &str, spec: &Sha256Digest) -> String {
    format!("{activation}-{}", short(&format!("{uid}\n{spec}"), 8))
}

/// The order that asks the custodian to sign for what came of an order.
#[must_use]
pub fn report(order: &str) -> String {
    format!("{order}-report")
}

/// All labels of what is made for an activation.
#[must_use]
pub fn labels(activation: &str) -> Value {
    labels::labels(COMPONENT, activation)
}

fn short(text: &str, digits: usize) -> String {
    let mut digest = Sha256Digest::of(text.as_bytes()).to_string();
    digest.truncate(digits);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_of_the_longest_names_has_a_name_that_is_taken() {
        let name = restore(&"a".repeat(20), &"b".repeat(40), 99);
        assert_eq!(name.len(), 40, "{name}");
        assert_ne!(
            restore("lost", &format!("{}1", "b".repeat(39)), 1),
            restore("lost", &format!("{}2", "b".repeat(39)), 1)
        );
        assert_eq!(restore("home-lost", "population", 1), "home-lost-population-1");
    }

    #[test]
    fn another_resource_and_another_spec_are_another_order() {
        let (one, other) = (Sha256Digest::of(b"one"), Sha256Digest::of(b"other"));
        let orders = [
            order("lost", "uid-1", &one),
            order("lost", "uid-2", &one),
            order("lost", "uid-1", &other),
        ];
        assert!(orders[0] != orders[1] && orders[0] != orders[2]);
        assert_eq!(orders[0].len(), "lost-".len() + 8);
    }
}
