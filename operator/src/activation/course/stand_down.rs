//! The way home: a last copy is committed from the embassy, and then the ledger says that home writes the next term.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{OrderState, RegistryReport, TermHolder};
use dataembassy_crds::{RegistryPhase, RestoredCopy};

use super::Walk;
use crate::activation::steps;
use crate::condition::rfc3339;

impl Walk<'_> {
    /// Brings a registry a step closer to home.
    pub(super) fn stand_down(&mut self) {
        let now = self.scene.now;
        if self.state.phase == RegistryPhase::StoodDown || self.finds_release() {
            return;
        }
        if self.state.fence.is_none() {
            let message = "home was never fenced by this activation, so there is nothing to release: it may commit as before";
            self.say(RegistryPhase::StoodDown, Reason::NotActivated, message);
            return;
        }
        if self.state.phase != RegistryPhase::StandingDown {
            steps::begin(&mut self.state, steps::COPY, now);
            self.say(RegistryPhase::StandingDown, Reason::StandingDown, LAST_COPY);
            return;
        }
        if !steps::has_ended(&self.state, steps::COPY) && !self.has_last_copy() {
            return;
        }
        self.waits_for_release();
    }

    /// A copy whose snapshot is younger than the approval: whoever stands a registry down ends what writes to it first.
    fn has_last_copy(&mut self) -> bool {
        let (now, approved_at) = (self.scene.now, self.scene.approved_at);
        let report = self.scene.found.report(&self.spec.id);
        let copies = report.iter().flat_map(|report| &report.copies);
        let newest = copies.max_by_key(|copy| copy.sequence);
        // Where nobody was let in, nothing was written that a copy could lack.
        let was_served = steps::has_ended(&self.state, steps::SERVE);
        let Some(copy) = newest.filter(|copy| !was_served || copy.taken_at > approved_at) else {
            self.say(RegistryPhase::StandingDown, Reason::StandingDown, LAST_COPY);
            return false;
        };
        self.state.copy = Some(RestoredCopy {
            sequence: i64::try_from(copy.sequence).unwrap_or_default(),
            copy_id: copy.copy_id.clone(),
            taken_at: rfc3339(copy.taken_at),
        });
        steps::end(&mut self.state, steps::COPY, now);
        steps::begin(&mut self.state, steps::RELEASE, now);
        true
    }

    fn waits_for_release(&mut self) {
        match self.order_state() {
            Some(OrderState::Refused { reason, message }) => {
                let message = format!("the custodian refuses to release it ({reason}): {message}");
                self.say(RegistryPhase::StandingDown, reason, &message);
            }
            Some(OrderState::Waiting { reason, message }) => {
                let message = format!("the custodian cannot release it yet: {message}");
                self.say(RegistryPhase::StandingDown, reason, &message);
            }
            Some(OrderState::Done { .. }) | None => self.say(
                RegistryPhase::StandingDown,
                Reason::StandingDown,
                "the custodian is being asked to release it to home",
            ),
        }
    }

    /// The release counts wherever it is met.
    fn finds_release(&mut self) -> bool {
        let report: Option<&RegistryReport> = self.scene.found.report(&self.spec.id);
        let order = self.order();
        let opening = report.and_then(|report| report.opening.as_ref());
        let release = opening.filter(|opening| {
            opening.holder == TermHolder::Home && opening.order.is_some() && opening.order.as_deref() == order
        });
        let Some(digest) = release.map(|opening| opening.digest.clone()) else {
            return false;
        };
        let message = format!(
            "it was released to home: restore copy {} there, and name {digest} in the mirror's spec.registry.adoptRelease",
            self.state.copy.as_ref().map_or(0, |copy| copy.sequence)
        );
        steps::end(&mut self.state, steps::COPY, self.scene.now);
        steps::end(&mut self.state, steps::RELEASE, self.scene.now);
        self.state.release = Some(digest);
        self.say(RegistryPhase::StoodDown, Reason::StoodDown, &message);
        true
    }
}

const LAST_COPY: &str = "its last copy is awaited: end what writes to it, and let the embassy's own mirror run once more, with a new spec.trigger";
