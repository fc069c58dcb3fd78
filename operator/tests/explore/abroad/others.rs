//! Everybody abroad who is not the operator: the custodian with the ledgers, the gates, the mirror beside an activation, those who approve, and the
//! pods that restore.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataembassy_contract::config::{MirrorConfig, digest};
use dataembassy_contract::custodian::{CustodianConfig, CustodyConfig, OrderBody, OrderConfig};
use dataembassy_contract::gate::GateConfig;
use dataembassy_ledger::activation::{State, Statement};
use dataembassy_ledger::{Role, SigningKey};
use serde_json::{Value, json};

use super::plan::home_signer;
use super::wanted::is_open;
use super::{APPROVERS, Abroad, databases};
use crate::cluster::{Place, seconds};
use crate::nodes::{self, End};
use crate::tally::Fault;
use crate::world::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A";
/// When everything began that nobody asks the time of: so long ago that whatever may be so old at most has been too old from the beginning, and none
/// of it becomes so while somebody looks whether all is calm.
const AT: &str = "2026-11-27T08:50:00Z";

/// A registry's ledger, and the custodian's part in it.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) term: u64,
    /// The term of the newest copy.
    pub(super) source_term: u64,
    pub(super) opening: Option<Value>,
    pub(super) copies: u64,
    pub(super) entries: u64,
    /// What was signed, by order.
    pub(super) signed: BTreeMap<String, u64>,
}

impl Default for Ledger {
    /// Of a registry that was mirrored from home, and checked a few times.
    fn default() -> Self {
        Self {
            term: 1,
            source_term: 1,
            opening: None,
            copies: 3,
            entries: 8,
            signed: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// Whether the embassy writes the term that is open.
    pub(super) fn is_held(&self) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening["holder"] == "Embassy")
    }
}

/// What the mirror beside the activation has done.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    /// The last trigger that a copy of it answers.
    trigger: Option<String>,
    /// When it made its last copy.
    at: Option<String>,
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

impl Configuration for MirrorConfig {
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

/// A process reads its file, if it is another one than it has; whether it was.
pub(super) fn load<C: Configuration>(
    all: &mut BTreeMap<IpAddr, Arc<Loaded<C>>>,
    world: &World,
    (namespace, name): (&str, &str),
    address: IpAddr,
) -> bool {
    let object = world.cluster.get(&Place::new("ConfigMap", namespace, name));
    let Some(file) = object.and_then(|object| object["data"]["config.json"].as_str()) else {
        return false;
    };
    let is_new = all.get(&address).is_none_or(|loaded| loaded.file != file);
    if is_new {
        let loaded = Loaded {
            file: file.to_owned(),
            digest: digest(file.as_bytes()),
            config: C::read(file),
        };
        all.insert(address, Arc::new(loaded));
    }
    is_new
}

impl Abroad {
    /// Whether the ledger says that the registry is the embassy's.
    pub(super) fn holds(&self, registry: &str) -> bool {
        self.ledgers.get(registry).is_some_and(Ledger::is_held)
    }

    /// Whether any term but the first was ever opened.
    pub(super) fn has_opening(&self) -> bool {
        self.ledgers.values().any(|ledger| ledger.opening.is_some())
    }

    /// The store can be written again, unless what comes of its absence is what is looked at. An operator whose clock was off may wait for as long
    /// as that was, before it goes on without.
    pub(super) fn mend_store(&mut self, world: &World) {
        let activation = world.cluster.get(&self.activation);
        let goes_home = activation.is_some_and(|activation| activation["spec"]["state"] == "StoodDown");
        let is_looked_at = self.plan.accepts_unfenced
            && !self.has_opening()
            && !goes_home
            && !world.tally.has(Fault::ClockJump);
        if !is_looked_at {
            self.write_store(true);
        }
    }

    /// Whether the store can be written from now on.
    pub(super) fn write_store(&mut self, can_be: bool) {
        self.is_stuck = !can_be;
        self.changes += 1;
    }

