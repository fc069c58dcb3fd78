//! Everybody abroad who is not the operator: the custodian with the ledger, the gates, those who approve, and the pods that restore.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataembassy_contract::config::digest;
use dataembassy_contract::custodian::{CustodianConfig, OrderBody, OrderConfig};
use dataembassy_contract::gate::GateConfig;
use dataembassy_ledger::activation::Statement;
use dataembassy_ledger::{Role, SigningKey};
use serde_json::{Value, json};

use super::{APPROVERS, Abroad, HOME};
use crate::cluster::Place;
use crate::nodes::{self, End};
use crate::world::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A";

/// The registry's ledger, and the custodian's part in it.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) term: u64,
    pub(super) opening: Option<Value>,
    pub(super) copies: u64,
    pub(super) entries: u64,
    /// What was signed, by order.
    pub(super) signed: BTreeMap<String, u64>,
}

/// A configuration that can be read from a file.
pub(super) trait Configuration: Sized {
    /// Reads it.
    fn read(file: &str) -> Self;
}

impl Configuration for CustodianConfig {
    fn read(file: &str) -> Self {
        Self::from_json(file.as_bytes()).unwrap()
    }
}

impl Configuration for GateConfig {
    fn read(file: &str) -> Self {
        Self::from_json(file.as_bytes()).unwrap()
    }
}

/// What a process has read from its file.
pub(super) struct Loaded<C> {
    file: String,
    digest: String,
    config: C,
}

/// A process reads its file, if it is another one than it has.
pub(super) fn load<C: Configuration>(
    all: &mut BTreeMap<IpAddr, Arc<Loaded<C>>>,
    world: &World,
    component: &str,
    address: IpAddr,
) {
    let place = Place::new("ConfigMap", "dataembassy", &format!("luxembourg-{component}"));
    let object = world.cluster.get(&place);
    let Some(file) = object.and_then(|object| object["data"]["config.json"].as_str()) else {
        return;
    };
    if all.get(&address).is_none_or(|loaded| loaded.file != file) {
        let loaded = Loaded {
            file: file.to_owned(),
            digest: digest(file.as_bytes()),
            config: C::read(file),
        };
        all.insert(address, Arc::new(loaded));
    }
}

impl Abroad {
    /// The custodian does what its file says, and reports.
    pub(super) fn keep(&mut self, world: &mut World, address: IpAddr, is_hurried: bool) {
        let Some(loaded) = self.custodians.get(&address).cloned() else {
            return;
        };
        let config = &loaded.config;
        let mut answers = Vec::new();
        for order in &config.orders {
            if !is_hurried || world.random.one_in(2) {
                self.carry_out(order, world);
            }
            if let Some(sequence) = self.ledger.signed.get(&order.id) {
                answers.push(json!({"id": order.id, "state": {"done": {"sequence": sequence}}}));
            }
        }
        let digest_of = |digit: &str| digit.repeat(64);
        let at = "2026-11-28T08:50:00Z";
        let copies: Vec<Value> = (1..=self.ledger.copies)
            .rev()
            .map(|sequence| {
                json!({
                    "sequence": sequence, "digest": digest_of("a"), "copyId": "b".repeat(32), "takenAt": at, "arrivedAt": at,
                    "bytes": 1024, "intact": "True", "verifiedAt": at, "lockedUntil": "2026-12-23T10:00:30Z",
                })
            })
            .collect();
        let check = |reason: &str| json!({"state": "True", "reason": reason, "message": ""});
        let generation = config.registries.first().map(|registry| registry.generation);
        let mut report = json!({
            "registry": "population", "generation": generation, "process": "c", "term": self.ledger.term, "ledger": check("LedgerIntact"),
            "intact": check("Proven"), "copies": copies, "retention": {"kept": copies.len()}, "usedBytes": 2048, "orders": answers,
            "verification": {"copies": copies.len(), "verified": copies.len(), "oldestProofAt": at, "bytesRead": 4096},
            "sourceHead": {"sequence": self.ledger.copies, "digest": digest_of("a")},
            "custodyHead": {"sequence": self.ledger.entries, "digest": digest_of("c")},
            "lastArrival": {"sequence": self.ledger.copies, "takenAt": at, "arrivedAt": at},
        });
        if let Some(opening) = &self.ledger.opening {
            report["opening"] = opening.clone();
        }
        let own = json!({
            "process": "c", "version": "0.1.0", "startedAt": at, "signer": KEY, "storeId": "5".repeat(32), "clockDifferenceSeconds": 0,
            "loaded": {"generation": config.generation, "digest": loaded.digest}, "store": check("Reachable"),
            "space": {"sufficient": check("SpaceForecast"), "usedBytes": 1_073_741_824, "capacityBytes": 10_995_116_277_760_u64},
            "registries": [{"registry": "population", "lastSequence": self.ledger.copies, "usedBytes": 2048, "alarms": 0}],
        });
        if generation.is_some() {
            world
                .processes
                .insert((address, "/registries/population".to_owned()), report);
        }
        world.processes.insert((address, "/status".to_owned()), own);
    }

