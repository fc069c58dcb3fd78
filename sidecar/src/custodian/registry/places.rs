//! The places of a chain: what stands under a key, which key comes next, and what an alarm about one means to the user.

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{Alarm, MAX_VERSIONS, StoredVersion};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::Sequence;

use super::listing::Group;
use crate::custodian::finding::{Finding, Loss};
use crate::store::ledger::alarm_reason;
use crate::store::{Store, StoreError};

/// Reads the objects of a key, oldest first; of many only the first few, as more than one is an alarm already.
pub(super) async fn read_group(store: &Store, group: &Group) -> Result<Vec<StoredVersion>, StoreError> {
    let Ok(key) = group.key.parse::<ObjectKey>() else {
        return Ok(Vec::new());
    };
    let mut stored = Vec::new();
    for version in group.objects().take(MAX_VERSIONS) {
        let Some(id) = &version.version else { continue };
        let limit = MAX_OBJECT_BYTES as u64 + 1;
        match store.open(&key, Some(id)).await {
            Ok(object) => stored.push(StoredVersion {
                version: id.clone(),
                bytes: object.read_up_to(limit).await?.to_vec(),
            }),
            // It went while we looked; the next look tells.
            Err(StoreError::ObjectMissing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stored)
}

/// What an alarm of the walk means to the user.
pub(super) fn finding(alarm: &Alarm, sequence: Option<Sequence>) -> Finding {
    let lost = match alarm {
        Alarm::SecondVersion { .. } => Loss::Nothing,
        Alarm::RolledBack { .. } => Loss::Later,
        Alarm::Gap { .. } => Loss::Unknown,
        _ => Loss::Object,
    };
    Finding {
        reason: alarm_reason(alarm),
        sequence: match alarm {
            Alarm::RolledBack { sequence, .. } => Some(*sequence),
            _ => sequence,
        },
        what: alarm.to_string(),
        lost,
    }
}

/// Several versions of an entry are signed by who may.
pub(super) fn forked(sequence: Sequence) -> Finding {
    Finding {
        reason: Reason::Forked,
        sequence: Some(sequence),
        what: format!("entry {sequence} exists in several versions that are signed by who may sign there"),
        lost: Loss::Nothing,
    }
}

/// The key of the place after this one, in the same term.
pub(super) fn following(key: &ObjectKey) -> Option<ObjectKey> {
    Some(match key.clone() {
        ObjectKey::Source {
            registry,
            term,
            sequence,
        } => ObjectKey::Source {
            registry,
            term,
            sequence: sequence.next()?,
        },
        ObjectKey::Custody { registry, sequence } => ObjectKey::Custody {
            registry,
            sequence: sequence.next()?,
        },
        _ => return None,
    })
}

/// A text that sorts just before a key: it ends in the digit below the key's last one that is not 0, with nines behind.
pub(super) fn before(key: &str) -> Option<String> {
    let last = key.rfind(|letter: char| ('1'..='9').contains(&letter))?;
    let digit = key.as_bytes()[last] - 1;
    let nines = key.len() - last - 1;
    Some(format!(
        "{}{}{}",
        &key[..last],
        char::from(digit),
        "9".repeat(nines)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_begins_just_before_the_key() {
        let of = |number: &str| before(&format!("registries/population/source/0001-{number}")).unwrap();
        assert!(of("000000000001").ends_with("0001-000000000000"));
        assert!(of("000000000100").ends_with("0001-000000000099"));
        assert!(of("000000000109").ends_with("0001-000000000108"));
    }
}
