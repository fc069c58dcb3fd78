//! What a process misses of its Secrets. It knows them by what they are for, we by their names.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{MissingSecret, SecretRole};

use crate::condition::Finding;

/// Names the Secrets and the keys that are missing, of those that are `named`, in that order; `None` where nothing is.
pub fn missing<N: AsRef<str>>(
    missing: &[MissingSecret],
    named: impl IntoIterator<Item = (SecretRole, N)>,
) -> Option<Finding> {
    let mut worst = Reason::SecretKeyMissing;
    let mut messages = Vec::new();
    for (role, name) in named {
        let keys = missing.iter().filter(|one| one.secret == role);
        let keys: Vec<&str> = keys.map(|one| one.key.as_str()).collect();
        if keys.is_empty() {
            continue;
        }
        let (name, list) = (name.as_ref(), keys.join(" and "));
        // The process sees files only: where all keys are missing, the Secret may be.
        messages.push(if keys.len() >= role.keys() {
            worst = Reason::SecretMissing;
            format!("the Secret {name} is missing, or lacks what is needed of it: create it with {list}")
        } else {
            format!("the Secret {name} lacks the key {list}: add it")
        });
    }
    (!messages.is_empty()).then(|| Finding::no(worst, messages.join("; ")))
}