    fn carry_out(&mut self, order: &OrderConfig, world: &mut World) {
        if self.ledger.signed.contains_key(&order.id) {
            return;
        }
        let ledger = &mut self.ledger;
        let head = json!({"sequence": ledger.copies, "digest": "a".repeat(64)});
        let holder = ledger
            .opening
            .as_ref()
            .map(|opening| opening["holder"] == "Embassy");
        let next = ledger.entries + 1;
        match &order.body {
            OrderBody::Activate(warrant) if holder != Some(true) => {
                let statement = Statement::read(&warrant.statement).unwrap();
                let signer = statement.registries[0].signer.unwrap().to_string();
                ledger.opening = Some(json!({
                    "holder": "Embassy", "sequence": next, "digest": "f".repeat(64), "signer": signer, "order": order.id, "sourceHead": head,
                }));
                ledger.term += 1;
            }
            OrderBody::Release(_) if holder == Some(true) => {
                ledger.opening = Some(json!({
                    "holder": "Home", "sequence": next, "digest": "e".repeat(64), "signer": HOME, "order": order.id, "sourceHead": head,
                }));
                ledger.term += 1;
            }
            OrderBody::Report(_) => {}
            _ => return,
        }
        ledger.entries = next;
        ledger.signed.insert(order.id.clone(), next);
        world.tell_story(|| format!("the custodian signs {} as {next}", order.id));
    }

    /// A gate says what it has loaded.
    pub(super) fn guard(&self, world: &mut World, address: IpAddr) {
        let Some(loaded) = self.gates.get(&address) else {
            return;
        };
        let report = json!({
            "process": "g", "version": "0.1.0", "startedAt": "2026-11-28T08:50:00Z",
            "loaded": {"generation": loaded.config.generation, "digest": loaded.digest},
            "store": {"state": "True", "reason": "Reachable", "message": ""}, "certificateEndsAt": "2136-01-01T00:00:00Z",
        });
        world.processes.insert((address, "/status".to_owned()), report);
    }

    /// Approvers sign what the status shows.
    pub(super) fn sign(&mut self, world: &mut World) {
        let Some(activation) = world.cluster.get(&self.activation).cloned() else {
            return;
        };
        let Some(text) = activation["status"]["statement"]["text"].as_str() else {
            return;
        };
        let is_signed = activation["spec"]["approvals"]
            .as_array()
            .is_some_and(|approvals| approvals.len() == 2);
        if is_signed && self.approved.contains(text) {
            return;
        }
        let sign =
            |key: &SigningKey| json!({"signature": key.sign(Role::Activation, text.as_bytes()).unwrap()});
        let signatures = json!([sign(&APPROVERS[0]), sign(&APPROVERS[1])]);
        self.approved.insert(text.to_owned());
        world.tell_story(|| "the approvers sign".to_owned());
        world.cluster.edit(&self.activation, |activation| {
            activation["spec"]["approvals"] = signatures;
        });
    }

    /// How a restore's pod ends.
    pub(super) fn end(&mut self, world: &mut World, pod: &Value) -> End {
        if world.random.one_in(6) {
            return End {
                code: 137,
                reason: "OOMKilled",
                message: String::new(),
            };
        }
        if let Some((_, restore)) = nodes::job_of(world, pod) {
            self.restored.insert(restore);
        }
        End {
            code: 0,
            reason: "Completed",
            message:
                json!({"ending": "Restored", "reason": "Restored", "message": "41 tables", "tables": 41})
                    .to_string(),
        }
    }
}
