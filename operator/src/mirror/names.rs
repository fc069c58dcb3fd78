//! The names and labels of what is made for a mirror.

use serde_json::Value;

use crate::labels;
use crate::mirror::abroad::Reach;

/// The component of every mirror's objects.
pub const COMPONENT: &str = "mirror";

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

/// The labels of its pod. At the embassy it reaches the store itself, where the store's policy lets such pods in, and the managed database
/// that it copies.
#[must_use]
pub fn pod_labels(mirror: &str, abroad: Option<&Reach>) -> Value {
    let mut all = labels(mirror);
    if let Some(reach) = abroad {
        all[labels::STORE_ACCESS] = "true".into();
        if let Some(database) = &reach.database {
            all[labels::DATABASE] = database.clone().into();
        }
    }
    all
}
