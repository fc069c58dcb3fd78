//! The names and labels of what is made for a mirror.

use serde_json::Value;

use crate::labels;

/// The component of every mirror's objects.
const COMPONENT: &str = "mirror";

/// The name of a mirror's Deployment, `ConfigMap`, `ServiceAccount` and `NetworkPolicy`.
#[must_use]
pub fn object(mirror: &str) -> String {
    format!("{mirror}-mirror")
}

/// The name of the Secret that a mirror's signing key is put into.
#[must_use]
pub fn signing_key(mirror: &str) -> String {
    format!("{mirror}-signing-key")
}

/// The labels by which a mirror's pods are chosen; they can never change.
#[must_use]
pub fn selector(mirror: &str) -> Value {
    labels::selector(COMPONENT, mirror)
}

/// All labels of what is made for a mirror.
#[must_use]
pub fn labels(mirror: &str) -> Value {
    labels::labels(COMPONENT, mirror)
}
