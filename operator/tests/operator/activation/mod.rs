//! An activation's reconcile against an API server that keeps what is written: nothing before enough have signed, home fenced before anything
//! is restored, each registry brought up once, whoever dies in between.

mod approval;
mod copies;
mod fence;
mod killed;
mod rehearsal;
mod report;
mod restores;
mod stand_down;
mod way;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dataembassy_contract::config::ApproversConfig;
use dataembassy_contract::custodian::{CustodianReport, OrderBody, OrderConfig, RegistryReport};
use dataembassy_crds::{ActivatedState, EmbassyActivation, EmbassyActivationStatus, RegistryPhase};
use dataembassy_ledger::{Role, SigningKey};
use dataembassy_operator::activation::{last_copy, orders, reconcile};
use dataembassy_operator::poll::Known;
use dataembassy_operator::run::{Context, ReconcileError};
use serde_json::{Value, json};

use crate::world::embassy::{custody, embassy_settings, registry_report, standing};
use crate::world::{Asked, World, client, read};

/// How many reconciles a whole activation may take.
const PATIENCE: usize = 120;
const LIVE: &str = "/apis/dataembassy.io/v1alpha1/namespaces/interior/embassyactivations/home-lost";

/// The key of home's mirror.
const HOME: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg";
/// How a restore ends that is at work still.
const AT_WORK: &str = "AtWork";

/// What becomes of a request at which the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// The API server never got it.
    Before,
    /// The API server did what was asked, and nobody read its answer.
    After,
}

/// The custodian says that it has released a registry by this order; the release's digest.
fn released(report: &mut Value, order: &str) -> String {
    let digest = "e".repeat(64);
    report["term"] = 3.into();
    report["opening"] = json!({
        "holder": "Home", "sequence": 12, "digest": digest, "signer": HOME, "order": order, "sourceHead": report["sourceHead"],
    });
    digest
}

/// An API server that keeps what is written, and a custodian.
struct Cluster {
    /// What there is, by path.
    objects: BTreeMap<String, Value>,
    /// `METHOD path` of all that was written.
    writes: Vec<String>,
    requests: usize,
    dies: Option<(usize, Death)>,
    /// What the custodian says of each registry.
    reports: BTreeMap<String, Value>,
    custodian: Custodian,
    /// How the next restores of the population register end: the reason, or nothing where they end well; the last one stays. Those of the
    /// others end well.
    restores: Vec<Option<&'static str>>,
    /// Whether they are seen to write before they end.
    writing: bool,
    /// The same of those that drop what a rehearsal has restored.
    clean_ups: Vec<Option<&'static str>>,
    /// The population register's mirror here, if somebody has made one.
    mirror: Option<Value>,
    /// What the custodian finds when it reads back what that has committed.
    read_back: &'static str,
    store: bool,
    /// What the API server takes no change of.
    refused: Option<&'static str>,
    version: usize,
    /// Every result that the custodian was asked to sign for, in order, each once for as long as it stayed the same.
    told: Vec<(String, Value)>,
}

/// One of the two ways of asking.
type Asking = fn(&str, Option<&ApproversConfig>, &[Arc<EmbassyActivation>]) -> Vec<OrderConfig>;

/// What the custodian does with orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Custodian {
    /// Carries them out.
    Works,
    /// Opens terms, and cannot sign for anything.
    WorksOnTerms,
    /// Cannot write.
    Waits,
    /// Refuses them.
    Refuses,
    /// Is not there.
    Silent,
}

/// The key of an approver.
fn approver(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// The embassy, with three approvers whose keys are known, of whom two must sign.
fn luxembourg() -> Value {
    let mut embassy = standing();
    let approvers: Vec<Value> = (1..=3)
        .map(|number| {
            json!({"name": format!("approver-{number}"), "publicKey": approver(number).public_key().to_string()})
        })
        .collect();
    embassy["spec"]["activation"] = json!({"required": 2, "approvers": approvers});
    embassy
}

/// The sample's mirror of the population register, which has copied nothing yet.
fn mirror() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/activation/mirror.yaml");
    let mut mirror: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    mirror["metadata"]["uid"] = "uid-mirror".into();
    mirror
}

