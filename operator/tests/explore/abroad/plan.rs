//! What a schedule is about, as its seed chooses it: an order that is meant or a rehearsal, of which registries, into whose databases, and what
//! its approvers accept.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::APPROVERS;
use crate::objects::{custody_of, sample};
use crate::random::Random;

/// The registries that there may be, in the order of the sample.
pub(super) const IDS: [&str; 3] = ["population", "health", "business"];

/// What was chosen.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Plan {
    /// Whether it is a rehearsal.
    pub(super) rehearses: bool,
    /// Whether it goes on where the store cannot be written.
    pub(super) accepts_unfenced: bool,
    /// Whether all registries but the first wait for that.
    pub(super) is_chained: bool,
    /// Whether the first registry is mirrored from here, and its last copy goes home.
    pub(super) has_mirror: bool,
    pub(super) registries: Vec<Planned>,
}

/// A registry of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) id: &'static str,
    /// Whether somebody else keeps its database.
    pub(super) is_external: bool,
    /// Whether somebody's rows are in that from the beginning.
    pub(super) is_taken: bool,
}

impl Planned {
    /// Its database, as it is called everywhere here.
    pub(super) fn database(self) -> String {
        let id = self.id;
        if self.is_external {
            format!("{id}-elsewhere:5432/registry")
        } else {
            format!("home-lost-{id}-db.interior.svc:5432/{id}")
        }
    }
}

impl Plan {
    pub(super) fn draw(random: &mut Random) -> Self {
        let rehearses = random.one_in(3);
        let accepts_unfenced = random.one_in(4) && !rehearses;
        let has_mirror = random.one_in(3) && !rehearses;
        let is_chained = random.one_in(2);
        let count = random.choose(&[1, 1, 1, 1, 2, 2, 2, 3]);
        let registries = IDS.into_iter().take(count).enumerate().map(|(place, id)| {
            let is_external = random.one_in(3);
            let is_taken = random.one_in(4);
            // The sample's mirror copies from the database that the operator makes.
            let is_external = is_external && !(has_mirror && place == 0);
            Planned {
                id,
                is_external,
                is_taken: is_external && is_taken,
            }
        });
        let registries = registries.collect();
        Self {
            rehearses,
            accepts_unfenced,
            is_chained,
            has_mirror,
            registries,
        }
    }

    pub(super) fn registry(&self, id: &str) -> Option<Planned> {
        self.registries.iter().copied().find(|planned| planned.id == id)
    }

    /// The resource, as people write it.
    pub(super) fn activation(&self) -> Value {
        static HOME_LOST: LazyLock<Value> = LazyLock::new(|| sample("activation/home-lost"));
        let mut activation = HOME_LOST.clone();
        let spec = &mut activation["spec"];
        // Longer than any clock here is ever off.
        spec["validUntil"] = "2099-01-01T00:00:00Z".into();
        if self.rehearses {
            spec["mode"] = "Rehearse".into();
        }
        if self.accepts_unfenced {
            spec["unfenced"] = "Accepted".into();
            spec["deadlines"]["fence"] = "30s".into();
        }
        let registries = spec["registries"].as_array_mut().unwrap();
        registries.truncate(self.registries.len());
        for (place, (registry, planned)) in registries.iter_mut().zip(&self.registries).enumerate() {
            registry["forgoLastCopy"] = (!self.has_mirror || place > 0).into();
            if !self.is_chained {
                registry["dependsOn"] = json!([]);
            }
            if planned.is_external {
                registry["target"] = json!({"external": {
                    "host": format!("{}-elsewhere", planned.id), "database": "registry", "scratch": self.rehearses,
                    "tls": {"caRef": {"name": "db-ca"}}, "credentialsRef": {"name": "db-owner"},
                }});
            }
        }
        activation
    }
}

/// Who wrote a registry's first term, and writes the one after it has come home.
pub(super) fn home_signer(id: &str) -> Value {
    custody_of(id)["spec"]["signers"][0]["publicKey"].clone()
}

/// The embassy, with approvers whose keys are known here.
pub(super) fn luxembourg() -> Value {
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

/// The mirror beside the activation, as the documentation shows it.
pub(super) fn mirror() -> Value {
    static MIRROR: LazyLock<Value> = LazyLock::new(|| sample("activation/mirror"));
    MIRROR.clone()
}
