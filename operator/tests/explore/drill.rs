//! A drill: one run at a time, each order begun once and ended once, what it found signed by nobody but for itself, nothing left behind; and the
//! schedule goes on, whatever the clock has shown in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::custodian::{OrderBody, RegistryReport};
use dataembassy_crds::{RegistryCustody, RegistryDrill};
use dataembassy_operator::drill::orders::orders;
use dataembassy_operator::poll::Known;
use dataembassy_operator::settings::Side;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::{Change, Place};
use super::nodes::{self, End};
use super::objects::{custody, drill, embassy, make, make_again};
use super::operator::Operator;
use super::schedule::Course;
use super::world::World;

pub(crate) struct Drills {
    drill: Place,
    /// The Jobs that there are: whose, by the Job's UID.
    jobs: BTreeMap<String, String>,
    /// What pods have said, by order.
    said: BTreeMap<String, Value>,
    /// The records of runs that have ended, by drill and order.
    ended: BTreeMap<(String, String), Value>,
    /// What the custodian has signed, by order.
    ledger: BTreeMap<String, u64>,
    report: Arc<RegistryReport>,
    /// The slot that has come after all faults, once it has.
    slot: Option<Timestamp>,
    /// Pods that have a result to show.
    shows: BTreeSet<IpAddr>,
}

impl Course for Drills {
    const NAME: &'static str = "drill";
    const SIDE: Side = Side::Embassy;
    const KINDS: &'static [&'static str] = &["RegistryDrill"];
    const ROUNDS: usize = 60;
    const LOST: &'static [&'static str] = &["RegistryDrill", "Job", "DataEmbassy", "RegistryCustody"];

    fn begin(world: &mut World) -> Self {
        make(world, &embassy());
        make(world, &custody());
        Self {
            drill: make(world, &drill()),
            jobs: BTreeMap::new(),
            said: BTreeMap::new(),
            ended: BTreeMap::new(),
            ledger: BTreeMap::new(),
            report: Arc::default(),
            slot: None,
            shows: BTreeSet::new(),
        }
    }

    fn live(&mut self, world: &mut World, is_hurried: bool) {
        world.pass(Duration::from_secs(1));
        nodes::work(world, is_hurried);
        for (place, pod, address) in nodes::running(world) {
            if world.received.contains(&address) && self.shows.contains(&address) {
                // It has shown its result to somebody who keeps it.
                nodes::end(world, &place, &ended(0, "Completed"));
                continue;
            }
            match fate(world, is_hurried) {
                Fate::Lost => world.cluster.delete(&place, None).unwrap(),
                Fate::Killed => nodes::end(world, &place, &ended(137, "OOMKilled")),
                Fate::Lives if !self.shows.contains(&address) => self.drill_on(world, &pod, address),
                Fate::Lives => {}
            }
        }
        world.received.clear();
        if !is_hurried || world.random.one_in(2) {
            self.sign(world);
        }
    }

    fn interfere(&mut self, world: &mut World) {
        let choice = world.random.below(7);
        let place = self.drill.clone();
        world.tell_story(|| format!("fault: interference {choice}"));
        match choice {
            0 => make_again(world, &drill()),
            1 => make_again(world, &embassy()),
            2 => make_again(world, &custody()),
            3 | 4 => {
                let trigger = format!("again-{}", world.elapsed.as_secs());
                world
                    .cluster
                    .edit(&place, |drill| drill["spec"]["trigger"] = trigger.into());
            }
            5 => world.cluster.edit(&place, |drill| {
                let is_resting = drill["spec"]["suspend"] == true;
                drill["spec"]["suspend"] = (!is_resting).into();
            }),
            _ => world.cluster.edit(&place, |drill| {
                drill["spec"]["schedule"]["cron"] = "0 3 * * *".into();
            }),
        }
    }

    fn tell(&mut self, _world: &World, operator: &Operator) {
        let known = Known {
            pod_uid: "uid".to_owned(),
            etag: None,
            report: self.report.clone(),
        };
        operator
            .context
            .registry_reports
            .keep("luxembourg/population".to_owned(), known);
    }

    fn judge(&mut self, _world: &World, change: &Change) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let own = text(&change.object["metadata"]["uid"]);
        if change.place.kind == "Job" {
            let drill = text(&change.object["metadata"]["ownerReferences"][0]["uid"]);
            if change.is_gone {
                self.jobs.remove(&own);
            } else {
                self.jobs.insert(own.clone(), drill.clone());
            }
            let at_once = self.jobs.values().filter(|one| **one == drill).count();
            if at_once > 1 {
                return Err(format!("one drill has {at_once} Jobs at once"));
            }
        }
        if change.place != self.drill || change.is_gone {
            return Ok(());
        }
        let status = &change.object["status"];
        let current = text(&status["current"]["order"]);
        if self.ended.contains_key(&(own.clone(), current.clone())) {
            return Err(format!("the run {current} had ended, and begins again"));
        }
        for run in status["runs"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(status.get("last"))
        {
            self.judge_record(&own, run)?;
        }
        Ok(())
    }

    fn is_wanted(&self, world: &World) -> Result<(), String> {
        let object = world.cluster.get(&self.drill).ok_or("it is gone")?;
        let (spec, status) = (&object["spec"], &object["status"]);
        if status["lastTrigger"] != spec["trigger"] {
            return Err(format!(
                "its trigger {} is not answered: {status}",
                spec["trigger"]
            ));
        }
        if !status["current"].is_null() {
            return Err(format!("its run never ends: {status}"));
        }
        if let Some((job, _)) = world.cluster.of_kind("Job").next() {
            return Err(format!("the Job {} is left behind", job.name));
        }
        if let Some(slot) = self.slot
            && spec["suspend"] != true
            && status["lastScheduleTime"] != slot.to_string()
        {
            return Err(format!("the slot {slot} has come, and no drill: {status}"));
        }
        Ok(())
    }

    /// The next night comes.
    fn afterwards(&mut self, world: &mut World) -> bool {
        if self.slot.is_some() {
            return false;
        }
        let place = self.drill.clone();
        let cron = world.cluster.get(&place).unwrap()["spec"]["schedule"]["cron"].clone();
        let slot: Timestamp = match cron.as_str() {
            Some("0 3 * * *") => {
                let day = world.now.checked_sub(SignedDuration::from_hours(3)).unwrap();
                let day = day.as_second().div_euclid(86_400) + 1;
                Timestamp::from_second(day * 86_400 + 3 * 3_600).unwrap()
            }
            _ => "2027-01-01T03:00:00Z".parse().unwrap(),
        };
        let wait = slot.duration_since(world.now) + SignedDuration::from_secs(2);
        world.pass(Duration::try_from(wait).unwrap());
        self.slot = Some(slot);
        true
    }
}