/// The sample, with databases that somebody else keeps unless it is said otherwise.
fn sample(external: bool) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/activation/home-lost.yaml");
    let mut sample: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    sample["metadata"]["uid"] = "uid-home-lost".into();
    sample["metadata"]["generation"] = 1.into();
    sample["metadata"]["creationTimestamp"] = "2026-11-28T09:00:00Z".into();
    sample["spec"]["validUntil"] = "2036-01-01T00:00:00Z".into();
    if external {
        for registry in sample["spec"]["registries"].as_array_mut().unwrap() {
            let host = format!("{}-db", registry["id"].as_str().unwrap());
            registry["target"] = json!({"external": {
                "host": host, "database": "registry", "tls": {"caRef": {"name": "db-ca"}}, "credentialsRef": {"name": "db-owner"}
            }});
        }
    }
    // As the API server has it, with its defaults.
    serde_json::to_value(read::<EmbassyActivation>(&sample)).unwrap()
}

/// The sample in which only the population register comes up.
fn alone(external: bool) -> Value {
    let mut sample = sample(external);
    sample["spec"]["registries"].as_array_mut().unwrap().truncate(1);
    sample
}

impl Cluster {
    fn new(activation: Value) -> Self {
        let ids = ["population", "health", "business"];
        let reports = ids.map(|id| {
            let mut report = registry_report(&[3, 2, 1]);
            report["registry"] = id.into();
            (id.to_owned(), report)
        });
        Self {
            objects: BTreeMap::from([(LIVE.to_owned(), activation)]),
            writes: Vec::new(),
            requests: 0,
            dies: None,
            reports: BTreeMap::from(reports),
            custodian: Custodian::Works,
            restores: vec![None],
            writing: false,
            clean_ups: vec![None],
            mirror: None,
            read_back: "True",
            store: true,
            refused: None,
            version: 1,
            told: Vec::new(),
        }
    }

    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        let dies = self.dies.filter(|(at, _)| *at == self.requests);
        self.requests += 1;
        let lost = (500, failure(500));
        if asked.method != "GET" && self.refused == Some(asked.path.as_str()) {
            return lost;
        }
        match dies {
            Some((_, Death::Before)) => lost,
            Some((_, Death::After)) => {
                self.carry_out(asked);
                lost
            }
            None => self.carry_out(asked),
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> (u16, Value) {
        let path = asked.path.clone();
        if asked.method != "GET" && !path.contains("/events") {
            self.writes.push(format!("{} {path}", asked.method));
        }
        match asked.method.as_str() {
            "GET" => self
                .objects
                .get(&path)
                .cloned()
                .map_or((404, failure(404)), |found| (200, found)),
            "POST" | "PATCH" if path.contains("/events") => (201, asked.body.clone()),
            "POST" => {
                let place = format!("{path}/{}", asked.body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&place) {
                    return (409, failure(409));
                }
                (201, self.keep(place, asked.body.clone()))
            }
            "PATCH" => {
                if let Some(resource) = path.strip_suffix("/status") {
                    let found = self.objects.get_mut(resource).unwrap();
                    found["status"] = asked.body["status"].clone();
                    return (200, found.clone());
                }
                let object = self.keep(path, asked.body.clone());
                (200, object)
            }
            "DELETE" => {
                self.objects.remove(&path);
                (
                    200,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                )
            }
            other => panic!("{other} {path}"),
        }
    }

    fn keep(&mut self, place: String, mut object: Value) -> Value {
        self.version += 1;
        let uid = self
            .objects
            .get(&place)
            .map(|found| found["metadata"]["uid"].clone());
        object["metadata"]["uid"] = uid.unwrap_or_else(|| format!("uid-{}", self.version).into());
        if object["kind"] == "StatefulSet" && object["spec"]["replicas"] == 1 {
            object["status"] = json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": 1});
            object["metadata"]["generation"] = 1.into();
        }
        self.objects.insert(place, object.clone());
        object
    }

    fn activation(&self) -> Value {
        self.objects[LIVE].clone()
    }

    fn status(&self) -> EmbassyActivationStatus {
        read::<EmbassyActivation>(&self.activation())
            .status
            .unwrap_or_default()
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let activation = self.objects.get_mut(LIVE).unwrap();
        change(activation);
        *activation = serde_json::to_value(read::<EmbassyActivation>(activation)).unwrap();
    }

    /// Approvers sign what the status shows.
    fn sign(&mut self, approvers: &[u8]) {
        let text = self.status().statement.unwrap().text;
        let signatures: Vec<Value> = approvers
            .iter()
            .map(|number| json!({"signature": approver(*number).sign(Role::Activation, text.as_bytes()).unwrap()}))
            .collect();
        self.edit(|activation| activation["spec"]["approvals"] = signatures.into());
    }

    fn of_kind(&self, kind: &str) -> Vec<Value> {
        let objects = self
            .objects
            .iter()
            .filter(|(path, _)| path.contains(&format!("/{kind}/")));
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// The names of all objects of a kind that were ever made, in order.
    fn made(&self, kind: &str) -> Vec<String> {
        let path = format!("/{kind}");
        self.writes
            .iter()
            .filter(|line| line.starts_with("POST") && line.ends_with(&path))
            .cloned()
            .collect()
    }

    /// What the custodian is asked to open.
    fn orders(&self) -> Vec<OrderConfig> {
        self.asked(orders::orders)
    }

    /// What it is asked to sign for when an order is over.
    fn asked_to_report(&self) -> Vec<OrderConfig> {
        self.asked(orders::reports)
    }

    fn asked(&self, by: Asking) -> Vec<OrderConfig> {
        let embassy = luxembourg();
        let approvers = embassy["spec"]["activation"]["approvers"].clone();
        let config: ApproversConfig = read(&json!({"approvers": approvers, "required": 2}));
        let activation = Arc::new(read::<EmbassyActivation>(&self.activation()));
        by("luxembourg", Some(&config), &[activation])
    }

    /// The trigger by which the population register's last copy is asked for.
    fn last_copy(&self) -> Option<String> {
        let activation = read::<EmbassyActivation>(&self.activation());
        let states = activation.status.iter().flat_map(|status| &status.registries);
        let mut states = states.filter(|state| state.id == "population");
        states.find_map(|state| last_copy::trigger(&activation, state))
    }

    /// The mirror copies what is served, and once more when it is asked.
    fn copy(&mut self) {
        let asked = self.last_copy();
        let report = self.reports.get_mut("population").unwrap();
        let Some(mirror) = self
            .mirror
            .as_mut()
            .filter(|_| report["opening"]["holder"] == "Embassy")
        else {
            return;
        };
        let is_first = report["sourceTerm"] != report["term"];
        let is_asked = asked.is_some() && mirror["status"]["lastTrigger"].as_str() != asked.as_deref();
        if !is_first && !is_asked {
            return;
        }
        let sequence = report["copies"][0]["sequence"].as_u64().unwrap() + 1;
        let copy = json!({
            "sequence": sequence, "digest": "a".repeat(64), "copyId": "c".repeat(32), "takenAt": "2026-11-28T12:00:00Z",
            "arrivedAt": "2026-11-28T12:00:30Z", "bytes": 1, "intact": self.read_back, "message": "so it was found",
        });
        report["copies"].as_array_mut().unwrap().insert(0, copy);
        report["sourceTerm"] = report["term"].clone();
        report["sourceHead"] = json!({"sequence": sequence, "digest": "a".repeat(64)});
        mirror["status"] = json!({
            "lastTrigger": asked,
            "lastCopy": {"sequence": sequence, "digest": "a".repeat(64), "takenAt": "2026-11-28T12:00:00Z",
                "committedAt": "2026-11-28T12:00:30Z", "bytes": 1, "size": "1 B"},
        });
    }

    /// The custodian does what it is asked for, restores end, and the mirror copies.
    fn live(&mut self) {
        self.copy();
        for order in self.orders().into_iter().chain(self.asked_to_report()) {
            if let OrderBody::Report(report) = &order.body {
                let told = (order.id.clone(), serde_json::to_value(&report.result).unwrap());
                if !self.told.contains(&told) {
                    self.told.push(told);
                }
            }
            let report = self.reports.get_mut(&order.registry).unwrap();
            let signer = self.objects[LIVE]["status"]["registries"]
                .as_array()
                .unwrap()
                .iter()
                .find(|state| state["id"] == order.registry.as_str())
                .unwrap()["signer"]["publicKey"]
                .clone();
            let state = match self.custodian {
                Custodian::Works if matches!(order.body, OrderBody::Report(_)) => {
                    json!({"done": {"sequence": 20}})
                }
                Custodian::WorksOnTerms if matches!(order.body, OrderBody::Report(_)) => {
                    json!({"waiting": {"reason": "StoreUnreachable", "message": "the store does not answer"}})
                }
                Custodian::Works | Custodian::WorksOnTerms if matches!(order.body, OrderBody::Release(_)) => {
                    released(report, &order.id);
                    json!({"done": {"sequence": 12}})
                }
                Custodian::Works | Custodian::WorksOnTerms => {
                    report["term"] = 2.into();
                    report["opening"] = json!({
                        "holder": "Embassy", "sequence": 9, "digest": "f".repeat(64), "signer": signer, "order": order.id,
                        "sourceHead": report["sourceHead"],
                    });
                    json!({"done": {"sequence": 9}})
                }
                Custodian::Waits => {
                    json!({"waiting": {"reason": "StoreUnreachable", "message": "the store does not answer"}})
                }
                Custodian::Refuses => {
                    json!({"refused": {"reason": "NotApproved", "message": "nobody has signed"}})
                }
                Custodian::Silent => continue,
            };
            let mut answers = report["orders"].as_array().cloned().unwrap_or_default();
            answers.retain(|answer| answer["id"] != order.id.as_str());
            answers.push(json!({"id": order.id, "state": state}));
            report["orders"] = answers.into();
        }
        let restores_made = self.made("registryrestores").len();
        let open: Vec<String> = self
            .objects
            .iter()
            .filter(|(path, object)| path.contains("/registryrestores/") && object["status"].is_null())
            .map(|(path, _)| path.clone())
            .collect();
        for path in open {
            let empties = self.objects[&path]["spec"]["rehearsal"]["empties"] == true;
            let ending = match self.objects[&path]["spec"]["registry"]["id"].as_str() {
                _ if empties && self.clean_ups.len() > 1 => self.clean_ups.remove(0),
                _ if empties => self.clean_ups[0],
                Some("population") if self.restores.len() > 1 => self.restores.remove(0),
                Some("population") => self.restores[0],
                _ => None,
            };
            if ending == Some(AT_WORK) {
                continue;
            }
            let restore = self.objects.get_mut(&path).unwrap();
            let (phase, status, reason) = match ending {
                None if empties => ("Restored", "True", "CleanedUp"),
                None => ("Restored", "True", "Restored"),
                Some(reason) => ("Failed", "False", reason),
            };
            restore["status"] = json!({
                "phase": phase, "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "so it ended",
                    "observedGeneration": 1, "lastTransitionTime": "2026-11-28T09:10:00Z"}],
                // Long ago, so that another attempt follows at once.
                "endedAt": "2026-11-28T09:10:00Z",
                "hasWritten": self.writing,
            });
            if !empties {
                // Each pod has looked a minute after the one before.
                let began = format!("2026-11-28T09:{:02}:00Z", restores_made % 60);
                restore["status"]["identity"] = json!({
                    "secret": restore["spec"]["identityRef"]["name"], "presentSince": began, "lookedAt": began,
                });
            }
            if ending.is_none() {
                restore["status"]["restored"] = json!({"tables": 41, "rows": 12_480_113, "bytes": 3_100_482_771_i64, "largeObjects": 17, "seconds": 9});
                restore["status"]["assertions"] = json!([{"name": "citizens", "passed": true, "expected": "at least 1000", "found": "12480113"}]);
                restore["status"]["leftOut"] = json!([{"kind": "SUBSCRIPTION", "count": 2}]);
            }
        }
    }

