//! The names and labels of what is made for a drill.

use dataembassy_crds::{CurrentDrill, RegistryDrill};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use crate::labels;

/// The component of every drill's objects.
const COMPONENT: &str = "drill";
/// How the time in an order is written.
const STAMP: &str = "00000000t000000z";

/// The name of a drill's `ConfigMap`, `ServiceAccount` and `NetworkPolicy`, which stay from one run to the next.
#[must_use]
pub fn object(drill: &str) -> String {
    format!("{drill}-drill")
}

/// The order of a run that began at `at`: at most 57 characters for the longest name of a drill.
#[must_use]
pub fn order(drill: &str, at: Timestamp) -> String {
    format!("{drill}-{}", at.strftime("%Y%m%dt%H%M%Sz"))
}

/// Whether an order can be one of this drill's: no other drill of the namespace could have made it.
#[must_use]
pub fn is_order_of(drill: &str, order: &str) -> bool {
    let when = order.strip_prefix(drill).and_then(|rest| rest.strip_prefix('-'));
    when.is_some_and(|when| {
        when.len() == STAMP.len()
            && when
                .bytes()
                .zip(STAMP.bytes())
                .all(|(given, pattern)| match pattern {
                    b'0' => given.is_ascii_digit(),
                    letter => given == letter,
                })
    })
}

/// The name of the Job of a run's attempt: each attempt has a Job of its own, so that none can be taken for another.
#[must_use]
pub fn job(current: &CurrentDrill) -> String {
    format!("{}-{}", current.order, current.attempt)
}

/// The drill, as configurations and results call it.
#[must_use]
pub fn full(drill: &RegistryDrill) -> String {
    format!("{}/{}", drill.namespace().unwrap_or_default(), drill.name_any())
}

/// The labels by which a drill's pod is chosen.
#[must_use]
pub fn selector(drill: &str) -> Value {
    labels::selector(COMPONENT, drill)
}

/// All labels of what is made for a drill.
#[must_use]
pub fn labels(drill: &str) -> Value {
    labels::labels(COMPONENT, drill)
}

/// The labels of its pod, which may reach the store where the store's policy lets such pods in.
#[must_use]
pub fn pod_labels(drill: &str) -> Value {
    let mut labels = labels(drill);
    labels[labels::STORE_ACCESS] = "true".into();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_label_that_says_when() {
        let at = "2026-11-28T03:00:07.25Z".parse().unwrap();
        assert_eq!(order("population", at), "population-20261128t030007z");
        assert!(
            order(&"a".repeat(40), at).len() <= 61,
            "an attempt needs two more"
        );
    }
}