/// What becomes of a pod.
enum Fate {
    Lives,
    /// Its node is gone.
    Lost,
    /// It needed more memory than it has.
    Killed,
}

fn fate(world: &mut World, is_hurried: bool) -> Fate {
    if !is_hurried {
        return Fate::Lives;
    }
    if world.random.one_in(12) {
        return Fate::Lost;
    }
    if world.random.one_in(12) {
        Fate::Killed
    } else {
        Fate::Lives
    }
}

impl Drills {
    /// A pod comes on, and at last has a result.
    fn drill_on(&mut self, world: &mut World, pod: &Value, address: IpAddr) {
        let mut report = json!({"progress": {"phase": "Rows", "share": 0.5}});
        if world.random.one_in(2)
            && let Some((job, drill)) = nodes::job_of(world, pod)
        {
            let job = job["metadata"]["name"].as_str().unwrap();
            let (order, _) = job.rsplit_once('-').unwrap();
            let (verdict, reason) = world.random.choose(&[
                ("Passed", "Drilled"),
                ("Failed", "AnswerWrong"),
                ("Inconclusive", "StoreUnreachable"),
            ]);
            let at = world.cluster.now;
            report["result"] = json!({
                "order": order, "drill": "drills/nightly", "registry": "population", "verdict": verdict, "reason": reason,
                "message": "what it found", "pick": "Latest", "startedAt": at, "endedAt": at, "recoverySeconds": 47.5,
                "copy": {"sequence": 12, "digest": "ab".repeat(32), "copyId": "07".repeat(16), "takenAt": "2026-11-28T02:00:00Z",
                    "sealedBytes": 4096, "sourceVersion": "17.11"},
            });
            self.said.insert(format!("{drill} {order}"), verdict.into());
            self.shows.insert(address);
        }
        world.processes.insert((address, "/status".to_owned()), report);
    }

    /// The custodian signs what it is asked for, and says so.
    fn sign(&mut self, world: &World) {
        let drills: Vec<Arc<RegistryDrill>> = read(world, "RegistryDrill");
        let custodies: Vec<Arc<RegistryCustody>> = read(world, "RegistryCustody");
        let mut answers = Vec::new();
        for order in orders("luxembourg", &drills, &custodies) {
            assert!(
                matches!(order.body, OrderBody::Drill(_)),
                "nothing else is asked for by a drill"
            );
            let next = 9 + u64::try_from(self.ledger.len()).unwrap();
            let sequence = *self.ledger.entry(order.id.clone()).or_insert(next);
            answers.push(json!({"id": order.id, "state": {"done": {"sequence": sequence}}}));
        }
        let report = json!({"registry": "population", "orders": answers});
        self.report = Arc::new(RegistryReport::deserialize(report).unwrap());
    }

    /// A record stays as it was written first, and says what the run's own pod has said.
    fn judge_record(&mut self, drill: &str, run: &Value) -> Result<(), String> {
        let order = run["order"].as_str().unwrap_or_default().to_owned();
        let first = self.ended.entry((drill.to_owned(), order.clone()));
        let first = first.or_insert_with(|| run.clone());
        if first != run {
            return Err(format!("the record of {order} was {first}, and now is {run}"));
        }
        let verdict = match run["result"].as_str() {
            Some("PASSED") => "Passed",
            Some("FAILED") => "Failed",
            _ => return Ok(()),
        };
        if self.said.get(&format!("{drill} {order}")) != Some(&verdict.into()) {
            return Err(format!(
                "the run {order} is recorded as {verdict}, which its pod never said"
            ));
        }
        let signed = self.ledger.get(&order);
        if run["entry"].as_u64().as_ref() != signed {
            return Err(format!(
                "the run {order} is recorded under {}, and was signed under {signed:?}",
                run["entry"]
            ));
        }
        Ok(())
    }
}

fn ended(code: i32, reason: &'static str) -> End {
    End {
        code,
        reason,
        message: String::new(),
    }
}

fn read<K: for<'de> Deserialize<'de>>(world: &World, kind: &str) -> Vec<Arc<K>> {
    let found = world.cluster.of_kind(kind);
    found
        .map(|(_, object)| Arc::new(K::deserialize(&**object).unwrap()))
        .collect()
}