    /// What the watches of an operator show that has just begun.
    fn world(&self) -> World {
        let mut objects = vec![luxembourg(), self.activation()];
        objects.extend(["population", "health", "business"].map(|id| {
            let mut custody = custody(id);
            custody["status"] = json!({"term": self.reports[id]["term"], "sourceHead": {"sequence": 3, "digest": "a".repeat(64)}});
            custody
        }));
        objects.extend(self.of_kind("registryrestores"));
        objects.extend(self.mirror.clone());
        World {
            settings: Some(embassy_settings()),
            ..World::of(&objects)
        }
    }

    fn tell(&self, context: &Context) {
        let mut report = json!({"process": "c"});
        if self.store {
            report["storeId"] = "5".repeat(32).into();
        }
        context
            .custodian_reports
            .keep("luxembourg".to_owned(), known(read::<CustodianReport>(&report)));
        if self.custodian == Custodian::Silent {
            return;
        }
        for (id, report) in &self.reports {
            let report = known(read::<RegistryReport>(report));
            context.registry_reports.keep(format!("luxembourg/{id}"), report);
        }
    }
}

fn known<T>(report: T) -> Known<T> {
    Known {
        pod_uid: "uid".to_owned(),
        etag: None,
        report: Arc::new(report),
    }
}

fn failure(code: u16) -> Value {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"})
}

