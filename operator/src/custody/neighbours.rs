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
