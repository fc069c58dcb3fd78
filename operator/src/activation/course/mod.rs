//! What is to be done next for each registry of an activation that was approved. Pure.
//!
//! A registry goes `cut → fence → copy chosen → database there → restore → serve`; a rehearsal leaves out cut, fence and serve. What is found
//! to be done stands in the status before anything that cannot be done twice: whoever is killed anywhere in between finds there how far it
//! came. Databases come up meanwhile, and registries do not wait for each other but where the spec says so.

mod attempt;
mod copy;
mod dependency;
mod fence;
mod overdue;
mod report;
mod stand_down;

use std::collections::BTreeMap;

use dataembassy_contract::custodian::OrderState;
use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    ActivatedRegistry, ActivatedState, ActivationMode, ActivationState, EmbassyActivation, RegistryPhase,
    RegistryRestore,
};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

pub use attempt::is_at_work;
pub use copy::judge_choice;
pub use overdue::{Course, Overdue, left, overdue};
pub use report::{hear, is_answered, is_awaited, is_written};
pub use stand_down::shut;

use crate::activation::database::build::RENEWED_UNTIL;
use crate::activation::database::{Managed, Standing};
use crate::activation::dereference::Found;
use crate::activation::validate::{Checked, CheckedRegistry};
use crate::activation::{clean_up, steps};

/// The most characters of a message, as the schema has it.
const MAX_MESSAGE: usize = 1024;

/// What an activation's registries are moved by.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The activation.
    pub activation: &'a EmbassyActivation,
    /// What was judged of it.
    pub checked: &'a Checked,
    /// What it depends on.
    pub found: &'a Found,
    /// How the managed databases stand, by registry.
    pub standings: &'a BTreeMap<String, Standing>,
    /// When enough had approved.
    pub approved_at: Timestamp,
    /// For how long the order has been waited for, whatever the clock was set to meanwhile.
    pub waited: SignedDuration,
    /// The image that restores, as a report tells it.
    pub sidecar_image: &'a str,
    /// The time.
    pub now: Timestamp,
}

impl<'a> Scene<'a> {
    /// The order that was approved.
    fn order(&self) -> Option<&'a str> {
        let status = self.activation.status.as_ref()?;
        Some(&status.statement.as_ref()?.order)
    }
}

/// What is to be done beside the status. Doing it twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A restore is to be made.
    Restore {
        /// Of this registry.
        registry: String,
        /// As it should be.
        restore: Box<RegistryRestore>,
    },
    /// Applications are to be let in.
    Serve {
        /// To this registry.
        registry: String,
    },
    /// Applications are to be shut out.
    Close {
        /// From this registry.
        registry: String,
    },
    /// A restore that no registry waits for any more is to be ended.
    End {
        /// It.
        restore: Box<RegistryRestore>,
    },
}

/// One registry on its way.
struct Walk<'a> {
    scene: &'a Scene<'a>,
    spec: &'a ActivatedRegistry,
    checked: &'a CheckedRegistry,
    state: ActivatedState,
}

/// Moves each registry as far as it can go, and says what is to be done for that.
pub fn advance(scene: &Scene<'_>, states: &mut [ActivatedState]) -> Vec<Act> {
    let mut acts = Vec::new();
    let registries = scene
        .activation
        .spec
        .registries
        .iter()
        .zip(&scene.checked.registries);
    for (spec, checked) in registries {
        let Some(place) = states.iter().position(|state| state.id == spec.id) else {
            continue;
        };
        let mut walk = Walk {
            scene,
            spec,
            checked,
            state: states[place].clone(),
        };
        acts.extend(if scene.activation.spec.state == ActivationState::StoodDown {
            walk.stand_down()
        } else {
            walk.go(states)
        });
        walk.tell_of_the_end();
        states[place] = walk.state;
    }
    acts.extend(forlorn(scene, states));
    acts
}