    /// The custodian does what its file says, and reports where something has changed.
    pub(super) fn keep(&mut self, world: &mut World, address: IpAddr, is_hurried: bool) {
        let Some(loaded) = self.custodians.get(&address).cloned() else {
            return;
        };
        for order in &loaded.config.orders {
            if !is_hurried || world.random.one_in(2) {
                self.carry_out(order, world);
            }
        }
        let last = self.reported.get(&address);
        if last.is_some_and(|(file, changes)| Arc::ptr_eq(file, &loaded) && *changes == self.changes) {
            return;
        }
        let mut used = Vec::new();
        for registry in &loaded.config.registries {
            let Some(ledger) = self.ledgers.get(registry.registry.as_str()) else {
                continue;
            };
            used.push(json!({
                "registry": registry.registry, "lastSequence": ledger.copies, "usedBytes": 2048, "alarms": 0,
            }));
            let report = self.report(ledger, registry, &loaded.config.orders);
            let path = format!("/registries/{}", registry.registry);
            world.processes.insert((address, path), report);
        }
        let own = json!({
            "process": "c", "version": "0.1.0", "startedAt": AT, "signer": KEY, "storeId": "5".repeat(32), "clockDifferenceSeconds": 0,
            "loaded": {"generation": loaded.config.generation, "digest": loaded.digest}, "store": check("Reachable"),
            "space": {"sufficient": check("SpaceForecast"), "usedBytes": 1_073_741_824, "capacityBytes": 10_995_116_277_760_u64},
            "registries": used,
        });
        world.processes.insert((address, "/status".to_owned()), own);
        self.reported.insert(address, (loaded, self.changes));
    }

    /// What the custodian says of a registry.
    fn report(&self, ledger: &Ledger, registry: &CustodyConfig, orders: &[OrderConfig]) -> Value {
        let digest_of = |digit: &str| digit.repeat(64);
        let copies: Vec<Value> = (1..=ledger.copies)
            .rev()
            .map(|sequence| {
                json!({
                    "sequence": sequence, "digest": digest_of("a"), "copyId": "b".repeat(32), "takenAt": AT, "arrivedAt": AT,
                    "bytes": 1024, "intact": "True", "verifiedAt": AT, "lockedUntil": "2026-12-23T10:00:30Z",
                })
            })
            .collect();
        let asked = orders.iter().filter(|order| order.registry == registry.registry);
        let answers: Vec<Value> = asked
            .filter_map(|order| {
                let state = match ledger.signed.get(&order.id) {
                    Some(sequence) => json!({"done": {"sequence": sequence}}),
                    None if self.is_stuck => {
                        json!({"waiting": {"reason": "StoreUnreachable", "message": "the store does not answer"}})
                    }
                    None => return None,
                };
                Some(json!({"id": order.id, "state": state}))
            })
            .collect();
        let mut report = json!({
            "registry": registry.registry, "generation": registry.generation, "process": "c", "term": ledger.term,
            "ledger": check("LedgerIntact"), "intact": check("Proven"), "copies": copies, "retention": {"kept": copies.len()},
            "usedBytes": 2048, "orders": answers,
            "verification": {"copies": copies.len(), "verified": copies.len(), "oldestProofAt": AT, "bytesRead": 4096},
            "sourceHead": {"sequence": ledger.copies, "digest": digest_of("a")}, "sourceTerm": ledger.source_term,
            "custodyHead": {"sequence": ledger.entries, "digest": digest_of("c")},
            "lastArrival": {"sequence": ledger.copies, "takenAt": AT, "arrivedAt": AT},
        });
        if let Some(opening) = &ledger.opening {
            report["opening"] = opening.clone();
        }
        report
    }

    fn carry_out(&mut self, order: &OrderConfig, world: &mut World) {
        let Some(ledger) = self.ledgers.get_mut(order.registry.as_str()) else {
            return;
        };
        if self.is_stuck || ledger.signed.contains_key(&order.id) {
            return;
        }
        let head = json!({"sequence": ledger.copies, "digest": "a".repeat(64)});
        let next = ledger.entries + 1;
        match &order.body {
            OrderBody::Activate(warrant) if !ledger.is_held() => {
                let statement = Statement::read(&warrant.statement).unwrap();
                // What people have signed is the way home.
                if statement.state != State::Active {
                    return;
                }
                let mut stated = statement.registries.iter();
                let stated = stated
                    .find(|one| one.registry.as_str() == order.registry)
                    .unwrap();
                let signer = stated.signer.unwrap().to_string();
                ledger.opening = Some(json!({
                    "holder": "Embassy", "sequence": next, "digest": "f".repeat(64), "signer": signer, "order": order.id, "sourceHead": head,
                }));
                ledger.term += 1;
            }
            OrderBody::Release(_) if ledger.is_held() => {
                ledger.opening = Some(json!({
                    "holder": "Home", "sequence": next, "digest": "e".repeat(64), "signer": home_signer(&order.registry), "order": order.id,
                    "sourceHead": head,
                }));
                ledger.term += 1;
            }
            OrderBody::Report(_) => {}
            _ => return,
        }
        ledger.entries = next;
        ledger.signed.insert(order.id.clone(), next);
        self.changes += 1;
        world.tell_story(|| format!("the custodian signs {} of {} as {next}", order.id, order.registry));
    }

