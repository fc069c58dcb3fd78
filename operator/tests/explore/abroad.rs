//! The whole embassy: custodian and gates, a registry in custody, and an activation that fences home, restores, serves, and goes home again, with a
//! ledger that somebody else keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::config::digest;
use dataembassy_contract::custodian::{CustodianConfig, OrderBody, OrderConfig};
use dataembassy_contract::gate::GateConfig;
use dataembassy_ledger::activation::Statement;
use dataembassy_ledger::{Role, SigningKey};
use dataembassy_operator::settings::Side;
use serde_json::{Value, json};

use super::cluster::{Change, Place};
use super::nodes::{self, End};
use super::objects::{condition, custody, make, make_again, sample};
use super::schedule::Course;
use super::world::World;

const HOME: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A";

/// The registry's ledger, and the custodian's part in it.
#[derive(Debug)]
struct Ledger {
    term: u64,
    opening: Option<Value>,
    copies: u64,
    entries: u64,
    /// What was signed, by order.
    signed: BTreeMap<String, u64>,
}

pub(crate) struct Abroad {
    activation: Place,
    ledger: Ledger,
    /// The files that processes have loaded, by the address of their pod.
    loaded: BTreeMap<std::net::IpAddr, String>,
    /// Statements that enough people have signed.
    approved: BTreeSet<String>,
    /// Restores that brought the copy into the database, by UID.
    restored: BTreeSet<String>,
    /// Restores that were made, by UID.
    restores: BTreeSet<String>,
    /// Activations that have served, by UID: with how many attempts.
    served: BTreeMap<String, i64>,
    /// Jobs that are at work: whose, by UID.
    at_work: BTreeMap<String, String>,
    secrets: BTreeMap<Place, Value>,
    /// What the custodian was asked to sign for, by order.
    told: BTreeMap<String, Value>,
    was_fenced: bool,
}

