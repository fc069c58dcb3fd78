//! What is wanted abroad once nothing strikes any more: served behind a fence, home's again, or rehearsed and cleaned up.

use serde_json::{Value, json};

use super::Abroad;
use crate::cluster::Place;
use crate::objects::condition;
use crate::world::World;

impl Abroad {
    /// Whether embassy, registries and mirror are as they should be.
    pub(super) fn is_standing(&self, world: &World) -> Result<(), String> {
        let registries = self.plan.registries.iter();
        let custodies = registries.map(|planned| ("RegistryCustody", planned.id));
        for (kind, name) in [("DataEmbassy", "luxembourg")].into_iter().chain(custodies) {
            is_ready(world, &Place::new(kind, "", name), "True", None)?;
        }
        Ok(())
    }

    /// The mirror runs for as long as the ledger says that the registry is the embassy's.
    pub(super) fn is_mirrored(&self, world: &World) -> Result<(), String> {
        if !self.plan.has_mirror {
            return Ok(());
        }
        let place = Place::new("RegistryMirror", "interior", "population");
        if self.holds("population") {
            is_ready(world, &place, "True", Some("Loaded"))
        } else {
            is_ready(world, &place, "False", Some("NotActivated"))
        }
    }

    /// An order that came to nothing here, because another one's fence stands.
    pub(super) fn is_anothers(&self, status: &Value) -> bool {
        let registries = status["registries"].as_array();
        registries.into_iter().flatten().any(|state| {
            let id = state["id"].as_str().unwrap_or_default();
            let ledger = self.ledgers.get(id);
            let opening = ledger.and_then(|ledger| ledger.opening.as_ref());
            opening.is_some_and(|opening| {
                opening["holder"] == "Embassy" && state["signer"]["publicKey"] != opening["signer"]
            })
        })
    }

    pub(super) fn is_home(&self, world: &World, status: &Value) -> Result<(), String> {
        let is_said = status["phase"] == "StoodDown";
        for planned in &self.plan.registries {
            let id = planned.id;
            if !is_said || self.holds(id) || is_open(world, id) {
                let (holds, open) = (self.holds(id), is_open(world, id));
                return Err(format!(
                    "{id} should be home's; the embassy holds it {holds}, open {open}: {status}"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn is_served(&self, world: &World, status: &Value) -> Result<(), String> {
        let registries = self.states(status)?;
        let all = registries.iter().all(|state| state["phase"] == "Serving");
        let wanted = if all { "Serving" } else { "Failed" };
        if status["phase"] != wanted {
            return Err(format!("it should be {wanted}: {status}"));
        }
        for (planned, state) in self.plan.registries.iter().zip(registries) {
            let id = planned.id;
            if state["phase"] != "Serving" {
                self.is_given_up(id, state, status)?;
                continue;
            }
            let holds = self.holds(id);
            let is_let_in = planned.is_external || is_open(world, id);
            let is_reported = state["report"]["path"].is_string();
            // Where the store cannot be written, there is neither a fence nor a report.
            let is_signed = (holds && is_reported) || (self.plan.accepts_unfenced && self.is_stuck);
            if !is_let_in || !is_signed {
                return Err(format!(
                    "{id} should be served; the embassy holds it {holds}, open {is_let_in}: {status}"
                ));
            }
        }
        Ok(())
    }

    /// It has ended, is reported, and nothing is left of it but the record.
    pub(super) fn is_rehearsed(&self, world: &World, status: &Value) -> Result<(), String> {
        let registries = self.states(status)?;
        let all = registries.iter().all(|state| state["phase"] == "Rehearsed");
        let wanted = if all { "Rehearsed" } else { "Failed" };
        if status["phase"] != wanted || !status["endedAt"].is_string() {
            return Err(format!("it should have ended, {wanted}: {status}"));
        }
        for (planned, state) in self.plan.registries.iter().zip(registries) {
            if state["phase"] != "Rehearsed" {
                self.is_given_up(planned.id, state, status)?;
            } else if !state["report"]["path"].is_string() {
                return Err(format!("nobody has signed for {}: {status}", planned.id));
            }
            if state["rehearsedIn"].is_string() || self.databases.is_restored(&planned.database()) {
                return Err(format!(
                    "{} still holds what was rehearsed: {status}",
                    planned.database()
                ));
            }
        }
        for kind in ["StatefulSet", "PersistentVolumeClaim", "RegistryRestore"] {
            if let Some((place, _)) = world.cluster.of_kind(kind).next() {
                return Err(format!("the {kind} {} is left of a rehearsal", place.name));
            }
        }
        Ok(())
    }

    fn states<'s>(&self, status: &'s Value) -> Result<&'s Vec<Value>, String> {
        let registries = status["registries"].as_array();
        registries
            .filter(|registries| registries.len() == self.plan.registries.len())
            .ok_or_else(|| format!("its registries should be told of: {status}"))
    }

    /// A registry that does not come up has a reason that was really met: a restore has said one that no other attempt would change, or so many have
    /// failed as there may be, or what it depends on does not come up. And it is told, or said to be overdue where nothing can be signed.
    fn is_given_up(&self, id: &str, state: &Value, status: &Value) -> Result<(), String> {
        let registries = self.states(status)?;
        let reason = state["reason"].as_str().unwrap_or_default();
        let has_failed = |state: &Value| state["phase"] == "Failed" || state["phase"] == "Skipped";
        let is_met = match state["phase"].as_str() {
            Some("Skipped") => self.plan.is_chained && registries.first().is_some_and(has_failed),
            Some("Failed") => state["attempts"].as_i64() >= Some(5) || self.databases.has_failed(id, reason),
            _ => false,
        };
        let is_told = state["phase"] == "Skipped"
            || state["report"]["path"].is_string()
            || (self.is_stuck && is_overdue(status));
        if is_met && is_told {
            return Ok(());
        }
        Err(format!(
            "{id} does not come up; a reason was met: {is_met}; it is told: {is_told}: {state}"
        ))
    }
}

/// Whether a step is said to take longer than it may: of what stays so, nothing more is said afterwards.
fn is_overdue(status: &Value) -> bool {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "OnTime" && condition["status"] == "False")
}

/// Whether a resource says so of itself as it is now.
fn is_ready(world: &World, place: &Place, wanted: &str, why: Option<&str>) -> Result<(), String> {
    let object = world.cluster.get(place).ok_or("it is gone")?;
    let (ready, reason, generation) = condition(object, "Ready");
    let is_now = object["metadata"]["generation"] == json!(generation);
    if ready == wanted && is_now && why.is_none_or(|why| why == reason) {
        return Ok(());
    }
    Err(format!(
        "{} {} should be {wanted}: {ready} {reason} of {generation}: {}",
        place.kind, place.name, object["status"]
    ))
}

/// Whether applications are let into a registry's database.
pub(super) fn is_open(world: &World, id: &str) -> bool {
    let service = Place::new("Service", "interior", &format!("{id}-db"));
    let service = world.cluster.get(&service);
    service.is_some_and(|service| has_endpoints(service))
}

/// Whether a Service has a selector.
pub(super) fn has_endpoints(service: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|selector| !selector.is_empty())
}
