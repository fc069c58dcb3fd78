//! What a keeper writes into the custody chain: proofs, and the confirmation of a head that a person has named.

use dataembassy_contract::Reason;
use dataembassy_ledger::entry::{ConfirmBody, CustodyBody, ProofBody};
use jiff::Timestamp;

use super::custody::AppendError;
use super::orders::Attempt;
use super::proof::{self, Occasion};
use super::witness::Witness;
use super::{Assignment, Keeper};
use crate::custodian::finding::{Finding, is_of_the_ledger};
use crate::store::StoreError;

impl Keeper {
    /// Whether anything may be written for this registry.
    pub(super) fn may_write(&self, assignment: &Assignment) -> bool {
        self.office.may_write() && self.may_append(assignment)
    }

    /// Whether an entry may be added to the custody chain, whatever the clocks say.
    fn may_append(&self, assignment: &Assignment) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        assignment.settings.may_sign
            && ledger.is_read()
            && ledger.witness(&assignment.settings) != Witness::Nobody
            && !ledger.is_rolled_back(assignment)
    }

    /// Why no entry can be added to the custody chain now, whatever the clocks say: what makes it impossible before what is only wrong.
    pub(super) fn cannot_append(&self, assignment: &Assignment) -> Option<(Reason, String)> {
        if self.may_append(assignment) {
            return None;
        }
        let findings = self.ledger.as_ref().map(|ledger| ledger.findings(assignment));
        let findings = findings.unwrap_or_default();
        let prevents = |finding: &&Finding| {
            matches!(
                finding.reason,
                Reason::RolledBack | Reason::Unwitnessed | Reason::KeyHasTwoRoles
            )
        };
        let finding = findings.iter().find(prevents);
        let finding = finding.or_else(|| findings.iter().find(|finding| is_of_the_ledger(finding.reason)));
        Some(finding.map_or_else(
            || {
                let why = "this custodian may not write into the custody chain: its key is not in use for this registry, or the chain is being read";
                (Reason::NotYetKnown, why.to_owned())
            },
            |finding| (finding.reason, finding.what.clone()),
        ))
    }

    /// What an order is told whose entry was not written.
    pub(super) fn moved() -> Attempt {
        let why = "another custodian has written meanwhile, or nobody can say what comes next in the custody chain: it is read again";
        Attempt::kept_by(Reason::NotYetKnown, why.to_owned())
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
            view: ledger.view(),
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
                ledger.learn();
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