    /// A gate says what it has loaded.
    pub(super) fn guard(&self, world: &mut World, address: IpAddr) {
        let Some(loaded) = self.gates.get(&address) else {
            return;
        };
        let report = json!({
            "process": "g", "version": "0.1.0", "startedAt": AT,
            "loaded": {"generation": loaded.config.generation, "digest": loaded.digest},
            "store": check("Reachable"), "certificateEndsAt": "2136-01-01T00:00:00Z",
        });
        world.processes.insert((address, "/status".to_owned()), report);
    }

    /// The mirror beside the activation copies what was brought up whole, once in its term and whenever it is asked to, and reports.
    pub(super) fn mirror(&mut self, world: &mut World, address: IpAddr) {
        let Some(loaded) = self.mirrors.get(&address).cloned() else {
            return;
        };
        let registry = self.plan.registries[0];
        let asked = &loaded.config.trigger;
        let is_whole = self.databases.is_whole(&registry.database());
        let ledger = self.ledgers.get_mut(registry.id).unwrap();
        if ledger.is_held() && is_whole && !self.is_stuck {
            let is_asked = asked.is_some() && *asked != self.mirrored.trigger;
            if is_asked && is_open(world, registry.id) {
                let broken = "the last copy is asked for, and applications are still let in";
                self.broken.get_or_insert_with(|| broken.to_owned());
            }
            if is_asked || ledger.source_term != ledger.term {
                ledger.copies += 1;
                ledger.source_term = ledger.term;
                self.changes += 1;
                self.mirrored.trigger.clone_from(asked);
                self.mirrored.at = Some(seconds(world.cluster.now));
                world.tell_story(|| format!("the mirror makes a copy, asked by {asked:?}"));
            }
        }
        let check = |reason: &str| json!({"state": "True", "reason": reason, "message": "", "since": AT});
        let head = json!({"sequence": ledger.copies, "digest": "a".repeat(64)});
        let mut report = json!({
            "process": "p", "loaded": {"generation": loaded.config.generation, "digest": loaded.digest}, "source": check("Reachable"),
            "store": check("Reachable"), "intact": check("Proven"), "head": head, "signer": "ssh-ed25519 AAAA",
        });
        if let Some(at) = &self.mirrored.at {
            report["lastCopy"] = json!({
                "sequence": ledger.copies, "digest": "a".repeat(64), "takenAt": at, "committedAt": at, "bytes": 1024,
            });
        }
        if let Some(trigger) = &self.mirrored.trigger {
            report["lastTrigger"] = trigger.as_str().into();
        }
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

    /// How a restore's pod ends. What belongs to a restore that is gone is killed before it writes.
    pub(super) fn end(&mut self, world: &mut World, pod: &Value) -> End {
        let found = nodes::job_of(world, pod);
        if let Some(job) = found
            .as_ref()
            .and_then(|(job, _)| job["metadata"]["uid"].as_str())
        {
            self.ended.insert(job.to_owned(), world.cluster.changes.len());
        }
        let restore = found.map(|(_, restore)| restore);
        let restore = restore.filter(|restore| !self.gone.contains(restore));
        let Some(restore) = restore.and_then(|restore| self.restores.get(&restore)) else {
            return databases::killed();
        };
        match self.databases.work(&restore["spec"], &mut world.random) {
            Ok(end) => end,
            Err(broken) => {
                self.broken.get_or_insert(broken);
                databases::killed()
            }
        }
    }
}

fn check(reason: &str) -> Value {
    json!({"state": "True", "reason": reason, "message": ""})
}
