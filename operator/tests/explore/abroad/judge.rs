//! What must never be abroad, by what each change of an object shows.

use dataembassy_contract::custodian::{CustodianConfig, OrderBody};
use dataembassy_contract::gate::GateConfig;
use serde_json::Value;

use super::wanted::has_endpoints;
use super::{Abroad, databases};
use crate::cluster::Change;

impl Abroad {
    /// Nothing is ordered that enough have not signed, and what was asked to be signed for never changes. A rehearsal orders nothing.
    pub(super) fn judge_orders(&mut self, object: &Value) -> Result<(), String> {
        let file = object["data"]["config.json"].as_str().unwrap_or_default();
        let config = CustodianConfig::from_json(file.as_bytes()).map_err(|error| error.to_string())?;
        for order in &config.orders {
            let is_meant = matches!(order.body, OrderBody::Activate(_) | OrderBody::Release(_));
            if is_meant && self.plan.rehearses {
                return Err(format!("a rehearsal orders {} of {}", order.id, order.registry));
            }
            let warrant = match &order.body {
                OrderBody::Activate(warrant) | OrderBody::Release(warrant) => warrant,
                OrderBody::Report(report) => {
                    let result = serde_json::to_value(&report.result).unwrap();
                    let about = (order.id.clone(), order.registry.clone());
                    let told = self.told.entry(about).or_insert_with(|| result.clone());
                    if *told != result {
                        return Err(format!(
                            "the custodian is asked to sign {result} for {}, and was asked for {told}",
                            order.id
                        ));
                    }
                    &report.warrant
                }
                _ => continue,
            };
            if !self.approved.contains(&warrant.statement) {
                return Err(format!(
                    "the order {} is handed on, and nobody has approved it",
                    order.id
                ));
            }
        }
        Ok(())
    }

    /// What is fenced in the ledger stays closed once an activation has put that down: of a fence that is signed while its order is being taken back
    /// nobody can know before the custodian has said so. A rehearsal closes nothing.
    pub(super) fn judge_lanes(&mut self, object: &Value) -> Result<(), String> {
        let file = object["data"]["config.json"].as_str().unwrap_or_default();
        let config = GateConfig::from_json(file.as_bytes()).map_err(|error| error.to_string())?;
        let before = std::mem::take(&mut self.fenced);
        for lane in config.lanes {
            if lane.fenced && self.plan.rehearses {
                return Err(format!("a rehearsal shuts home out of {}", lane.registry));
            }
            if lane.fenced {
                self.fenced.insert(lane.registry);
            } else if before.contains(&lane.registry) && self.is_heard(&lane.registry) {
                return Err(format!(
                    "the gate is told to let home in, while the embassy holds {}",
                    lane.registry
                ));
            }
        }
        Ok(())
    }

    /// Whether the fence that holds a registry stands in an activation's status.
    fn is_heard(&self, registry: &str) -> bool {
        let ledger = self.ledgers.get(registry).filter(|ledger| ledger.is_held());
        let opening = ledger.and_then(|ledger| ledger.opening.as_ref());
        let fence = opening.and_then(|opening| opening["sequence"].as_i64());
        fence.is_some() && fence == self.heard.get(registry).copied()
    }

    /// Passwords and keys are made once; those of a rehearsal go with its server.
    pub(super) fn judge_secret(&mut self, change: &Change) -> Result<(), String> {
        if change.is_gone && self.plan.rehearses {
            self.secrets.remove(&change.place);
            return Ok(());
        }
        let contents = &change.object["stringData"];
        let made = self.secrets.entry(change.place.clone());
        let made = made.or_insert_with(|| contents.clone());
        if change.is_gone || *made != *contents {
            return Err(format!(
                "the Secret {} was made and is another one or gone",
                change.place.name
            ));
        }
        Ok(())
    }

