//! A restore: one Job, ever, whoever asks how often; a result that is its own and stays.

use std::collections::BTreeMap;

use dataembassy_operator::settings::Side;
use serde_json::{Value, json};

use super::cluster::{Change, Place};
use super::nodes::{self, End};
use super::objects::{condition, custody, embassy, make, make_again, restore, uid};
use super::schedule::Course;
use super::world::World;

/// What is known of each restore that there ever was, by UID.
#[derive(Debug, Default)]
struct Known {
    /// UIDs of the Jobs that were made for it.
    jobs: Vec<String>,
    /// Whether one of them brought the copy into the database.
    is_restored: bool,
    /// What its status said when it had ended.
    end: Option<Value>,
}

pub(crate) struct Restores {
    restore: Place,
    known: BTreeMap<String, Known>,
}

impl Course for Restores {
    const NAME: &'static str = "restore";
    const SIDE: Side = Side::Embassy;
    const KINDS: &'static [&'static str] = &["RegistryRestore"];
    const ROUNDS: usize = 30;
    const LOST: &'static [&'static str] = &["RegistryRestore", "Job", "DataEmbassy", "RegistryCustody"];

    fn begin(world: &mut World) -> Self {
        make(world, &embassy());
        make(world, &custody());
        Self {
            restore: make(world, &restore()),
            known: BTreeMap::new(),
        }
    }

    fn live(&mut self, world: &mut World, is_hurried: bool) {
        nodes::work(world, is_hurried);
        for (place, pod, address) in nodes::running(world) {
            let at_work = json!({"progress": {"phase": "Rows", "share": 0.5}});
            world.processes.insert((address, "/status".to_owned()), at_work);
            if world.random.one_in(2) {
                let end = self.end(world, &pod);
                nodes::end(world, &place, &end);
            } else if is_hurried && world.random.one_in(12) {
                // Its node is gone, and nobody has read its last words.
                world.cluster.delete(&place, None).unwrap();
            }
        }
    }

    fn interfere(&mut self, world: &mut World) {
        match world.random.below(4) {
            0 | 1 => make_again(world, &restore()),
            2 => make_again(world, &embassy()),
            _ => make_again(world, &custody()),
        }
    }

    fn judge(&mut self, world: &World, change: &Change) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &change.object["metadata"];
        if change.place.kind == "Job" {
            let known = self
                .known
                .entry(text(&metadata["ownerReferences"][0]["uid"]))
                .or_default();
            let job = text(&metadata["uid"]);
            if !known.jobs.contains(&job) {
                known.jobs.push(job);
            }
            if known.jobs.len() > 1 {
                return Err(format!("one restore has had {} Jobs", known.jobs.len()));
            }
        }
        if change.place != self.restore {
            return Ok(());
        }
        let status = &change.object["status"];
        let known = self.known.entry(text(&metadata["uid"])).or_default();
        if let Some(job) = status["jobUid"].as_str()
            && !known.jobs.iter().any(|known| known == job)
        {
            return Err(format!("its status names the Job {job}, which is another one's"));
        }
        if let Some(end) = &known.end
            && end != status
            && !change.is_gone
        {
            return Err(format!("it had ended with {end}, and now says {status}"));
        }
        if status["phase"] == "Restored" && !known.is_restored {
            return Err("it says that it restored what nobody has".to_owned());
        }
        if status["phase"] == "Restored" || status["phase"] == "Failed" {
            known.end.get_or_insert_with(|| status.clone());
        }
        let _ = world;
        Ok(())
    }

    fn is_wanted(&self, world: &World) -> Result<(), String> {
        let object = world.cluster.get(&self.restore).ok_or("it is gone")?;
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        if phase != "Restored" && phase != "Failed" {
            return Err(format!("it never ends: {}", object["status"]));
        }
        let known = uid(world, &self.restore).and_then(|uid| self.known.get(&uid));
        if known.is_some_and(|known| known.is_restored) != (phase == "Restored") {
            return Err(format!("it says {phase}, which is not so"));
        }
        let (ready, _, _) = condition(object, "Ready");
        let is_ready = ready == "True";
        if is_ready != (phase == "Restored") {
            return Err(format!("it is {phase}, and Ready is {ready}"));
        }
        Ok(())
    }
}

impl Restores {
    /// How a pod ends, one way or another.
    fn end(&mut self, world: &mut World, pod: &Value) -> End {
        let killed = |code, reason| End {
            code,
            reason,
            message: String::new(),
        };
        match world.random.below(6) {
            0 => killed(137, "OOMKilled"),
            1 => killed(1, "Error"),
            2 => End {
                code: 1,
                reason: "Error",
                message: json!({"ending": "NothingWritten", "reason": "TargetLacks", "message": "there are tables"}).to_string(),
            },
            _ => {
                if let Some((_, restore)) = nodes::job_of(world, pod) {
                    self.known.entry(restore).or_default().is_restored = true;
                }
                End {
                    code: 0,
                    reason: "Completed",
                    message: json!({"ending": "Restored", "reason": "Restored", "message": "41 tables", "tables": 41}).to_string(),
                }
            }
        }
    }
}
