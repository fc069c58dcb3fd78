//! What custodian and gate are told: the embassy, every registry that was accepted, and what the custodian is asked to sign. Pure.
//!
//! It fails static: a registry whose resource is not valid any more stays as it was when it was, because both processes would otherwise
//! drop it. Only a resource that is gone takes its registry with it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use dataembassy_contract::config;
use dataembassy_contract::custodian::{CustodianConfig, CustodyConfig, OrderConfig, RegistryReport};
use dataembassy_contract::gate::{GateConfig, LaneConfig};
use dataembassy_crds::{LedgerHead, RegistryCustody};
use kube::ResourceExt;

use crate::activation::lanes;
use crate::custody::validate::Checked;
use crate::embassy::standing::Standing;
use crate::embassy::validate::CheckedEmbassy;
use crate::heads;
use crate::size::has_moved;

/// The last term that has a key.
const LAST_TERM: u32 = 9_999;

/// A registry in custody, and what was judged of it; nothing where it is not valid.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The resource.
    pub custody: Arc<RegistryCustody>,
    /// What it says, if it is valid.
    pub checked: Option<Checked>,
}

/// What is in effect, and what is known besides.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The custodian's configuration as it is.
    pub custodian: Option<CustodianConfig>,
    /// The gate's configuration as it is.
    pub gate: Option<GateConfig>,
    /// Bytes that each registry has in the store, as the custodian said last.
    pub used_bytes: HashMap<String, u64>,
    /// What the custodian said last of each registry.
    pub reports: HashMap<String, Arc<RegistryReport>>,
    /// Registries that activations keep cut off.
    pub cut: BTreeSet<String>,
}

/// The two documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Documents {
    /// The custodian's.
    pub custodian: CustodianConfig,
    /// The gate's.
    pub gate: GateConfig,
}

/// Composes both documents for the embassy called `name`.
#[must_use]
pub fn compose(
    (name, generation): (&str, i64),
    embassy: &CheckedEmbassy,
    standing: &Standing,
    accepted: &[Accepted],
    orders: &[OrderConfig],
    before: &Before,
) -> Documents {
    let mut both: Vec<(CustodyConfig, LaneConfig)> = accepted
        .iter()
        .filter_map(|accepted| registry(accepted, before))
        .collect();
    both.sort_by(|(one, _), (other, _)| one.registry.cmp(&other.registry));
    let (registries, lanes) = both.into_iter().unzip();
    Documents {
        custodian: CustodianConfig {
            embassy: name.to_owned(),
            generation,
            store: embassy.store(),
            sovereignty: embassy.sovereignty(),
            immutability: embassy.immutability(),
            recipients: embassy.recipients().to_vec(),
            custodian_keys: embassy.trusted_custodians(),
            approvers: embassy.approvers().cloned(),
            verification: standing.verification.clone(),
            capacity_bytes: standing.capacity_bytes,
            sweep_after: standing.sweep_after,
            check: standing.check.clone(),
            registries,
            orders: orders.to_vec(),
        },
        gate: GateConfig {
            embassy: name.to_owned(),
            generation,
            store: embassy.store(),
            sovereignty: embassy.sovereignty(),
            lanes,
        },
    }
}

/// One registry in both documents; nothing where it never was valid.
fn registry(accepted: &Accepted, before: &Before) -> Option<(CustodyConfig, LaneConfig)> {
    let name = accepted.custody.name_any();
    let custody_before = before.custodian.as_ref().and_then(|config| {
        config
            .registries
            .iter()
            .find(|registry| registry.name == name && registry.registry == accepted.custody.spec.registry.id)
    });
    let lane_before = before.gate.as_ref().and_then(|config| {
        config
            .lanes
            .iter()
            .find(|lane| lane.registry == accepted.custody.spec.registry.id)
    });
    let (mut custody, mut lane) = if let Some(checked) = &accepted.checked {
        (checked.custody.clone(), lane(checked))
    } else {
        (custody_before?.clone(), lane_before?.clone())
    };
    let status = accepted.custody.status.clone().unwrap_or_default();
    let floor =
        |head: Option<&LedgerHead>, of_config: Option<&config::Floor>| heads::floor(head, of_config.cloned());
    custody.source_floor = floor(
        status.source_head.as_ref(),
        custody_before.and_then(|before| before.source_floor.as_ref()),
    );
    custody.custody_floor = floor(
        status.custody_head.as_ref(),
        custody_before.and_then(|before| before.custody_floor.as_ref()),
    );
    let report = before.reports.get(&lane.registry).map(Arc::as_ref);
    lane.fenced = lanes::is_closed(before.cut.contains(&lane.registry), report, lane_before);
    // A term never comes back.
    let term = status.term.and_then(|term| u32::try_from(term).ok());
    let reported = report.map(|report| report.term);
    lane.term = [term, reported, lane_before.map(|before| before.term)]
        .into_iter()
        .flatten()
        .fold(1, u32::max)
        .min(LAST_TERM);
    lane.used_bytes = used_bytes(&lane, lane_before, before.used_bytes.get(&lane.registry).copied());
    Some((custody, lane))
}

fn lane(checked: &Checked) -> LaneConfig {
    LaneConfig {
        registry: checked.custody.registry.clone(),
        term: 1,
        fenced: false,
        home_may_retrieve: checked.home_may_retrieve,
        quota_bytes: checked.custody.quota_bytes,
        used_bytes: 0,
        bytes_per_second: checked.bytes_per_second,
    }
}

/// The gate adds what it lets in by itself, so it is told anew only when the number has moved by more than a hundredth of the quota;
/// where there is no quota, nobody counts.
fn used_bytes(lane: &LaneConfig, before: Option<&LaneConfig>, now: Option<u64>) -> u64 {
    let Some(quota) = lane.quota_bytes else { return 0 };
    let before = before.map_or(0, |before| before.used_bytes);
    match now {
        Some(now) if has_moved(before, now, quota) => now,
        _ => before,
    }
}

impl Documents {
    /// What the kubelet is called for: the custodian's document without floors, which the custodian knows that moved them.
    #[must_use]
    pub fn custodian_digest(&self) -> String {
        let mut config = self.custodian.clone();
        for registry in &mut config.registries {
            registry.source_floor = None;
            registry.custody_floor = None;
        }
        digest(config.to_json())
    }

    /// What the kubelet is called for: the gate's document without what the gate counts by itself.
    #[must_use]
    pub fn gate_digest(&self) -> String {
        let mut config = self.gate.clone();
        for lane in &mut config.lanes {
            lane.used_bytes = 0;
        }
        digest(config.to_json())
    }

    /// The custodian's file.
    #[must_use]
    pub fn custodian_file(&self) -> String {
        // Plain structs of texts and numbers: there is nothing in them that JSON cannot hold.
        self.custodian.to_json().unwrap_or_default()
    }

    /// The gate's file.
    #[must_use]
    pub fn gate_file(&self) -> String {
        self.gate.to_json().unwrap_or_default()
    }
}

fn digest(document: Result<String, serde_json::Error>) -> String {
    config::digest(document.unwrap_or_default().as_bytes())
}