    /// Applications come to what was restored, is meant, and is the embassy's, or was accepted without a fence.
    pub(super) fn judge_service(&self, name: &str, object: &Value) -> Result<(), String> {
        let id = name.strip_suffix("-db").unwrap_or_default();
        let Some(planned) = self.plan.registry(id) else {
            return Ok(());
        };
        if self.plan.rehearses {
            return Err(format!("a rehearsal makes the Service {name}"));
        }
        if !has_endpoints(object) {
            return Ok(());
        }
        if !self.databases.is_whole(&planned.database()) {
            return Err("applications are let into a database that nobody has restored".to_owned());
        }
        if !self.holds(id) && !self.plan.accepts_unfenced {
            return Err(format!(
                "applications are let into {id}, and home may commit to it as well"
            ));
        }
        Ok(())
    }

    /// Nothing is restored before the fence stands in the ledger, unless that was accepted or nothing is meant, and nothing over what is served.
    pub(super) fn judge_restore(&mut self, change: &Change, uid: &str, owner: &str) -> Result<(), String> {
        if change.is_gone {
            self.gone.insert(uid.to_owned());
            return Ok(());
        }
        if self
            .restores
            .insert(uid.to_owned(), change.object.clone())
            .is_some()
        {
            return Ok(());
        }
        let spec = &change.object["spec"];
        let id = spec["registry"]["id"].as_str().unwrap_or_default();
        if !self.holds(id) && !self.plan.rehearses && !self.plan.accepts_unfenced {
            return Err(format!(
                "a restore of {id} is made, and home may commit to it as well"
            ));
        }
        if self.served.contains_key(&(owner.to_owned(), id.to_owned())) {
            return Err(format!("what is served is restored over: {spec}"));
        }
        Ok(())
    }

    /// Into one database writes one at a time, but for one that is being ended. A Job whose pod has ended writes no more, whatever its status says.
    pub(super) fn judge_job(&mut self, change: &Change, uid: String, owner: String) -> Result<(), String> {
        if change.is_gone || change.object["status"]["conditions"].is_array() {
            self.at_work.remove(&uid);
            return Ok(());
        }
        self.at_work.insert(uid, owner);
        let writes = |job: &String| self.ended.get(job).is_none_or(|after| self.judged <= *after);
        let jobs = self.at_work.iter();
        let standing = jobs.filter(|one| writes(one.0) && !self.gone.contains(one.1));
        let restores = standing.filter_map(|(_, owner)| self.restores.get(owner));
        let mut places: Vec<String> = restores.map(|one| databases::database(&one["spec"])).collect();
        places.sort_unstable();
        match places.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => Err(format!("two restores are at work in {} at once", two[0])),
            None => Ok(()),
        }
    }

    pub(super) fn judge_activation(&mut self, object: &Value, uid: &str) -> Result<(), String> {
        let status = &object["status"];
        let text = status["statement"]["text"].as_str().unwrap_or_default();
        if status["approvedAt"].is_string() && !self.approved.contains(text) {
            return Err(format!(
                "it says that it was approved, which nobody has: {status}"
            ));
        }
        for state in status["registries"].as_array().into_iter().flatten() {
            let phase = state["phase"].as_str().unwrap_or_default();
            let is_fenced = state["fence"].is_i64();
            if self.plan.rehearses && (is_fenced || matches!(phase, "Cutting" | "Serving")) {
                return Err(format!("a rehearsal goes on as if it were meant: {status}"));
            }
            if phase == "Serving" && !is_fenced && !self.plan.accepts_unfenced {
                return Err(format!(
                    "it is served without a fence, which nobody has accepted: {status}"
                ));
            }
            let attempts = state["attempts"].as_i64().unwrap_or_default();
            let id = state["id"].as_str().unwrap_or_default();
            if let Some(fence) = state["fence"].as_i64() {
                self.heard.insert(id.to_owned(), fence);
            }
            let of = (uid.to_owned(), id.to_owned());
            match self.served.get(&of) {
                Some(before) if *before != attempts => {
                    return Err(format!("what was served begins again: {status}"));
                }
                None if phase == "Serving" => {
                    self.served.insert(of, attempts);
                }
                Some(_) if !matches!(phase, "Serving" | "StandingDown" | "StoodDown") => {
                    return Err(format!("what was served is {phase}: {status}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
