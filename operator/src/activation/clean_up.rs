//! After a rehearsal on a database that somebody else keeps: what was restored into it is dropped again. Pure.
//!
//! The operator reaches no database. So another `RegistryRestore` does it, with the database's credentials and nothing else; it finds by the mark
//! that the rehearsal's restore has left whether there is something to drop. It is made anew until one has ended well, and it must have ended
//! before the rehearsal is over: whoever is killed in between finds in the status what is still to be done.

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_crds::{
    ActivatedRegistry, ActivatedState, ActivationMode, CopyChoice, EmbassyActivation, IfNotEmpty,
    RegistryRestore, RegistryRestoreSpec, Rehearsal, RehearsalCleanUp, RestorePhase, RestoredRegistry,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::activation::course::is_at_work;
use crate::activation::dereference::Found;
use crate::activation::{names, restores, steps};
use crate::backoff::after_failure;
use crate::clock::has_passed;
use crate::condition::{find, rfc3339};

/// The most characters of a message, as the schema has it.
const MAX_MESSAGE: usize = 1024;

/// What is to be done next for one database. Doing it twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A clean-up is to be made.
    Make(Box<RegistryRestore>),
    /// One that has ended is to be removed.
    Remove(Box<RegistryRestore>),
    /// One is at work, or is waited for.
    Wait,
}

/// Whether what is restored has to bear the rehearsal's mark.
#[must_use]
pub fn marks(activation: &EmbassyActivation, registry: &ActivatedRegistry) -> bool {
    activation.spec.mode == ActivationMode::Rehearse && registry.target.external.is_some()
}

/// Whether a restore only drops what a rehearsal has restored.
#[must_use]
pub fn empties(restore: &RegistryRestore) -> bool {
    let rehearsal = restore.spec.rehearsal.as_ref();
    rehearsal.is_some_and(|rehearsal| rehearsal.empties)
}

/// What is said of a database that holds what a rehearsal has restored, while nothing of the rehearsal is carried out.
#[must_use]
pub fn held(state: &ActivatedState) -> Option<String> {
    let place = state.rehearsed_in.as_ref()?;
    Some(format!(
        "{place} may still hold what the rehearsal has restored of {}: it is dropped at the end of the next order that is approved",
        state.id
    ))
}

/// What is to be done for each database that is not clean yet, or whose clean-up is still there. Nothing when all is done.
pub fn advance(
    activation: &EmbassyActivation,
    found: &Found,
    order: &str,
    states: &mut [ActivatedState],
    now: Timestamp,
) -> Vec<Step> {
    let name_of =
        |state: &ActivatedState| names::clean_up(&activation.name_any(), &state.id, order, state.attempts);
    let named: Vec<String> = states.iter().map(name_of).collect();
    let is_named = |restore: &RegistryRestore| named.contains(&restore.name_any());
    let earlier = || {
        let restores = found.restores.iter();
        restores.filter(|restore| empties(restore) && !is_named(restore))
    };
    let is_another_at_work =
        |id: &str| earlier().any(|restore| restore.spec.registry.id == *id && is_at_work(restore));
    let registries = activation.spec.registries.iter();
    let marked = registries.filter(|registry| marks(activation, registry));
    let mut next: Vec<Step> = marked
        .filter_map(|registry| {
            let state = states.iter_mut().find(|state| state.id == registry.id)?;
            // Where nothing was restored there is nothing to drop.
            (state.rehearsed_in.is_some() || steps::has_begun(state, steps::CLEAN)).then_some(())?;
            if is_another_at_work(&state.id) {
                return Some(Step::Wait);
            }
            let name = name_of(state);
            step(activation, registry, state, (found, name), now)
        })
        .collect();
    // Those of earlier attempts that have ended are in nobody's way, and stay no longer than the others.
    next.extend(earlier().map(|restore| {
        if is_at_work(restore) {
            Step::Wait
        } else {
            Step::Remove(Box::new((**restore).clone()))
        }
    }));
    next
}

fn step(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    state: &mut ActivatedState,
    (found, name): (&Found, String),
    now: Timestamp,
) -> Option<Step> {
    let mut restores = found.restores.iter();
    let restore = restores.find(|restore| restore.name_any() == name);
    if steps::has_ended(state, steps::CLEAN) {
        return restore.map(|restore| Step::Remove(Box::new((**restore).clone())));
    }
    steps::begin(state, steps::CLEAN, now);
    let told = state.clean_up.get_or_insert_default();
    let Some(restore) = restore else {
        if told.failures == 0 {
            tell(told, "what the rehearsal has restored is being dropped");
        }
        let made = is_due(told, now).then(|| build(activation, registry, name));
        return Some(
            made.flatten()
                .map_or(Step::Wait, |made| Step::Make(Box::new(made))),
        );
    };
    if restore.metadata.deletion_timestamp.is_some() {
        return Some(Step::Wait);
    }
    let status = restore.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, "Ready");
    let message = ready.map_or("", |ready| ready.message.as_str());
    match status.phase {
        RestorePhase::Restored => {
            tell(told, message);
            steps::end(state, steps::CLEAN, now);
            state.rehearsed_in = None;
            Some(Step::Remove(Box::new((**restore).clone())))
        }
        RestorePhase::Failed => {
            if told.uid != restore.uid() {
                told.uid = restore.uid();
                told.failures = told.failures.saturating_add(1);
                told.failed_at = Some(rfc3339(now));
                let reason = ready.map_or(Reason::Other.as_str(), |ready| ready.reason.as_str());
                let message = format!("it is not emptied yet ({reason}), and is tried again: {message}");
                tell(told, &message);
            }
            Some(Step::Remove(Box::new((**restore).clone())))
        }
        RestorePhase::Pending | RestorePhase::Running => {
            if told.failures == 0 && !message.is_empty() {
                tell(told, message);
            }
            Some(Step::Wait)
        }
    }
}

/// Whether a while has passed since it failed last.
fn is_due(told: &RehearsalCleanUp, now: Timestamp) -> bool {
    let failed_at: Option<Timestamp> = told.failed_at.as_ref().and_then(|time| time.parse().ok());
    let wait = after_failure(u32::try_from(told.failures).unwrap_or(u32::MAX), 1.0);
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
    failed_at.is_none_or(|failed_at| has_passed(failed_at, wait, now))
}

fn tell(told: &mut RehearsalCleanUp, message: &str) {
    told.message = message.chars().take(MAX_MESSAGE).collect();
}

fn build(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    name: String,
) -> Option<RegistryRestore> {
    let external = registry.target.external.as_ref()?;
    let uid = activation.uid()?;
    Some(RegistryRestore {
        metadata: restores::metadata(activation, name, BTreeMap::new())?,
        spec: RegistryRestoreSpec {
            embassy_ref: activation.spec.embassy_ref.clone(),
            registry: RestoredRegistry {
                id: registry.id.clone(),
            },
            copy: CopyChoice::default(),
            retrieval_credentials_ref: registry.retrieval_credentials_ref.clone(),
            identity_ref: registry.identity_ref.clone(),
            target: restores::target(external),
            if_not_empty: IfNotEmpty::Refuse,
            trust_source: false,
            allowed_extensions: Vec::new(),
            accept_different_collation: false,
            jobs: 1,
            assertions: Vec::new(),
            rehearsal: Some(Rehearsal { uid, empties: true }),
            deadline: activation.spec.deadlines.close.clone(),
            sidecar: registry.sidecar.clone(),
        },
        status: None,
    })
}