/// Restores of an order that was replaced by another one.
fn forlorn(scene: &Scene<'_>, states: &[ActivatedState]) -> Vec<Act> {
    let names: Vec<&String> = states
        .iter()
        .filter_map(|state| Some(&state.restore.as_ref()?.name))
        .collect();
    let restores = scene.found.restores.iter().filter(|restore| {
        restore.metadata.deletion_timestamp.is_none()
            && is_at_work(restore)
            // Whoever cleans up is let do so, whatever was ordered since.
            && !clean_up::empties(restore)
            && restore
                .metadata
                .name
                .as_ref()
                .is_none_or(|name| !names.contains(&name))
    });
    restores
        .map(|restore| Act::End {
            restore: Box::new((**restore).clone()),
        })
        .collect()
}

/// Whether a registry is where it was to come, or will not come there.
#[must_use]
pub const fn is_over(phase: RegistryPhase) -> bool {
    matches!(
        phase,
        RegistryPhase::Serving
            | RegistryPhase::Rehearsed
            | RegistryPhase::Failed
            | RegistryPhase::Skipped
            | RegistryPhase::StoodDown
    )
}

/// Applications were let in, or in a rehearsal could have been. How long that took is said of the first time: whoever lets them in again under
/// a later order recovers nothing.
pub fn served(scene: &Scene<'_>, state: &mut ActivatedState) {
    let now = scene.now;
    let rehearses = scene.activation.spec.mode == ActivationMode::Rehearse;
    if !steps::has_ended(state, steps::SERVE) {
        let took = now.duration_since(scene.approved_at).as_secs().max(0);
        state.rto_seconds = Some(took);
        state.objectives_met = objectives_met(scene, state);
    }
    if !rehearses {
        steps::end_under(state, steps::SERVE, now, scene.order());
    }
    if rehearses {
        tell(
            state,
            RegistryPhase::Rehearsed,
            Reason::Rehearsed,
            "it was restored and questioned, and could have been served",
        );
    } else {
        tell_served(state);
    }
}

fn tell_served(state: &mut ActivatedState) {
    let (reason, message) = match state.fence {
        Some(_) => (Reason::Serving, "it is served from the embassy"),
        None => (Reason::Unfenced, UNFENCED),
    };
    tell(state, RegistryPhase::Serving, reason, message);
}

/// Whether a registry that is served has nothing that a person must look at.
#[must_use]
pub fn is_well(state: &ActivatedState) -> bool {
    [Reason::Serving, Reason::Unfenced]
        .iter()
        .any(|reason| reason.as_str() == state.reason)
}

/// What is said of a registry that is served without a fence.
const UNFENCED: &str = "it is served from the embassy, and the store could not be written, so nothing keeps home from committing too: see to it \
                        that nobody writes at home; it is fenced as soon as the store can be written";

fn objectives_met(scene: &Scene<'_>, state: &ActivatedState) -> Option<bool> {
    let spec = &scene.found.custody(&state.id)?.spec;
    let within = |took: Option<i64>, limit: &str| {
        let limit = limit.parse::<Duration>().ok()?.as_secs();
        Some(u64::try_from(took?).unwrap_or_default() <= limit)
    };
    let rpo = within(state.rpo_seconds, &spec.rpo)?;
    match &spec.rto {
        Some(rto) => Some(rpo && within(state.rto_seconds, rto)?),
        None => Some(rpo),
    }
}

/// Says where a registry is, and why.
pub fn tell(state: &mut ActivatedState, phase: RegistryPhase, reason: Reason, message: &str) {
    state.phase = phase;
    reason.as_str().clone_into(&mut state.reason);
    state.message = message.chars().take(MAX_MESSAGE).collect();
}

