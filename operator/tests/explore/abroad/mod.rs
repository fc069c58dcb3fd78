//! The whole embassy: custodian and gates, up to three registries in custody, and an activation of them with ledgers that somebody else keeps. It
//! fences home, restores, serves, beside a mirror or without, and goes home again; or it rehearses that, and cleans up.

mod databases;
mod judge;
mod others;
mod plan;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use databases::Databases;
use dataembassy_contract::config::MirrorConfig;
use dataembassy_contract::custodian::CustodianConfig;
use dataembassy_contract::gate::GateConfig;
use dataembassy_ledger::SigningKey;
use dataembassy_operator::settings::Side;
use others::{Ledger, Loaded, Mirrored};
use plan::{Plan, Planned, home_signer, luxembourg, mirror};
use serde_json::{Value, json};

use crate::cluster::{Change, Place};
use crate::nodes;
use crate::objects::{custody_of, make, make_again};
use crate::schedule::Course;
use crate::world::World;

/// Where custodian, gate and mirror find their files.
const CUSTODIAN: (&str, &str) = ("dataembassy", "luxembourg-custodian");
const GATE: (&str, &str) = ("dataembassy", "luxembourg-gate");
const MIRROR: (&str, &str) = ("interior", "population-mirror");

pub(crate) struct Abroad {
    plan: Plan,
    activation: Place,
    /// By registry.
    ledgers: BTreeMap<&'static str, Ledger>,
    /// How often something was changed that the custodian reports.
    changes: u64,
    /// Whether the store cannot be written now.
    is_stuck: bool,
    databases: Databases,
    mirrored: Mirrored,
    /// What custodians have loaded, by the address of their pod.
    custodians: BTreeMap<IpAddr, Arc<Loaded<CustodianConfig>>>,
    /// By what each has reported last.
    reported: BTreeMap<IpAddr, (Arc<Loaded<CustodianConfig>>, u64)>,
    /// What gates have loaded.
    gates: BTreeMap<IpAddr, Arc<Loaded<GateConfig>>>,
    /// And what mirrors have.
    mirrors: BTreeMap<IpAddr, Arc<Loaded<MirrorConfig>>>,
    /// Statements that enough people have signed.
    approved: BTreeSet<String>,
    /// How many orders have replaced another.
    orders: u32,
    /// Restores that were made, by UID, and those of them that are gone.
    restores: BTreeMap<String, Arc<Value>>,
    gone: BTreeSet<String>,
    /// What activations have served, by UID and registry: with how many attempts.
    served: BTreeMap<(String, String), i64>,
    /// Jobs that are at work: whose, by UID.
    at_work: BTreeMap<String, String>,
    /// Jobs whose pod has ended, which their status tells later: by UID, after how many changes.
    ended: BTreeMap<String, usize>,
    /// How many changes were judged.
    judged: usize,
    /// The fences that an activation has put down, by registry.
    heard: BTreeMap<String, i64>,
    secrets: BTreeMap<Place, Value>,
    /// What the custodian was asked to sign for, by order and registry.
    told: BTreeMap<(String, String), Value>,
    /// Registries that the gates shut home out of.
    fenced: BTreeSet<String>,
    /// What must not be, and shows in no object.
    broken: Option<String>,
}

/// Keys of those who approve.
static APPROVERS: LazyLock<[SigningKey; 3]> =
    LazyLock::new(|| [1, 2, 3].map(|number| SigningKey::from_seed(&[number; 32])));

