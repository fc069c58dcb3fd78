//! A mirror at home: its objects are as its spec says, its key is made once, and nothing but its own word stops it.

use std::collections::BTreeMap;

use dataembassy_operator::settings::Side;
use serde_json::{Value, json};

use super::cluster::{Change, Place, seconds};
use super::nodes;
use super::objects::{condition, embassy, make, make_again, mirror};
use super::schedule::Course;
use super::world::World;

pub(crate) struct Mirrors {
    mirror: Place,
    /// Whether its people have ever told it to rest.
    has_rested: bool,
    /// What each Secret was made with.
    secrets: BTreeMap<Place, Value>,
}

impl Course for Mirrors {
    const NAME: &'static str = "mirror";
    const SIDE: Side = Side::Home;
    const KINDS: &'static [&'static str] = &["RegistryMirror", "DataEmbassy"];
    const ROUNDS: usize = 40;
    const LOST: &'static [&'static str] = &[
        "RegistryMirror",
        "DataEmbassy",
        "Deployment",
        "ConfigMap",
        "Pod",
        "ReplicaSet",
    ];

    fn begin(world: &mut World) -> Self {
        make(world, &embassy());
        Self {
            mirror: make(world, &mirror()),
            has_rested: false,
            secrets: BTreeMap::new(),
        }
    }

    fn live(&mut self, world: &mut World, is_hurried: bool) {
        nodes::work(world, is_hurried);
        let configuration = Place::new("ConfigMap", "interior", "population-mirror");
        let configuration = world.cluster.get(&configuration);
        let configuration = configuration.and_then(|found| found["data"]["config.json"].as_str());
        let configuration: Option<Value> = configuration.and_then(|text| serde_json::from_str(text).ok());
        let Some(configuration) = configuration else {
            return;
        };
        for (_, _, address) in nodes::running(world) {
            // The kubelet brings a new configuration when it likes.
            if is_hurried && world.random.one_in(2) {
                continue;
            }
            let at = seconds(world.cluster.now);
            let check = json!({"state": "True", "reason": "Reachable", "message": "", "since": "2026-11-28T09:00:00Z"});
            let kept = world.processes.get(&(address, "/status".to_owned()));
            let copied = kept.map_or(at.clone(), |kept| {
                kept["lastCopy"]["committedAt"].as_str().unwrap().to_owned()
            });
            let report = json!({
                "process": "p", "loaded": {"generation": configuration["generation"], "digest": "d"}, "source": check, "store": check,
                "intact": {"state": "True", "reason": "Proven", "message": "copy 7 was read back", "since": "2026-11-28T09:00:00Z"},
                "head": {"sequence": 7, "digest": "a".repeat(64)}, "signer": "ssh-ed25519 AAAA",
                "lastCopy": {"sequence": 7, "digest": "a".repeat(64), "takenAt": copied, "committedAt": copied, "bytes": 1024},
            });
            world.processes.insert((address, "/status".to_owned()), report);
        }
    }

    fn interfere(&mut self, world: &mut World) {
        let choice = world.random.below(7);
        let place = self.mirror.clone();
        world.tell_story(|| format!("fault: interference {choice}"));
        match choice {
            0 => make_again(world, &mirror()),
            1 => make_again(world, &embassy()),
            2 => {
                self.has_rested = true;
                world
                    .cluster
                    .edit(&place, |mirror| mirror["spec"]["suspend"] = true.into());
            }
            3 => world
                .cluster
                .edit(&place, |mirror| mirror["spec"]["suspend"] = false.into()),
            4 => world.cluster.edit(&place, |mirror| {
                mirror["spec"]["schedule"]["cron"] = "not one".into();
            }),
            5 => world.cluster.edit(&place, |mirror| {
                mirror["spec"]["schedule"]["cron"] = "*/5 * * * *".into();
            }),
            _ => {
                // Somebody edits what is not theirs.
                let policy = Place::new("NetworkPolicy", "interior", "population-mirror");
                world
                    .cluster
                    .edit(&policy, |policy| policy["spec"]["egress"] = json!([{}]));
            }
        }
    }

    fn judge(&mut self, _world: &World, change: &Change) -> Result<(), String> {
        let replicas = &change.object["spec"]["replicas"];
        match change.place.kind {
            "Secret" => {
                let made = self.secrets.entry(change.place.clone());
                let made = made.or_insert_with(|| change.object["stringData"].clone());
                if change.is_gone || *made != change.object["stringData"] {
                    return Err(format!(
                        "the key in the Secret {} was made and is another one or gone",
                        change.place.name
                    ));
                }
            }
            "Deployment" if change.is_ours && change.is_gone => {
                return Err("the operator has deleted a sidecar".to_owned());
            }
            "Deployment" if change.is_ours && *replicas == 0 && !self.has_rested => {
                return Err("the operator has stopped a mirror that nobody told to rest".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn is_wanted(&self, world: &World) -> Result<(), String> {
        let object = world.cluster.get(&self.mirror).ok_or("it is gone")?;
        let spec = &object["spec"];
        let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
        let (status, reason, observed) = condition(object, "Ready");
        let rests = spec["suspend"] == true;
        let wanted = match (spec["schedule"]["cron"].as_str(), rests) {
            (Some("not one"), _) => ("False", "InvalidSchedule"),
            (_, true) => ("True", "Suspended"),
            (_, false) => ("True", "Loaded"),
        };
        if (status.as_str(), reason.as_str(), observed) != (wanted.0, wanted.1, generation) {
            return Err(format!(
                "Ready of generation {observed} is {status} {reason}, not {wanted:?} of {generation}"
            ));
        }
        let deployment = Place::new("Deployment", "interior", "population-mirror");
        let replicas = world
            .cluster
            .get(&deployment)
            .map(|deployment| deployment["spec"]["replicas"].clone());
        let is_valid = wanted.1 != "InvalidSchedule";
        if is_valid && replicas != Some(json!(i32::from(!rests))) {
            return Err(format!(
                "there should be {} pods, and {replicas:?} are asked for",
                i32::from(!rests)
            ));
        }
        let is_stopped = replicas.is_none_or(|replicas| replicas == 0);
        if rests && !is_stopped {
            return Err("it should rest, and does not".to_owned());
        }
        let (stalled, ..) = condition(object, "Stalled");
        if (stalled == "True") == is_valid {
            return Err(format!("Stalled is '{stalled}'"));
        }
        Ok(())
    }
}