impl Walk<'_> {
    fn go(&mut self, states: &[ActivatedState]) -> Option<Act> {
        self.note_certificate();
        if self.spec.target.external.is_some() && self.state.restore.is_some() {
            self.note_rehearsal();
        }
        if is_over(self.state.phase) {
            self.fence_late();
            self.watch_served();
            return None;
        }
        if !self.rehearses() && self.finds_release() {
            return None;
        }
        if self.state.phase == RegistryPhase::StandingDown {
            return Some(self.serve_again());
        }
        if let Some(managed) = self.managed() {
            self.state.credentials = Some(managed.names().superuser);
            steps::begin(&mut self.state, steps::DATABASE, self.scene.now);
            self.note_rehearsal();
        }
        let dependencies = dependency::look(self.spec, states);
        if let dependency::Look::Failed(name) = &dependencies {
            let message =
                format!("{name}, which it depends on, could not be brought up, so it was not begun");
            self.say(RegistryPhase::Skipped, Reason::DependencyFailed, &message);
            return None;
        }
        self.watch_database();
        if !self.rehearses() && !self.is_fenced() {
            return None;
        }
        if self.state.copy.is_none() && !self.choose() {
            return None;
        }
        if let dependency::Look::Waits(names) = dependencies {
            let message = format!("it waits until these are served: {names}");
            self.say(RegistryPhase::Waiting, Reason::WaitsForOthers, &message);
            return None;
        }
        if !self.has_database() {
            return None;
        }
        self.restore()
    }

    fn managed(&self) -> Option<Managed<'_>> {
        Managed::of(self.scene.activation, self.spec)
    }

    /// Until when the certificate counts that we made, or by which somebody has replaced it, who says so: we read no Secret.
    fn note_certificate(&mut self) {
        let made = self.managed().filter(|_| !self.rehearses());
        let made = made.and_then(|managed| managed.certificate_ends());
        let key = format!("{RENEWED_UNTIL}.{}", self.spec.id);
        let annotations = self.scene.activation.annotations();
        let renewed: Option<Date> = annotations.get(&key).and_then(|day| day.parse().ok());
        self.state.certificate_ends = made.map(|made| renewed.map_or(made, |day| day.max(made)).to_string());
    }

    /// The order that was approved.
    fn order(&self) -> Option<&str> {
        self.scene.order()
    }

    /// What the custodian says of it.
    fn order_state(&self) -> Option<OrderState> {
        let (order, report) = (self.order()?, self.scene.found.report(&self.spec.id)?);
        let answer = report.orders.iter().find(|answer| answer.id == order)?;
        Some(answer.state.clone())
    }

    fn rehearses(&self) -> bool {
        self.scene.activation.spec.mode == ActivationMode::Rehearse
    }

    fn say(&mut self, phase: RegistryPhase, reason: Reason, message: &str) {
        tell(&mut self.state, phase, reason, message);
    }

    fn fail(&mut self, reason: Reason, message: &str) -> Option<Act> {
        self.say(RegistryPhase::Failed, reason, message);
        None
    }

    /// The database's step ends when it answers first, whatever the registry waits for.
    fn watch_database(&mut self) {
        if self.scene.standings.get(&self.spec.id) == Some(&Standing::Ready) {
            steps::end(&mut self.state, steps::DATABASE, self.scene.now);
        }
    }

    /// Whether a database that is served still is: what has to be looked at by a person is said.
    fn watch_served(&mut self) {
        if self.state.phase != RegistryPhase::Serving {
            return;
        }
        match self.scene.standings.get(&self.spec.id) {
            Some(Standing::Coming { reason, message } | Standing::Refused { reason, message })
                if *reason != Reason::Applying =>
            {
                let message = format!("its database does not answer now: {message}");
                self.say(RegistryPhase::Serving, *reason, &message);
            }
            Some(Standing::Ready) if !is_well(&self.state) => tell_served(&mut self.state),
            _ => {}
        }
    }

    fn has_database(&mut self) -> bool {
        if self.spec.target.external.is_some() {
            return true;
        }
        // A restore that is at work has found one, and says itself what becomes of it.
        if self
            .state
            .restore
            .as_ref()
            .is_some_and(|restore| restore.uid.is_some())
        {
            return true;
        }
        match self.scene.standings.get(&self.spec.id) {
            Some(Standing::Ready) => return true,
            Some(Standing::Coming { reason, message } | Standing::Refused { reason, message }) => {
                self.say(RegistryPhase::Starting, *reason, message);
            }
            None => self.say(
                RegistryPhase::Starting,
                Reason::StartingDatabase,
                "its database is being made",
            ),
        }
        false
    }
}
