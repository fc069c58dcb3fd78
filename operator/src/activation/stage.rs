//! Where an activation as a whole stands: whether its spec is valid, stated, approved. Pure.
//!
//! A statement is made once for each spec without its approvals; another spec is another statement, and needs approvals of its own. Until
//! those are there, what an earlier order has brought about stays as it is, and nothing is moved on.

use dataembassy_contract::Reason;
use dataembassy_crds::{
    ActivatedState, ActivationMode, ActivationState, EmbassyActivation, EmbassyActivationStatus,
    RegistryPhase,
};
use jiff::Timestamp;

use crate::activation::adoption::adopt;
use crate::activation::course::is_over;
use crate::activation::dereference::Found;
use crate::activation::last_copy::was_served;
use crate::activation::validate::Checked;
use crate::activation::{approval, replaced, statement, steps};
use crate::condition::rfc3339;
use crate::embassy::validate::Refusal;

/// Where an activation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// These registries have no key for their next term yet.
    Keyless(Vec<String>),
    /// What the statement needs is not known yet.
    Unstated(Refusal),
    /// It waits for signatures.
    Awaiting,
    /// Its time is over, and it was not approved in it.
    Expired,
    /// It was approved at this moment, and is carried out.
    Ordered(Timestamp),
    /// The rehearsal has ended, and was cleaned up.
    Over,
}

/// Brings the status to where it stands, and says where that is.
pub fn advance(
    activation: &EmbassyActivation,
    checked: &Checked,
    found: &Found,
    status: &mut EmbassyActivationStatus,
    now: Timestamp,
) -> Stage {
    align(activation, &mut status.registries);
    adopt(activation, found, &mut status.registries);
    let activates = activation.spec.mode == ActivationMode::Activate;
    let keyless: Vec<String> = status
        .registries
        .iter()
        .filter(|state| state.signer.is_none())
        .map(|state| state.id.clone())
        .collect();
    if activates && activation.spec.state == ActivationState::Active && !keyless.is_empty() {
        return Stage::Keyless(keyless);
    }
    let is_approved = status.approved_at.is_some();
    let frozen = status.statement.as_ref();
    if !frozen.is_some_and(|frozen| statement::is_about(frozen, activation, checked, is_approved)) {
        replaced::keep(status);
        status.signatures = Vec::new();
        status.approved_at = None;
        status.approvals = None;
        status.ended_at = None;
        status.statement = None;
        match statement::compose(activation, checked, &status.registries, found, now) {
            Ok(made) => status.statement = Some(made),
            Err(refusal) => return Stage::Unstated(refusal),
        }
    }
    if !activates && status.ended_at.is_some() {
        return Stage::Over;
    }
    approve(activation, checked, status, now)
}

fn approve(
    activation: &EmbassyActivation,
    checked: &Checked,
    status: &mut EmbassyActivationStatus,
    now: Timestamp,
) -> Stage {
    let text = status
        .statement
        .as_ref()
        .map_or("", |statement| statement.text.as_str());
    let judgement = approval::judge(activation, text, &checked.approvers);
    status.approvals = Some(approval::shown(&judgement, &checked.approvers));
    let warrant = approval::judged(activation, text, &checked.approvers, &judgement);
    if let Some(warrant) = warrant.filter(|_| status.signatures.is_empty()) {
        status.signatures = warrant.approvals;
    }
    if let Some(approved_at) = status.approved_at.as_ref().and_then(|time| time.parse().ok()) {
        return Stage::Ordered(approved_at);
    }
    if now > checked.valid_until.as_jiff() {
        return Stage::Expired;
    }
    if !checked.approvers.are_enough(&judgement) {
        return Stage::Awaiting;
    }
    status.approved_at = Some(rfc3339(now));
    for state in &mut status.registries {
        begin_anew(state, activation.spec.state);
    }
    Stage::Ordered(now)
}

/// The states of the registries that the spec names, in its order. One that was taken out after it ended is forgotten.
fn align(activation: &EmbassyActivation, states: &mut Vec<ActivatedState>) {
    let mut before = std::mem::take(states);
    for registry in &activation.spec.registries {
        let known = before.iter().position(|state| state.id == registry.id);
        states.push(known.map_or_else(|| waiting(&registry.id), |place| before.swap_remove(place)));
    }
}

fn waiting(id: &str) -> ActivatedState {
    ActivatedState {
        id: id.to_owned(),
        reason: Reason::AwaitingApproval.to_string(),
        message: Reason::AwaitingApproval.meaning().to_owned(),
        ..ActivatedState::default()
    }
}

/// Under a new order, what is not served is begun anew, but for a fence that stands and the key that it names.
fn begin_anew(state: &mut ActivatedState, wanted: ActivationState) {
    let stays = match state.phase {
        RegistryPhase::Serving | RegistryPhase::StoodDown => true,
        // What was served is never restored again: what was written is in its database. Another order to go home asks for another last copy.
        RegistryPhase::StandingDown if wanted == ActivationState::StoodDown => {
            steps::forget(state, &[steps::COPY, steps::RELEASE]);
            true
        }
        RegistryPhase::StandingDown => was_served(state),
        _ => false,
    };
    if stays {
        return;
    }
    if state.fence.is_none() {
        // Whether it may go on without a fence is the new order's to say.
        steps::forget(state, &[steps::FENCE]);
        if is_over(state.phase) {
            steps::forget(state, &[steps::CUT]);
        }
    }
    steps::forget(
        state,
        &[
            steps::DATABASE,
            steps::RESTORE,
            steps::SERVE,
            steps::COPY,
            steps::RELEASE,
            steps::CLEAN,
        ],
    );
    state.clean_up = None;
    state.restore = None;
    state.copy = None;
    // What an earlier order achieved is not this one's.
    (state.rpo_seconds, state.rto_seconds, state.objectives_met) = (None, None, None);
    state.phase = RegistryPhase::Waiting;
    Reason::Approved.as_str().clone_into(&mut state.reason);
    Reason::Approved.meaning().clone_into(&mut state.message);
}