fn approver(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn luxembourg() -> Value {
    let mut embassy = sample("embassy/luxembourg");
    let approvers: Vec<Value> = (1..=3)
        .map(|number| json!({"name": format!("approver-{number}"), "publicKey": approver(number).public_key().to_string()}))
        .collect();
    embassy["spec"]["activation"] = json!({"required": 2, "approvers": approvers});
    embassy
}

fn home_lost() -> Value {
    let mut activation = sample("activation/home-lost");
    let spec = &mut activation["spec"];
    spec["registries"].as_array_mut().unwrap().truncate(1);
    spec["registries"][0]["forgoLastCopy"] = true.into();
    // Longer than any clock here is ever off.
    spec["validUntil"] = "2099-01-01T00:00:00Z".into();
    activation
}

impl Course for Abroad {
    const NAME: &'static str = "abroad";
    const SIDE: Side = Side::Embassy;
    const KINDS: &'static [&'static str] = &[
        "DataEmbassy",
        "RegistryCustody",
        "EmbassyActivation",
        "RegistryRestore",
    ];
    const ROUNDS: usize = 200;
    const LOST: &'static [&'static str] = &[
        "DataEmbassy",
        "RegistryCustody",
        "EmbassyActivation",
        "RegistryRestore",
        "RecoveryPoint",
        "ConfigMap",
        "Deployment",
        "Pod",
        "Job",
    ];

    fn begin(world: &mut World) -> Self {
        make(world, &luxembourg());
        make(world, &custody());
        Self {
            activation: make(world, &home_lost()),
            ledger: Ledger {
                term: 1,
                opening: None,
                copies: 3,
                entries: 8,
                signed: BTreeMap::new(),
            },
            loaded: BTreeMap::new(),
            approved: BTreeSet::new(),
            restored: BTreeSet::new(),
            restores: BTreeSet::new(),
            served: BTreeMap::new(),
            at_work: BTreeMap::new(),
            secrets: BTreeMap::new(),
            told: BTreeMap::new(),
            was_fenced: false,
        }
    }

    fn live(&mut self, world: &mut World, is_hurried: bool) {
        world.pass(Duration::from_secs(1));
        nodes::work(world, is_hurried);
        for (place, pod, address) in nodes::running(world) {
            let component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
                .as_str()
                .unwrap_or_default();
            let is_late = is_hurried && world.random.one_in(2);
            match component {
                "custodian" | "gate" if !is_late => {
                    let file = Place::new("ConfigMap", "dataembassy", &format!("luxembourg-{component}"));
                    let file = world
                        .cluster
                        .get(&file)
                        .and_then(|file| file["data"]["config.json"].as_str());
                    if let Some(file) = file {
                        self.loaded.insert(address, file.to_owned());
                    }
                }
                "restore" if !is_late => {
                    let end = self.end(world, &pod);
                    nodes::end(world, &place, &end);
                }
                _ => {}
            }
            match component {
                "custodian" => self.keep(world, address, is_hurried),
                "gate" => self.guard(world, address),
                _ => {}
            }
        }
        if !is_hurried || world.random.one_in(2) {
            self.sign(world);
        }
    }

    fn interfere(&mut self, world: &mut World) {
        let choice = world.random.below(8);
        let place = self.activation.clone();
        world.tell_story(|| format!("fault: interference {choice}"));
        match choice {
            // What one of its name has left is another story.
            0 | 1 if self.ledger.opening.is_none() => make_again(world, &home_lost()),
            2 => make_again(world, &luxembourg()),
            3 => make_again(world, &custody()),
            4 | 5 => world.cluster.edit(&place, |activation| {
                activation["spec"]["state"] = "StoodDown".into();
                activation["spec"]["registries"][0]["homeSigner"] = HOME.into();
            }),
            6 => {
                let pods = nodes::running(world);
                if !pods.is_empty() {
                    let chosen = world.random.below(pods.len());
                    world.cluster.delete(&pods[chosen].0, None).unwrap();
                }
            }
            _ => world
                .cluster
                .edit(&place, |activation| activation["spec"]["approvals"] = json!([])),
        }
    }

    fn judge(&mut self, _world: &World, change: &Change) -> Result<(), String> {
        let object = &change.object;
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let owner = object["metadata"]["ownerReferences"][0]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match change.place.kind {
            "StatefulSet" | "PersistentVolumeClaim" | "Deployment" | "ConfigMap"
                if change.is_gone && change.is_ours =>
            {
                return Err(format!(
                    "the operator has deleted the {} {}",
                    change.place.kind, change.place.name
                ));
            }
            "Secret" => {
                let contents = self
                    .secrets
                    .entry(change.place.clone())
                    .or_insert_with(|| object["stringData"].clone());
                if change.is_gone || *contents != object["stringData"] {
                    return Err(format!(
                        "the Secret {} was made and is another one or gone",
                        change.place.name
                    ));
                }
            }
            "ConfigMap" if change.place.name == "luxembourg-custodian" => self.judge_orders(object)?,
            "ConfigMap" if change.place.name == "luxembourg-gate" => self.judge_lanes(object)?,
            "Service" if change.place.name == "population-db" && change.is_ours => {
                let is_open = object["spec"]["selector"]
                    .as_object()
                    .is_some_and(|selector| !selector.is_empty());
                if is_open && self.restored.is_empty() {
                    return Err("applications are let into a database that nobody has restored".to_owned());
                }
            }
            "RegistryRestore" if !change.is_gone && self.restores.insert(uid.clone()) => {
                self.judge_restore(object, &owner)?;
            }
            "Job" => {
                if change.is_gone || object["status"]["conditions"].is_array() {
                    self.at_work.remove(&uid);
                } else {
                    self.at_work.insert(uid, owner);
                }
                if self.at_work.len() > 1 {
                    return Err(format!("{} restores are at work at once", self.at_work.len()));
                }
            }
            "EmbassyActivation" if !change.is_gone => self.judge_activation(object, &uid)?,
            _ => {}
        }
        Ok(())
    }

    fn is_wanted(&self, world: &World) -> Result<(), String> {
        for (kind, name) in [("DataEmbassy", "luxembourg"), ("RegistryCustody", "population")] {
            let object = world
                .cluster
                .get(&Place::new(kind, "", name))
                .ok_or("it is gone")?;
            let (ready, reason, generation) = condition(object, "Ready");
            if ready != "True" || Some(generation) != object["metadata"]["generation"].as_i64() {
                return Err(format!(
                    "{kind} is not ready: {ready} {reason} of {generation}: {}",
                    object["status"]
                ));
            }
        }
        let activation = world.cluster.get(&self.activation).ok_or("it is gone")?;
        let (spec, status) = (&activation["spec"], &activation["status"]);
        let phase = status["phase"].as_str().unwrap_or_default();
        let holder = self
            .ledger
            .opening
            .as_ref()
            .map(|opening| opening["holder"].as_str().unwrap_or_default());
        let state = &status["registries"][0];
        // An order that came to nothing here, because another one's fence stands.
        if let Some(opening) = &self.ledger.opening
            && opening["holder"] == "Embassy"
            && state["signer"]["publicKey"] != opening["signer"]
        {
            return Ok(());
        }
        let service = world
            .cluster
            .get(&Place::new("Service", "interior", "population-db"));
        let is_open = service.is_some_and(|service| {
            service["spec"]["selector"]
                .as_object()
                .is_some_and(|selector| !selector.is_empty())
        });
        match spec["state"].as_str() {
            Some("StoodDown") => {
                if phase != "StoodDown" || holder == Some("Embassy") || is_open {
                    return Err(format!(
                        "it should be home's; the ledger says {holder:?}, open {is_open}: {status}"
                    ));
                }
            }
            _ if state["phase"] == "Failed" && state["attempts"].as_i64() >= Some(5) => {}
            _ => {
                if phase != "Serving"
                    || holder != Some("Embassy")
                    || !is_open
                    || !state["report"]["path"].is_string()
                {
                    return Err(format!(
                        "it should be served; the ledger says {holder:?}, open {is_open}: {status}"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Abroad {
    /// The custodian does what its file says, and reports.
    fn keep(&mut self, world: &mut World, address: std::net::IpAddr, is_hurried: bool) {
        let Some(file) = self.loaded.get(&address).cloned() else {
            return;
        };
        let config = CustodianConfig::from_json(file.as_bytes()).unwrap();
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
            "loaded": {"generation": config.generation, "digest": digest(file.as_bytes())}, "store": check("Reachable"),
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
    fn guard(&self, world: &mut World, address: std::net::IpAddr) {
        let Some(file) = self.loaded.get(&address) else {
            return;
        };
        let config = GateConfig::from_json(file.as_bytes()).unwrap();
        let report = json!({
            "process": "g", "version": "0.1.0", "startedAt": "2026-11-28T08:50:00Z",
            "loaded": {"generation": config.generation, "digest": digest(file.as_bytes())},
            "store": {"state": "True", "reason": "Reachable", "message": ""}, "certificateEndsAt": "2136-01-01T00:00:00Z",
        });
        world.processes.insert((address, "/status".to_owned()), report);
    }

    /// Approvers sign what the status shows.
    fn sign(&mut self, world: &mut World) {
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
            |number| json!({"signature": approver(number).sign(Role::Activation, text.as_bytes()).unwrap()});
        let signatures = json!([sign(1), sign(2)]);
        self.approved.insert(text.to_owned());
        world.tell_story(|| "the approvers sign".to_owned());
        world.cluster.edit(&self.activation, |activation| {
            activation["spec"]["approvals"] = signatures;
        });
    }

    /// How a restore's pod ends.
    fn end(&mut self, world: &mut World, pod: &Value) -> End {
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

    /// Nothing is ordered that enough have not signed, and what was asked to be signed for never changes.
    fn judge_orders(&mut self, object: &Arc<Value>) -> Result<(), String> {
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
    fn judge_lanes(&mut self, object: &Arc<Value>) -> Result<(), String> {
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
    fn judge_restore(&mut self, object: &Arc<Value>, owner: &str) -> Result<(), String> {
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

    fn judge_activation(&mut self, object: &Arc<Value>, uid: &str) -> Result<(), String> {
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
