//! What the custodian of an embassy is asked to sign: the results of its drills. Pure.

use std::sync::Arc;

use dataembassy_contract::custodian::{MAX_ORDERS, OrderBody, OrderConfig};
use dataembassy_contract::drill::Verdict;
use dataembassy_crds::{RegistryCustody, RegistryDrill};

use crate::custody::neighbours::accepted;
use crate::drill::{names, record, validate};

/// The most bytes of all orders together. They share one `ConfigMap`, which holds a mebibyte, with what is said of 512 registries.
const MAX_BYTES: usize = 256 * 1024;

/// The orders of the embassy called `embassy`: results of drills that count, about a copy, the oldest first. Those that have no room follow
/// when others were answered.
#[must_use]
pub fn orders(
    embassy: &str,
    drills: &[Arc<RegistryDrill>],
    custodies: &[Arc<RegistryCustody>],
) -> Vec<OrderConfig> {
    let mut waiting: Vec<_> = drills
        .iter()
        .filter(|drill| drill.spec.embassy_ref.name == embassy && counts(drill, custodies))
        .filter_map(|drill| Some((drill, order(drill)?)))
        .collect();
    waiting
        .sort_by_cached_key(|(drill, (began, order))| (began.clone(), names::full(drill), order.id.clone()));
    fitting(waiting.into_iter().map(|(_, (_, order))| order))
}

/// As many of these orders as a configuration has room for, the first ones. Those that have none follow when others were answered.
#[must_use]
pub fn fitting(orders: impl Iterator<Item = OrderConfig>) -> Vec<OrderConfig> {
    let mut room = MAX_BYTES;
    orders
        .take(MAX_ORDERS)
        .map_while(|order| {
            // As it is written into the file.
            let bytes = serde_json::to_string_pretty(&order).ok()?.len();
            room = room.checked_sub(bytes)?;
            Some(order)
        })
        .collect()
}

fn counts(drill: &RegistryDrill, custodies: &[Arc<RegistryCustody>]) -> bool {
    let (registry, embassy) = (&drill.spec.registry.id, &drill.spec.embassy_ref.name);
    drill.metadata.deletion_timestamp.is_none()
        && accepted(registry, embassy, custodies).is_some_and(|custody| validate::counts(drill, &custody))
}

/// When the run began, and its order; `None` while there is nothing to be signed.
fn order(drill: &RegistryDrill) -> Option<(String, OrderConfig)> {
    let current = drill.status.as_ref()?.current.as_ref()?;
    let result = record::kept(drill, current)?;
    if result.verdict == Verdict::Inconclusive {
        return None;
    }
    let order = OrderConfig {
        id: current.order.clone(),
        registry: drill.spec.registry.id.clone(),
        body: OrderBody::Drill(Box::new(result)),
    };
    Some((current.started_at.clone(), order))
}
