//! What must never be abroad, by what each change of an object shows.

use dataembassy_contract::custodian::{CustodianConfig, OrderBody};
use dataembassy_contract::gate::GateConfig;
use serde_json::Value;

use super::Abroad;

impl Abroad {
    /// Nothing is ordered that enough have not signed, and what was asked to be signed for never changes.
    pub(super) fn judge_orders(&mut self, object: &Value) -> Result<(), String> {
        let file = object["data"]["config.json"].as_str().unwrap_or_default();
        let config = CustodianConfig::from_json(file.as_bytes()).map_err(|error| error.to_string())?;
        for order in &config.orders {
            let warrant = match &order.body {
                OrderBody::Activate(warrant) | OrderBody::Release(warrant) => warrant,
                OrderBody::Report(report) => {
                    let result = serde_json::to_value(&report.result).unwrap();
                    let told = self
                        .told
                        .entry(order.id.clone())
                        .or_insert_with(|| result.clone());
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

    /// What is fenced in the ledger stays closed.
    pub(super) fn judge_lanes(&mut self, object: &Value) -> Result<(), String> {
        let file = object["data"]["config.json"].as_str().unwrap_or_default();
        let config = GateConfig::from_json(file.as_bytes()).map_err(|error| error.to_string())?;
        let is_fenced = config
            .lanes
            .iter()
            .any(|lane| lane.registry == "population" && lane.fenced);
        let holds = self
            .ledger
            .opening
            .as_ref()
            .is_some_and(|opening| opening["holder"] == "Embassy");
        if self.was_fenced
            && holds
            && config
                .lanes
                .iter()
                .any(|lane| lane.registry == "population" && !lane.fenced)
        {
            return Err("the gate is told to let home in, while the embassy holds the registry".to_owned());
        }
        self.was_fenced = is_fenced;
        Ok(())
    }

    /// Nothing is restored before the fence stands in the ledger, and nothing over what is served.
    pub(super) fn judge_restore(&mut self, object: &Value, owner: &str) -> Result<(), String> {
        let holds = self
            .ledger
            .opening
            .as_ref()
            .is_some_and(|opening| opening["holder"] == "Embassy");
        if !holds {
            return Err(format!(
                "a restore is made, and the ledger says {:?}",
                self.ledger.opening
            ));
        }
        if self.served.contains_key(owner) {
            return Err(format!("what is served is restored over: {}", object["spec"]));
        }
        Ok(())
    }

    pub(super) fn judge_activation(&mut self, object: &Value, uid: &str) -> Result<(), String> {
        let status = &object["status"];
        let text = status["statement"]["text"].as_str().unwrap_or_default();
        if status["approvedAt"].is_string() && !self.approved.contains(text) {
            return Err(format!(
                "it says that it was approved, which nobody has: {status}"
            ));
        }
        let state = &status["registries"][0];
        let attempts = state["attempts"].as_i64().unwrap_or_default();
        let is_served = state["phase"] == "Serving";
        match self.served.get(uid) {
            Some(before) if *before != attempts => {
                return Err(format!("what was served begins again: {status}"));
            }
            None if is_served => {
                self.served.insert(uid.to_owned(), attempts);
            }
            Some(_)
                if !matches!(
                    state["phase"].as_str(),
                    Some("Serving" | "StandingDown" | "StoodDown")
                ) =>
            {
                return Err(format!("what was served is {}: {status}", state["phase"]));
            }
            _ => {}
        }
        Ok(())
    }
}
