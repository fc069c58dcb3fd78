//! What a keeper writes into the custody chain: proofs, and the confirmation of a head that a person has named.

use dataembassy_contract::Reason;
use dataembassy_ledger::entry::{ConfirmBody, CustodyBody, ProofBody};
use jiff::Timestamp;

use super::custody::AppendError;
use super::proof::{self, Occasion};
use super::witness::Witness;
use super::{Assignment, Keeper};
use crate::store::StoreError;

impl Keeper {
    /// Whether anything may be written for this registry.
    pub(super) fn may_write(&self, assignment: &Assignment) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        assignment.settings.may_sign
            && self.office.may_write()
            && ledger.is_read()
            && ledger.witness(&assignment.settings) != Witness::Nobody
            && !ledger.is_rolled_back(assignment)
    }

    /// Writes what is due, at most one entry.
    pub(super) async fn write_if_due(&mut self, assignment: &Assignment) -> Result<(), StoreError> {
        if !self.may_write(assignment) {
            return Ok(());
        }
        let now = Timestamp::now();
        if let Some(body) = self.confirmation(assignment) {
            return self.append(assignment, body, now).await.map(drop);
        }
        let Some(body) = self.due_proof(now) else {
            return Ok(());
        };
        if self
            .append(assignment, CustodyBody::Proof(body.clone()), now)
            .await?
        {
            let mut holdings = self.holdings.lock();
            let told: Vec<_> = proof::told(&body, &holdings).collect();
            for sequence in told {
                holdings.untold.remove(&sequence);
            }
        }
        Ok(())
    }

    /// The confirmation of a head that was named and found, if it is what lets us write at all, and nobody has written it yet.
    fn confirmation(&self, assignment: &Assignment) -> Option<CustodyBody> {
        let ledger = self.ledger.as_ref()?;
        let head = assignment.settings.confirmed_head?;
        let is_needed = ledger.witness(&assignment.settings) == Witness::Confirmed && !ledger.confirms(head);
        is_needed.then_some(CustodyBody::Confirm(ConfirmBody { source_head: head }))
    }

    fn due_proof(&self, now: Timestamp) -> Option<ProofBody> {
        let ledger = self.ledger.as_ref().filter(|ledger| ledger.is_complete())?;
        let holdings = self.holdings.lock();
        if !holdings.history_known {
            return None;
        }
        let occasion = Occasion {
            head: ledger.source_head()?,
            holdings: &holdings,
            last: ledger.last_proof(),
            standing: ledger.view().standing(),
            now,
            interval: self.office.timing.proof,
        };
        occasion.due()
    }

    /// Writes one entry; false where somebody else came first, or where nobody knows: the chain tells.
    pub(super) async fn append(
        &mut self,
        assignment: &Assignment,
        body: CustodyBody,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(ledger) = &mut self.ledger else {
            return Ok(false);
        };
        let signer = &assignment.configuration.signer;
        let kind = dataembassy_ledger::entry::Body::kind(&body);
        let written = ledger
            .custody_mut()
            .append(&assignment.store, signer, body, now)
            .await;
        match written {
            Ok(()) => {
                let head = ledger.custody_head().map(|head| head.sequence.get());
                tracing::info!(registry = %self.registry, kind, sequence = head, "a custody entry was written");
                ledger.apply_custody(&self.holdings);
                Ok(true)
            }
            Err(AppendError::Store(error)) => Err(error),
            Err(error @ (AppendError::Moved | AppendError::Unknown(_))) => {
                tracing::info!(registry = %self.registry, kind, %error, "a custody entry was not written");
                ledger.custody_has_moved();
                Ok(false)
            }
            // A finding tells of it already.
            Err(AppendError::NoPlace) => Ok(false),
            Err(error) => {
                tracing::error!(registry = %self.registry, kind, reason = %Reason::InternalError, %error, "a custody entry cannot be made");
                Ok(false)
            }
        }
    }
}