type Shared = Arc<Mutex<Cluster>>;

/// A cluster with an activation, of which nothing was seen yet.
fn cluster(activation: Value) -> Shared {
    Arc::new(Mutex::new(Cluster::new(activation)))
}

/// One reconcile, of an operator that knows nothing of the ones before; then the others do their part.
async fn step(cluster: &Shared) -> Result<(), ReconcileError> {
    look(cluster, |_| {}).await
}

/// The same, in a world to which something is added.
async fn look(cluster: &Shared, change: impl FnOnce(&mut World)) -> Result<(), ReconcileError> {
    look_as(cluster, change, |_| {}).await
}

/// The same, of an operator that brings something of its own.
async fn look_as(
    cluster: &Shared,
    change: impl FnOnce(&mut World),
    bring: impl FnOnce(&mut Context),
) -> Result<(), ReconcileError> {
    let shared = cluster.clone();
    let (client, _log) = client(move |asked| Some(shared.lock().unwrap().answer(asked)));
    let mut world = cluster.lock().unwrap().world();
    change(&mut world);
    let mut context = world.context(client);
    bring(Arc::get_mut(&mut context).unwrap());
    cluster.lock().unwrap().tell(&context);
    let seen = cluster.lock().unwrap().activation();
    let done = reconcile(Arc::new(read::<EmbassyActivation>(&seen)), context).await;
    cluster.lock().unwrap().live();
    done.map(drop)
}

