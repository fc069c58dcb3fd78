//! Whom a registry shares its cluster and its embassy with.

use std::sync::Arc;

use dataembassy_crds::RegistryCustody;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::custody::validate::Neighbours;

/// Finds what speaks against `custody` among `all`: of two with one registry id exactly one gives way, whichever is looked at. An id is
/// taken for the whole cluster, because recovery points are named after it.
#[must_use]
pub fn neighbours(custody: &RegistryCustody, all: &[Arc<RegistryCustody>]) -> Neighbours {
    let older = all
        .iter()
        .filter(|other| other.uid() != custody.uid() && !is_leaving(other) && age(other) < age(custody));
    let mut neighbours = Neighbours::default();
    let mut oldest = None;
    for other in older {
        if other.spec.embassy_ref.name == custody.spec.embassy_ref.name {
            neighbours.older += 1;
        }
        if other.spec.registry.id == custody.spec.registry.id
            && oldest.as_ref().is_none_or(|oldest| age(other) < *oldest)
        {
            oldest = Some(age(other));
            neighbours.rival = Some(other.name_any());
        }
    }
    neighbours
}

/// The `RegistryCustody` by which an embassy has accepted a registry: of two with one id the younger never was.
#[must_use]
pub fn accepted(registry: &str, embassy: &str, all: &[Arc<RegistryCustody>]) -> Option<Arc<RegistryCustody>> {
    all.iter()
        .find(|custody| {
            custody.spec.registry.id == registry
                && custody.spec.embassy_ref.name == embassy
                && !is_leaving(custody)
                && neighbours(custody, all).rival.is_none()
        })
        .cloned()
}

/// Whether somebody has deleted it.
#[must_use]
pub fn is_leaving(custody: &RegistryCustody) -> bool {
    custody.metadata.deletion_timestamp.is_some()
}

fn age(custody: &RegistryCustody) -> (Option<Timestamp>, Option<String>) {
    let created = custody.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, custody.uid())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn custody(name: &str, registry: &str, embassy: &str, day: u32) -> Arc<RegistryCustody> {
        let custody = json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryCustody",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": format!("2026-11-{day:02}T09:00:00Z")},
            "spec": {"embassyRef": {"name": embassy}, "registry": {"id": registry}, "signers": [], "rpo": "30m", "retention": {}},
        });
        Arc::new(serde_json::from_value(custody).unwrap())
    }

    #[test]
    fn older_registries_of_the_embassy_are_counted_and_the_oldest_of_the_id_is_named() {
        let all = [
            custody("second", "population", "luxembourg", 11),
            custody("first", "population", "tallinn", 10),
            custody("third", "population", "luxembourg", 12),
            custody("health", "health", "luxembourg", 9),
            custody("younger", "population", "luxembourg", 20),
        ];
        let of = |custody: &RegistryCustody| neighbours(custody, &all);
        assert_eq!(
            of(&custody("new", "population", "luxembourg", 15)),
            Neighbours {
                rival: Some("first".to_owned()),
                older: 3,
            }
        );
        assert_eq!(
            of(&custody("new", "business", "tallinn", 15)),
            Neighbours {
                rival: None,
                older: 1,
            }
        );
        // The one without a rival is accepted, by its own embassy, and nobody else in its place.
        assert_eq!(
            accepted("population", "tallinn", &all)
                .as_deref()
                .map(ResourceExt::name_any),
            Some("first".to_owned())
        );
        assert_eq!(accepted("population", "luxembourg", &all), None);
        assert_eq!(
            accepted("health", "luxembourg", &all)
                .as_deref()
                .map(ResourceExt::name_any),
            Some("health".to_owned())
        );
    }

    #[test]
    fn what_is_being_deleted_stands_in_nobodys_way() {
        let mut leaving = RegistryCustody::clone(&custody("first", "population", "luxembourg", 10));
        leaving
            .metadata
            .deletion_timestamp
            .clone_from(&leaving.metadata.creation_timestamp);
        let all = [
            Arc::new(leaving),
            custody("second", "population", "luxembourg", 11),
        ];
        assert_eq!(neighbours(&all[1], &all), Neighbours::default());
        assert_eq!(
            accepted("population", "luxembourg", &all)
                .as_deref()
                .map(ResourceExt::name_any),
            Some("second".to_owned())
        );
    }
}