impl Course for Abroad {
    const NAME: &'static str = "activation";
    const SIDE: Side = Side::Embassy;
    const KINDS: &'static [&'static str] = &[
        "DataEmbassy",
        "RegistryCustody",
        "EmbassyActivation",
        "RegistryMirror",
        "RegistryRestore",
    ];
    // Another attempt may follow minutes after one that failed, and somebody looks every three seconds.
    const ROUNDS: usize = 400;
    const WARM: usize = 80;
    const LOST: &'static [&'static str] = &[
        "DataEmbassy",
        "RegistryCustody",
        "EmbassyActivation",
        "RegistryMirror",
        "RegistryRestore",
        "RecoveryPoint",
        "ConfigMap",
        "Deployment",
        "Pod",
        "Job",
    ];

    fn begin(world: &mut World) -> Self {
        let plan = Plan::draw(&mut world.random);
        world.tell_story(|| format!("{plan:?}"));
        make(world, &luxembourg());
        let mut databases = Databases::default();
        for planned in &plan.registries {
            make(world, &custody_of(planned.id));
            if planned.is_taken {
                databases.fill(planned.database());
            }
        }
        if plan.has_mirror {
            make(world, &mirror());
        }
        Self {
            activation: make(world, &plan.activation()),
            ledgers: plan
                .registries
                .iter()
                .map(|planned| (planned.id, Ledger::default()))
                .collect(),
            changes: 0,
            is_stuck: plan.accepts_unfenced && world.random.one_in(2),
            plan,
            databases,
            mirrored: Mirrored::default(),
            custodians: BTreeMap::new(),
            reported: BTreeMap::new(),
            gates: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            approved: BTreeSet::new(),
            orders: 0,
            restores: BTreeMap::new(),
            gone: BTreeSet::new(),
            served: BTreeMap::new(),
            at_work: BTreeMap::new(),
            ended: BTreeMap::new(),
            judged: 0,
            heard: BTreeMap::new(),
            secrets: BTreeMap::new(),
            told: BTreeMap::new(),
            fenced: BTreeSet::new(),
            broken: None,
        }
    }

    fn live(&mut self, world: &mut World, is_hurried: bool) {
        world.pass(Duration::from_secs(1));
        if self.is_stuck && !is_hurried {
            self.mend_store(world);
        }
        nodes::work(world, is_hurried);
        for (place, pod, address) in nodes::running(world) {
            let component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
                .as_str()
                .unwrap_or_default();
            let is_late = is_hurried && world.random.one_in(2);
            match component {
                "custodian" => {
                    if !is_late {
                        others::load(&mut self.custodians, world, CUSTODIAN, address);
                    }
                    self.keep(world, address, is_hurried);
                }
                "gate" if !is_late && others::load(&mut self.gates, world, GATE, address) => {
                    self.guard(world, address);
                }
                "mirror" if !is_late => {
                    others::load(&mut self.mirrors, world, MIRROR, address);
                    self.mirror(world, address);
                }
                "restore" if !is_late => {
                    let end = self.end(world, &pod);
                    nodes::end(world, &place, &end);
                }
                _ => {}
            }
        }
        if !is_hurried || world.random.one_in(2) {
            self.sign(world);
        }
    }

    fn interfere(&mut self, world: &mut World) {
        let choice = world.random.below(11);
        world.tell_story(|| format!("fault: interference {choice}"));
        match choice {
            0 | 1 if self.has_left_nothing(world) => {
                make_again(world, &self.plan.activation());
            }
            2 => make_again(world, &luxembourg()),
            3 => {
                let chosen = self.choose(world);
                make_again(world, &custody_of(chosen.id));
            }
            // A rehearsal is not stood down.
            4 | 5 if !self.plan.rehearses => world.cluster.edit(&self.activation, |activation| {
                activation["spec"]["state"] = "StoodDown".into();
                for registry in activation["spec"]["registries"].as_array_mut().unwrap() {
                    registry["homeSigner"] = home_signer(registry["id"].as_str().unwrap());
                }
            }),
            6 => {
                let pods = nodes::running(world);
                if !pods.is_empty() {
                    let chosen = world.random.below(pods.len());
                    world.cluster.delete(&pods[chosen].0, None).unwrap();
                }
            }
            7 => world.cluster.edit(&self.activation, |activation| {
                activation["spec"]["approvals"] = json!([]);
            }),
            8 => self.write_store(false),
            9 => {
                let chosen = self.choose(world);
                if chosen.is_external {
                    self.databases.fill(chosen.database());
                }
            }
            // Another order of the same.
            _ => {
                self.orders += 1;
                let until = format!("{}-01-01T00:00:00Z", 2099 - self.orders);
                world.cluster.edit(&self.activation, |activation| {
                    activation["spec"]["validUntil"] = until.into();
                });
            }
        }
    }

    fn judge(&mut self, _world: &World, change: &Change) -> Result<(), String> {
        self.judged += 1;
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let object = &change.object;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = text(&object["metadata"]["uid"]);
        let owner = text(&object["metadata"]["ownerReferences"][0]["uid"]);
        let name = change.place.name.as_str();
        match change.place.kind {
            // What belongs to it goes with it, by Kubernetes' own hand.
            "StatefulSet" if self.plan.rehearses => {}
            "StatefulSet" | "PersistentVolumeClaim" | "Deployment" | "ConfigMap"
                if change.is_gone && change.is_ours =>
            {
                return Err(format!(
                    "the operator has deleted the {} {name}",
                    change.place.kind
                ));
            }
            "PersistentVolumeClaim" if change.is_gone => self.databases.lose(name),
            "Secret" => self.judge_secret(change)?,
            "ConfigMap" if name == CUSTODIAN.1 => self.judge_orders(object)?,
            "ConfigMap" if name == GATE.1 => self.judge_lanes(object)?,
            "Service" if change.is_ours && !change.is_gone => self.judge_service(name, object)?,
            "RegistryRestore" => self.judge_restore(change, &uid, &owner)?,
            "Job" => self.judge_job(change, uid, owner)?,
            "EmbassyActivation" if !change.is_gone => self.judge_activation(object, &uid)?,
            _ => {}
        }
        Ok(())
    }

    /// The store can be written again, and home is fenced after all.
    fn afterwards(&mut self, world: &mut World) -> bool {
        let was_stuck = self.is_stuck;
        if was_stuck {
            world.tell_story(|| "the store can be written again".to_owned());
            self.write_store(true);
        }
        was_stuck
    }

    fn is_wanted(&self, world: &World) -> Result<(), String> {
        self.is_standing(world)?;
        let activation = world.cluster.get(&self.activation).ok_or("it is gone")?;
        let status = &activation["status"];
        if self.is_anothers(status) {
            return Ok(());
        }
        self.is_mirrored(world)?;
        if self.plan.rehearses {
            self.is_rehearsed(world, status)
        } else if activation["spec"]["state"] == "StoodDown" {
            self.is_home(world, status)
        } else {
            self.is_served(world, status)
        }
    }

    fn recall(&self, world: &World) -> String {
        let restores = world.cluster.of_kind("RegistryRestore");
        let restores: Vec<String> = restores
            .map(|(place, object)| format!("{} {}", place.name, object["status"]["phase"]))
            .collect();
        format!(
            "{:?}\nstore stuck {}; fences heard {:?}; ledgers {:?}\n{:?}\nrestores {restores:?}",
            self.plan, self.is_stuck, self.heard, self.ledgers, self.databases
        )
    }
}

impl Abroad {
    /// One of the registries.
    fn choose(&self, world: &mut World) -> Planned {
        world.random.choose(&self.plan.registries)
    }

    /// Whether an activation of its name has left nothing that another one would meet. What becomes of that is another story: the database of one
    /// that is meant stays, and is nobody's but its own. A rehearsal's goes with it.
    fn has_left_nothing(&self, world: &World) -> bool {
        let has_server = world.cluster.of_kind("StatefulSet").next().is_some();
        self.restores.is_empty() && !self.has_opening() && (self.plan.rehearses || !has_server)
    }
}
