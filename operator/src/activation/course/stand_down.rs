//! The way home: applications are shut out, a last copy is taken and read back, and then the ledger says that home writes the next term.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CopyReport, OrderState, RegistryReport, TermHolder};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{ActivatedState, RegistryPhase, RestoredCopy};

use super::{Act, Scene, Walk, tell};
use crate::activation::{last_copy, steps};
use crate::condition::rfc3339;

impl Walk<'_> {
    /// Brings a registry a step closer to home.
    pub(super) fn stand_down(&mut self) -> Option<Act> {
        let now = self.scene.now;
        // A custodian that had been asked to fence home may have done so after everybody turned round, and even after it was said that it had not.
        let is_fenced_after_all = self.state.fence.is_none() && self.finds_fence();
        let is_done = self.state.phase == RegistryPhase::StoodDown && !is_fenced_after_all;
        if is_done || self.finds_release() {
            return None;
        }
        if self.state.fence.is_none() {
            let report = self.scene.found.report(&self.spec.id);
            if report.is_none_or(|report| report.ledger.state == CheckState::Unknown) {
                self.say(
                    self.state.phase,
                    Reason::NotYetKnown,
                    "the custodian has not said yet who holds it",
                );
                return None;
            }
            if last_copy::was_served(&self.state) && !steps::has_ended(&self.state, steps::CLOSE) {
                return self.close_unfenced();
            }
            // Nothing is copied that has no term.
            steps::forget(&mut self.state, &[steps::COPY]);
            let message = "home was never fenced by this activation, so there is nothing to release: it may commit as before";
            self.say(RegistryPhase::StoodDown, Reason::NotActivated, message);
            return None;
        }
        if self.state.phase != RegistryPhase::StandingDown {
            self.say(
                RegistryPhase::StandingDown,
                Reason::StandingDown,
                "it begins to go home",
            );
            return None;
        }
        if last_copy::was_served(&self.state) && !steps::has_ended(&self.state, steps::CLOSE) {
            return self.close();
        }
        steps::begin(&mut self.state, steps::COPY, now);
        if !steps::has_ended(&self.state, steps::COPY) && !self.has_last_copy() {
            return None;
        }
        self.waits_for_release();
        None
    }

    /// Applications that were let in without a fence are shut out too: nobody else keeps them from writing beside home. What they wrote goes home by
    /// no copy, so that is asked about first.
    fn close_unfenced(&mut self) -> Option<Act> {
        if last_copy::is_needed(self.spec, &self.state) {
            let message = last_copy::unfenced(&self.spec.id);
            self.say(self.state.phase, Reason::Unfenced, &message);
            return None;
        }
        self.close()
    }

    /// Shuts applications out, once it is known that what they wrote can be copied: a mirror has made a copy from here before.
    fn close(&mut self) -> Option<Act> {
        let now = self.scene.now;
        if !steps::has_begun(&self.state, steps::CLOSE) {
            if last_copy::is_needed(self.spec, &self.state)
                && let Err(why) = self.can_be_copied()
            {
                self.say(RegistryPhase::StandingDown, Reason::NoMirror, &why);
                return None;
            }
            steps::begin(&mut self.state, steps::CLOSE, now);
            self.say(
                RegistryPhase::StandingDown,
                Reason::StandingDown,
                "applications are being shut out",
            );
            return None;
        }
        if self.spec.target.managed.is_none() {
            // Somebody else's database: they said so when they had it approved.
            shut(self.scene, &mut self.state);
            return None;
        }
        Some(Act::Close {
            registry: self.spec.id.clone(),
        })
    }

    fn can_be_copied(&self) -> Result<(), String> {
        let mirror = last_copy::mirror(self.scene.found, &self.spec.id)?;
        let report = self.scene.found.report(&self.spec.id);
        if report.is_some_and(|report| report.source_term == Some(report.term)) {
            return Ok(());
        }
        Err(format!(
            "the RegistryMirror {} has committed no copy from here yet, and applications are not shut out before it has: look at its conditions",
            mirror.metadata.name.as_deref().unwrap_or_default()
        ))
    }

    /// The copy that home restores: one that was taken after applications were shut out, and read back; the newest that there is where nothing
    /// was written that it could lack, or where that is given up.
    fn has_last_copy(&mut self) -> bool {
        let copies = match self.scene.found.report(&self.spec.id) {
            Some(report) => report.copies.as_slice(),
            None => &[],
        };
        let newest = if last_copy::is_needed(self.spec, &self.state) {
            match self.taken_since(copies) {
                Ok(copy) => Some(copy),
                Err((reason, why)) => {
                    self.say(RegistryPhase::StandingDown, reason, &why);
                    return false;
                }
            }
        } else {
            copies.iter().max_by_key(|copy| copy.sequence)
        };
        let Some(copy) = newest else {
            self.say(
                RegistryPhase::StandingDown,
                Reason::NotYetKnown,
                "the custodian has not said yet which copies there are",
            );
            return false;
        };
        self.state.copy = Some(restored(copy));
        steps::end(&mut self.state, steps::COPY, self.scene.now);
        steps::begin(&mut self.state, steps::RELEASE, self.scene.now);
        true
    }

    /// The newest that is read back among those at or after the one that answered the trigger.
    fn taken_since<'c>(&self, copies: &'c [CopyReport]) -> Result<&'c CopyReport, (Reason, String)> {
        let mirror =
            last_copy::mirror(self.scene.found, &self.spec.id).map_err(|why| (Reason::NoMirror, why))?;
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        let trigger = last_copy::trigger(self.scene.activation, &self.state).unwrap_or_default();
        let Some(sequence) = last_copy::answered(mirror, &trigger) else {
            let message = format!(
                "its last copy is being taken by the RegistryMirror {name}, which says how far it is"
            );
            return Err((Reason::StandingDown, message));
        };
        let taken = || copies.iter().filter(|copy| copy.sequence >= sequence);
        if let Some(copy) = taken()
            .filter(|copy| copy.intact == CheckState::True)
            .max_by_key(|copy| copy.sequence)
        {
            return Ok(copy);
        }
        match taken().find(|copy| copy.intact == CheckState::False) {
            Some(broken) => {
                let message = format!(
                    "its last copy {} is not whole in the store ({}): have the RegistryMirror {name} make another one, with a new spec.trigger",
                    broken.sequence, broken.message
                );
                Err((Reason::NoIntactCopy, message))
            }
            None => Err((
                Reason::Verifying,
                format!("its last copy {sequence} is committed, and the custodian reads it back"),
            )),
        }
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

    /// The release counts wherever it is met, and whichever order asked for it: the ledger has given the registry to home, whatever was ordered
    /// since. It names the end of the term: that copy, and no other, is what home goes on from.
    pub(super) fn finds_release(&mut self) -> bool {
        let report: Option<&RegistryReport> = self.scene.found.report(&self.spec.id);
        let order = self.order();
        let fence = self.state.fence.and_then(|fence| u64::try_from(fence).ok());
        let opening = report.and_then(|report| report.opening.as_ref());
        let release = opening.filter(|opening| {
            let is_by_it = opening.order.is_some() && opening.order.as_deref() == order;
            let is_since = fence.is_some_and(|fence| opening.sequence > fence);
            opening.holder == TermHolder::Home && (is_by_it || is_since)
        });
        let Some(release) = release else {
            return false;
        };
        let digest = release.digest.clone();
        let head = release.source_head.as_ref().map(|head| head.sequence);
        let mut copies = report.into_iter().flat_map(|report| &report.copies);
        match copies.find(|copy| Some(copy.sequence) == head) {
            Some(last) => self.state.copy = Some(restored(last)),
            // Home would be told of another copy than the release names.
            None if report.is_some_and(|report| report.reading) => return false,
            None => {}
        }
        let message = format!(
            "it was released to home: restore copy {} there, and name {digest} in the mirror's spec.registry.adoptRelease",
            self.state.copy.as_ref().map_or(0, |copy| copy.sequence)
        );
        steps::end(&mut self.state, steps::COPY, self.scene.now);
        let (scene, state) = (self.scene, &mut self.state);
        steps::end_under(state, steps::RELEASE, scene.now, scene.order());
        self.state.release = Some(digest);
        self.say(RegistryPhase::StoodDown, Reason::StoodDown, &message);
        true
    }

    /// An order to serve on comes before the release: what was written is in the database that is there, so nothing is restored.
    pub(super) fn serve_again(&mut self) -> Act {
        steps::forget(&mut self.state, &[steps::CLOSE, steps::COPY, steps::RELEASE]);
        self.say(
            RegistryPhase::StandingDown,
            Reason::StandingDown,
            "applications are being let in again",
        );
        Act::Serve {
            registry: self.spec.id.clone(),
        }
    }
}

/// Applications were shut out, so the last copy is asked for.
pub fn shut(scene: &Scene<'_>, state: &mut ActivatedState) {
    steps::end(state, steps::CLOSE, scene.now);
    steps::begin(state, steps::COPY, scene.now);
    tell(
        state,
        RegistryPhase::StandingDown,
        Reason::StandingDown,
        "applications are shut out, and its last copy is asked for",
    );
}

fn restored(copy: &CopyReport) -> RestoredCopy {
    RestoredCopy {
        sequence: i64::try_from(copy.sequence).unwrap_or_default(),
        copy_id: copy.copy_id.clone(),
        taken_at: rfc3339(copy.taken_at),
    }
}
