//! What the databases hold that registries are restored into, and what the pods do there that restore and clean up: what a target's mark lets them
//! do, no more. A database that others have written to is never begun in.

use std::collections::{BTreeMap, BTreeSet};

use dataembassy_contract::Reason;
use serde_json::{Value, json};

use crate::nodes::End;
use crate::random::Random;

/// What a database holds that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Contents {
    /// What is none of ours.
    Others,
    /// What was restored, with the mark that it bears: of one that was cut off, or of a rehearsal.
    Restored(Option<Mark>),
}

/// By what a restore knows what it may go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    registry: String,
    rehearsal: Option<String>,
}

/// All databases; what is not in here is empty.
#[derive(Debug, Default)]
pub(super) struct Databases {
    held: BTreeMap<String, Contents>,
    /// What restores have said, of which registry, that makes another attempt useless.
    failed: BTreeSet<(String, &'static str)>,
}

impl Databases {
    /// Whether a copy was brought up whole, and nothing marks it.
    pub(super) fn is_whole(&self, database: &str) -> bool {
        self.held.get(database) == Some(&Contents::Restored(None))
    }

    /// Whether something that was restored is in it.
    pub(super) fn is_restored(&self, database: &str) -> bool {
        matches!(self.held.get(database), Some(Contents::Restored(_)))
    }

    /// Somebody else writes into an empty one.
    pub(super) fn fill(&mut self, database: String) {
        self.held.entry(database).or_insert(Contents::Others);
    }

    /// A volume is gone, with all that was on it.
    pub(super) fn lose(&mut self, claim: &str) {
        let server = claim
            .strip_prefix("data-")
            .and_then(|name| name.strip_suffix("-0"));
        if let Some(server) = server {
            let host = format!("{server}.");
            self.held.retain(|database, _| !database.starts_with(&host));
        }
    }

    /// Whether a restore of the registry has failed for this reason.
    pub(super) fn has_failed(&self, registry: &str, reason: &str) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|(of, why)| of == registry && *why == reason)
    }

    /// The pod of a restore does its work, and ends.
    pub(super) fn work(&mut self, spec: &Value, random: &mut Random) -> Result<End, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let database = database(spec);
        let mark = Mark {
            registry: text(&spec["registry"]["id"]).unwrap_or_default(),
            rehearsal: text(&spec["rehearsal"]["uid"]),
        };
        if spec["rehearsal"]["empties"] == true {
            return Ok(self.empty(&database, &mark, random));
        }
        let is_killed = random.one_in(6);
        if is_killed && random.one_in(2) {
            return Ok(killed());
        }
        if !self.may_begin(&database, &mark, &spec["ifNotEmpty"]) {
            return Ok(self.fail(mark.registry, "NothingWritten", Reason::TargetLacks));
        }
        if self.held.get(&database) == Some(&Contents::Others) {
            return Err(format!(
                "what others have written into {database} is replaced: {spec}"
            ));
        }
        if is_killed {
            self.held.insert(database, Contents::Restored(Some(mark)));
            return Ok(killed());
        }
        let registry = mark.registry.clone();
        let stays = mark.rehearsal.is_some().then_some(mark);
        self.held.insert(database, Contents::Restored(stays));
        if random.one_in(12) {
            return Ok(self.fail(registry, "Unconfirmed", Reason::AnswerWrong));
        }
        Ok(said(0, "Restored", Reason::Restored))
    }

    /// A restore says for what reason no other attempt would do better.
    fn fail(&mut self, registry: String, ending: &str, reason: Reason) -> End {
        self.failed.insert((registry, reason.as_str()));
        said(1, ending, reason)
    }

    fn may_begin(&self, database: &str, mark: &Mark, if_not_empty: &Value) -> bool {
        match (self.held.get(database), if_not_empty.as_str()) {
            (None, _) | (_, Some("Replace")) => true,
            (Some(Contents::Restored(Some(found))), Some("ReplaceUnfinished")) => found == mark,
            _ => false,
        }
    }

    /// What a rehearsal has restored is dropped, by its mark alone.
    fn empty(&mut self, database: &str, mark: &Mark, random: &mut Random) -> End {
        if random.one_in(6) {
            return killed();
        }
        if let Some(Contents::Restored(Some(found))) = self.held.get(database)
            && found.rehearsal == mark.rehearsal
        {
            self.held.remove(database);
        }
        said(0, "Restored", Reason::CleanedUp)
    }
}

/// The database of a restore.
pub(super) fn database(spec: &Value) -> String {
    let target = &spec["target"];
    let text = |field: &str| target[field].as_str().unwrap_or_default();
    format!("{}:{}/{}", text("host"), target["port"], text("database"))
}

/// A pod that leaves no word.
pub(super) fn killed() -> End {
    End {
        code: 137,
        reason: "OOMKilled",
        message: String::new(),
    }
}

fn said(code: i32, ending: &str, reason: Reason) -> End {
    End {
        code,
        reason: if code == 0 { "Completed" } else { "Error" },
        message: json!({"ending": ending, "reason": reason.as_str(), "message": "so it ended", "tables": 41})
            .to_string(),
    }
}
