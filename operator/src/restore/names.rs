//! The names and labels of what is made for a restore.

use serde_json::Value;

use crate::labels;

/// The component of every restore's objects.
const COMPONENT: &str = "restore";

/// The name of a restore's Job, `ConfigMap`, `ServiceAccount` and `NetworkPolicy`.
#[must_use]
pub fn object(restore: &str) -> String {
    format!("{restore}-restore")
}

/// The labels by which a restore's pod is chosen.
#[must_use]
pub fn selector(restore: &str) -> Value {
    labels::selector(COMPONENT, restore)
}

/// All labels of what is made for a restore.
#[must_use]
pub fn labels(restore: &str) -> Value {
    labels::labels(COMPONENT, restore)
}

/// The labels of its pod, which may reach the store where the store's policy lets such pods in, and a managed database where the restore is
/// one of its activation. One that only drops something reads no copy.
#[must_use]
pub fn pod_labels(restore: &str, database: Option<&str>, reads_a_copy: bool) -> Value {
    let mut all = labels(restore);
    if reads_a_copy {
        all[labels::STORE_ACCESS] = "true".into();
    }
    if let Some(database) = database {
        all[labels::DATABASE] = database.into();
    }
    all
}
