//! Cut, then fence: the gates refuse the registry's puts, and then the ledger says that another term has begun.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::OrderState;
use dataembassy_crds::{RegistryPhase, UnfencedChoice};
use jiff::SignedDuration;

use super::{Walk, tell};
use crate::activation::steps;

impl Walk<'_> {
    /// Whether what is restored may be chosen: the ledger has the fence, or the order goes on without.
    pub(super) fn is_fenced(&mut self) -> bool {
        if self.finds_fence() || steps::has_ended(&self.state, steps::FENCE) {
            return true;
        }
        if !steps::has_ended(&self.state, steps::CUT) && !self.cuts() {
            return false;
        }
        self.fences()
    }

    /// The entry that fences home counts wherever it is met: also when the order's answer was never heard.
    pub(super) fn finds_fence(&mut self) -> bool {
        let opening = self.scene.found.opened_by(&self.state);
        let Some(sequence) = opening.and_then(|opening| i64::try_from(opening.sequence).ok()) else {
            return false;
        };
        let now = self.scene.now;
        steps::end(&mut self.state, steps::CUT, now);
        steps::end(&mut self.state, steps::FENCE, now);
        self.state.fence = Some(sequence);
        true
    }

    /// Whether the gates refuse its puts.
    fn cuts(&mut self) -> bool {
        let (now, found) = (self.scene.now, self.scene.found);
        if !steps::has_begun(&self.state, steps::CUT) {
            let until = self.scene.checked.valid_until;
            if now > until.as_jiff() {
                let message = format!(
                    "the order was valid until {until}, and was not carried out by then: set a later spec.validUntil, and have the new \
                     statement signed"
                );
                self.fail(Reason::OrderExpired, &message);
                return false;
            }
            // The gates are told once the status says that this has begun.
            steps::begin(&mut self.state, steps::CUT, now);
            self.say(
                RegistryPhase::Cutting,
                Reason::Fencing,
                "the gates are being told to refuse its puts",
            );
            return false;
        }
        match found.is_cut(&self.spec.id) {
            Ok(()) => {}
            Err(_) if self.goes_on_unfenced() => {}
            Err(awaited) => {
                self.say(RegistryPhase::Cutting, Reason::Fencing, &awaited);
                return false;
            }
        }
        steps::end(&mut self.state, steps::CUT, now);
        steps::begin(&mut self.state, steps::FENCE, now);
        self.say(
            RegistryPhase::Fencing,
            Reason::Fencing,
            "the custodian is being asked to fence home",
        );
        false
    }

    /// Whether the custodian has answered, or is not waited for any longer.
    fn fences(&mut self) -> bool {
        let now = self.scene.now;
        steps::begin(&mut self.state, steps::FENCE, now);
        let answer = self.order_state();
        match answer {
            Some(OrderState::Refused { reason, message }) => {
                let message = format!("the custodian refuses to fence home ({reason}): {message}");
                self.fail(reason, &message);
                return false;
            }
            // What it wrote is waited for: it says where the source chain ended.
            Some(OrderState::Done { sequence }) => {
                let message =
                    format!("home is fenced by the custody entry {sequence}; its head is being read");
                self.say(RegistryPhase::Fencing, Reason::Fencing, &message);
                return false;
            }
            Some(OrderState::Waiting { .. }) | None => {}
        }
        if self.goes_on_unfenced() {
            steps::end(&mut self.state, steps::FENCE, now);
            return true;
        }
        match answer {
            Some(OrderState::Waiting { reason, message }) => {
                let message = format!("the custodian cannot fence home yet: {message}");
                self.say(RegistryPhase::Fencing, reason, &message);
            }
            _ => self.say(
                RegistryPhase::Fencing,
                Reason::Fencing,
                "the custodian is being asked to fence home",
            ),
        }
        false
    }

    /// Nothing but the approvers' word lets an order go on without a fence, and only when its time is over: that it is later by a clock that
    /// somebody has set is no reason to let both sides commit.
    fn goes_on_unfenced(&self) -> bool {
        let limit = self.scene.checked.deadlines.fence.as_std();
        self.scene.activation.spec.unfenced == UnfencedChoice::Accepted
            && SignedDuration::try_from(limit).is_ok_and(|limit| self.scene.waited > limit)
    }

    /// A registry that goes on unfenced is fenced as soon as the store can be written.
    pub(super) fn fence_late(&mut self) {
        if self.rehearses() || self.state.fence.is_some() || self.state.phase != RegistryPhase::Serving {
            return;
        }
        if self.finds_fence() {
            tell(
                &mut self.state,
                RegistryPhase::Serving,
                Reason::Serving,
                "it is served from the embassy; it was fenced later, so look whether home committed copies in between",
            );
        }
    }
}
