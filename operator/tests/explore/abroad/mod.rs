//! The whole embassy: custodian and gates, a registry in custody, and an activation that fences home, restores, serves, and goes home again, with a
//! ledger that somebody else keeps.

mod judge;
mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dataembassy_contract::custodian::CustodianConfig;
use dataembassy_contract::gate::GateConfig;
use dataembassy_ledger::SigningKey;
use dataembassy_operator::settings::Side;
use others::{Ledger, Loaded};
use serde_json::{Value, json};

use crate::cluster::{Change, Place};
use crate::nodes;
use crate::objects::{condition, custody, make, make_again, sample};
use crate::schedule::Course;
use crate::world::World;

const HOME: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg";
pub(crate) struct Abroad {
    activation: Place,
    ledger: Ledger,
    /// What custodians have loaded, by the address of their pod.
    custodians: BTreeMap<IpAddr, Arc<Loaded<CustodianConfig>>>,
    /// And what gates have.
    gates: BTreeMap<IpAddr, Arc<Loaded<GateConfig>>>,
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

/// Keys of those who approve.
static APPROVERS: LazyLock<[SigningKey; 3]> =
    LazyLock::new(|| [1, 2, 3].map(|number| SigningKey::from_seed(&[number; 32])));

fn luxembourg() -> Value {
    static LUXEMBOURG: LazyLock<Value> = LazyLock::new(|| {
        let mut embassy = sample("embassy/luxembourg");
        let approvers = APPROVERS.iter().zip(1..).map(
            |(key, number)| json!({"name": format!("approver-{number}"), "publicKey": key.public_key().to_string()}),
        );
        let approvers: Vec<Value> = approvers.collect();
        embassy["spec"]["activation"] = json!({"required": 2, "approvers": approvers});
        embassy
    });
    LUXEMBOURG.clone()
}

fn home_lost() -> Value {
    static HOME_LOST: LazyLock<Value> = LazyLock::new(|| {
        let mut activation = sample("activation/home-lost");
        let spec = &mut activation["spec"];
        spec["registries"].as_array_mut().unwrap().truncate(1);
        spec["registries"][0]["forgoLastCopy"] = true.into();
        // Longer than any clock here is ever off.
        spec["validUntil"] = "2099-01-01T00:00:00Z".into();
        activation
    });
    HOME_LOST.clone()
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
            custodians: BTreeMap::new(),
            gates: BTreeMap::new(),
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
                "custodian" if !is_late => others::load(&mut self.custodians, world, component, address),
                "gate" if !is_late => others::load(&mut self.gates, world, component, address),
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