/// Steps until the status is so.
#[track_caller]
fn until(
    cluster: &Shared,
    is_so: impl Fn(&EmbassyActivationStatus) -> bool,
) -> impl Future<Output = EmbassyActivationStatus> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..PATIENCE {
            let status = cluster.lock().unwrap().status();
            if is_so(&status) {
                return status;
            }
            // One that is killed says nothing more; the next one goes on.
            drop(step(cluster).await);
        }
        panic!(
            "{caller}: it never is so: {:#?}",
            cluster.lock().unwrap().status()
        );
    }
}

/// A cluster whose activation has a statement.
async fn stated(activation: Value) -> Shared {
    let cluster = cluster(activation);
    until(&cluster, |status| status.statement.is_some()).await;
    cluster
}

/// A cluster whose activation was approved by two.
async fn approved(activation: Value) -> Shared {
    let cluster = stated(activation).await;
    cluster.lock().unwrap().sign(&[1, 2]);
    cluster
}

fn phases(status: &EmbassyActivationStatus) -> Vec<RegistryPhase> {
    status.registries.iter().map(|state| state.phase).collect()
}

/// Whether the custodian has signed for what came of a registry.
fn is_reported(state: &ActivatedState) -> bool {
    state.report.as_ref().is_some_and(|report| report.path.is_some())
}

/// Status and reason of a condition, and its message.
fn said(status: &EmbassyActivationStatus, type_: &str) -> (String, String) {
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_);
    condition.map_or_else(Default::default, |condition| {
        let word = match condition.status {
            dataembassy_crds::ConditionStatus::True => "True",
            dataembassy_crds::ConditionStatus::False => "False",
            dataembassy_crds::ConditionStatus::Unknown => "Unknown",
        };
        (format!("{word} {}", condition.reason), condition.message.clone())
    })
}
