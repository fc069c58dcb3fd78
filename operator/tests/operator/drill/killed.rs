//! A whole run against an API server that keeps what is written, with an operator that is killed at any of its requests.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::files::STATUS_PATH;
use dataembassy_crds::RegistryDrill;
use dataembassy_operator::drill::reconcile;
use dataembassy_operator::poll::Known;
use serde_json::{Value, json};

use super::{LIVE, PODS, asking, result};
use crate::world::process::Processes;
use crate::world::{Asked, client, drill, read};

/// How many reconciles a run may take.
const PATIENCE: usize = 30;

/// What becomes of the request at which the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// The API server never got it.
    Before,
    /// The API server did what was asked, and nobody read its answer.
    After,
}

/// An API server with one drill and its Jobs.
struct Server {
    drill: Value,
    jobs: BTreeMap<String, Value>,
    /// The names of all Jobs that were ever made.
    made: Vec<String>,
    requests: usize,
    dies: Option<(usize, Death)>,
}

impl Server {
    fn new(dies: Option<(usize, Death)>) -> Self {
        let mut drill = drill("nightly");
        drill["spec"]["trigger"] = "audit".into();
        Self {
            drill,
            jobs: BTreeMap::new(),
            made: Vec::new(),
            requests: 0,
            dies,
        }
    }

    fn answer(&mut self, asked: &Asked) -> Option<(u16, Value)> {
        let dies = self.dies.filter(|(at, _)| *at == self.requests);
        self.requests += 1;
        let lost = Some((
            500,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500}),
        ));
        match dies {
            Some((_, Death::Before)) => lost,
            Some((_, Death::After)) => {
                drop(self.carry_out(asked));
                lost
            }
            None => self.carry_out(asked),
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> Option<(u16, Value)> {
        let job = asked.path.rsplit_once("/jobs/").map(|(_, name)| name.to_owned());
        match (asked.method.as_str(), job) {
            ("GET", Some(job)) => self.jobs.get(&job).cloned().map(|job| (200, job)),
            ("PATCH", Some(name)) => {
                let mut job = asked.body.clone();
                job["metadata"]["uid"] = format!("uid-{name}").into();
                self.made.push(name.clone());
                self.jobs.insert(name, job);
                None
            }
            ("DELETE", Some(job)) => {
                self.jobs.remove(&job);
                None
            }
            ("GET", None) if asked.path == LIVE => Some((200, self.drill.clone())),
            ("GET", None) if asked.path == PODS => {
                let pods: Vec<Value> = self.jobs.values().map(running).collect();
                Some((
                    200,
                    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}),
                ))
            }
            ("PATCH", None) if asked.path.ends_with("/status") => {
                self.drill["status"] = asked.body["status"].clone();
                None
            }
            _ => None,
        }
    }
}

/// The pod of a Job, which runs.
fn running(job: &Value) -> Value {
    let (name, uid) = (&job["metadata"]["name"], &job["metadata"]["uid"]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "drill-x", "namespace": "drills", "uid": "uid-pod",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true}]},
        "status": {"phase": "Running", "podIP": "127.0.0.1"}
    })
}

/// Lets operators, each of which knows nothing of the one before, follow the drill to its end.
async fn follow(server: &Arc<Mutex<Server>>) {
    let processes = Processes::default();
    let port = processes.listen(&[Ipv4Addr::LOCALHOST]).await;
    processes.say(Ipv4Addr::LOCALHOST, STATUS_PATH, json!({}));
    for _ in 0..PATIENCE {
        let seen = server.lock().unwrap().drill.clone();
        let current = &seen["status"]["current"];
        let is_over = seen["status"]["last"].is_object() && current.is_null();
        if is_over {
            return;
        }
        if let Some(order) = current["order"].as_str() {
            let mut found = result("Passed", "Drilled");
            found["order"] = order.into();
            // It never changes once it is there, as with a real one.
            found["startedAt"] = "2026-11-28T03:00:00Z".into();
            found["endedAt"] = "2026-11-28T03:01:00Z".into();
            processes.say(Ipv4Addr::LOCALHOST, STATUS_PATH, json!({"result": found}));
        }
        let shared = server.clone();
        let (client, _log) = client(move |asked| shared.lock().unwrap().answer(asked));
        let context = asking(port, &seen).context(client);
        let answers = json!({"registry": "population", "orders": [
            {"id": current["order"].as_str().unwrap_or("none"), "state": {"done": {"sequence": 9}}}
        ]});
        if current["result"].is_string() {
            let known = Known {
                pod_uid: "uid".to_owned(),
                etag: None,
                report: Arc::new(read::<RegistryReport>(&answers)),
            };
            context
                .registry_reports
                .keep("luxembourg/population".to_owned(), known);
        }
        // One that is killed says nothing more; the next one goes on.
        drop(reconcile(Arc::new(read::<RegistryDrill>(&seen)), context).await);
    }
    panic!("it never ends: {}", server.lock().unwrap().drill["status"]);
}

#[tokio::test]
async fn a_run_whose_operator_is_killed_anywhere_ends_once_and_leaves_nothing_behind() {
    let whole = Arc::new(Mutex::new(Server::new(None)));
    follow(&whole).await;
    let requests = whole.lock().unwrap().requests;
    assert!(requests > 15, "{requests}");
    for at in 0..requests {
        for death in [Death::Before, Death::After] {
            let server = Arc::new(Mutex::new(Server::new(Some((at, death)))));
            follow(&server).await;
            let server = server.lock().unwrap();
            let status = &server.drill["status"];
            let runs = status["runs"].as_array().unwrap();
            assert_eq!(runs.len(), 1, "{death:?} at {at}: {runs:?}");
            assert_eq!(runs[0]["result"], "PASSED", "{death:?} at {at}");
            assert_eq!(runs[0]["entry"], 9);
            let order = runs[0]["order"].as_str().unwrap();
            // Made twice is made once, where nobody read the answer; it is the same Job, and there is no other one.
            let mut made = server.made.clone();
            made.dedup();
            assert_eq!(made, [format!("{order}-1")], "{death:?} at {at}");
            assert!(server.jobs.is_empty(), "{death:?} at {at}: {:?}", server.jobs);
        }
    }
}
