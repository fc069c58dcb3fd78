//! Terms that people have ordered to be opened: the fence of an activation, and the release that ends it.
//!
//! **Cut, then fence**: the gates refuse the registry's puts before the order is given. So the source chain, read to its end after the order
//! was loaded, is all that there will be of the term; one entry names that end, the next term and who signs in it. [`judgement`] says whether
//! the order may be carried out, [`late`] what somebody puts behind the end nevertheless.
//!
//! What is wrong with copies, or beside the chains, holds up nothing here: on the day that home is lost, only what makes it impossible to know
//! the head, or to sign, does.

pub(super) mod judgement;
pub mod late;

use dataembassy_contract::Reason;
use dataembassy_ledger::activation::{StatedFloor, Warrant};
use dataembassy_ledger::chain::OpeningKind;
use dataembassy_ledger::entry::{CustodyBody, TermBody};
use dataembassy_ledger::value::{OrderId, RegistryId, Timestamp as LedgerTime};
use jiff::Timestamp;

use super::orders::{Attempt, Refusal};
use super::{Assignment, Keeper};
use crate::store::{StoreError, clocks_agree};
use judgement::{Bench, Judged};

/// How often an entry is read before it is held not to be there.
const READINGS: usize = 3;

impl Keeper {
    /// Opens the next term by an order, if it may be.
    pub(super) async fn open_term(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        kind: OpeningKind,
        warrant: &Warrant,
    ) -> Attempt {
        let now = Timestamp::now();
        // What nobody may order is refused whatever the store is like.
        let judged =
            Self::bench(assignment, &self.registry, now).and_then(|bench| bench.judge(order, kind, warrant));
        let judged = match judged {
            Ok(judged) => judged,
            Err(refusal) if refusal.reason == Reason::OrderExpired => {
                return self.expired(assignment, order, kind, warrant).await;
            }
            Err(refusal) => return Attempt::Refused(refusal),
        };
        if let Err(attempt) = self.fits_the_ledger(assignment, kind, &judged, now).await {
            return attempt;
        }
        match self.floor_is_there(assignment, judged.ordered.stated.floor).await {
            Ok(None) => {}
            Ok(Some(refusal)) => return Attempt::Refused(refusal),
            Err(error) => return Attempt::stopped_by(&error, "the source chain cannot be read"),
        }
        self.write(assignment, order, kind, judged, now).await
    }

    /// An order whose time is over by our clock. A refusal is for ever, and it may be our clock that is wrong: the store tells its own with each answer,
    /// and answers nobody whose clock is far off.
    async fn expired(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        kind: OpeningKind,
        warrant: &Warrant,
    ) -> Attempt {
        // Nobody would ask the store, and what it has told others may be from before our clock was set.
        if self.ledger.is_none() {
            return Self::moved();
        }
        if let Err(error) = self.read_anew(assignment).await {
            let what = "the order's time is over by our clock, and the store cannot be asked for its own";
            return Attempt::stopped_by(&error, what);
        }
        if !assignment.store.clock_ahead().is_some_and(clocks_agree) {
            let why = "the order's time is over by our clock, which differs from the store's: set the clocks, and the order is judged by the right one";
            return Attempt::kept_by(Reason::ClockSkewed, why.to_owned());
        }
        let judged = Self::bench(assignment, &self.registry, Timestamp::now())
            .and_then(|bench| bench.judge(order, kind, warrant));
        // Our clock was set right meanwhile, and the next look goes on.
        judged.map_or_else(Attempt::Refused, |_| Self::moved())
    }

    /// Whether the order fits what the ledger says, which is read anew for that. A refusal is for ever, so it rests on several readings.
    async fn fits_the_ledger(
        &mut self,
        assignment: &Assignment,
        kind: OpeningKind,
        judged: &Judged,
        now: Timestamp,
    ) -> Result<(), Attempt> {
        let mut refusal = None;
        for _ in 0..READINGS {
            self.read_anew(assignment).await.map_err(|error| {
                let what = "the ledger cannot be read to its head, so no term can be opened";
                Attempt::stopped_by(&error, what)
            })?;
            if let Some((reason, why)) = self.cannot_append(assignment) {
                let message = format!("no term can be opened: {why}");
                return Err(Attempt::kept_by(reason, message));
            }
            let ledger = self.ledger.as_ref().ok_or_else(Self::moved)?;
            let bench = Self::bench(assignment, &self.registry, now).map_err(Attempt::Refused)?;
            match bench.fits(ledger.view(), kind, judged) {
                Ok(()) => return Ok(()),
                Err(unfit) => refusal = Some(unfit),
            }
        }
        Err(refusal.map_or_else(Self::moved, Attempt::Refused))
    }

    fn bench<'a>(
        assignment: &'a Assignment,
        registry: &'a RegistryId,
        now: Timestamp,
    ) -> Result<Bench<'a>, Refusal> {
        let configuration = &assignment.configuration;
        Ok(Bench {
            store: assignment.identity.store_id,
            embassy: &configuration.embassy,
            registry,
            approvers: configuration.approvers.as_ref(),
            custodians: &configuration.custodians,
            signers: &assignment.settings.signers,
            now: LedgerTime::from_jiff(now).map_err(|error| Refusal::new(error.to_string()))?,
        })
    }

    async fn read_anew(&mut self, assignment: &Assignment) -> Result<(), StoreError> {
        match &mut self.ledger {
            Some(ledger) => ledger.read_anew(assignment, &self.holdings).await,
            None => Ok(()),
        }
    }

    /// Whether the chain has the head that people saw when they approved.
    async fn floor_is_there(
        &self,
        assignment: &Assignment,
        floor: Option<StatedFloor>,
    ) -> Result<Option<Refusal>, StoreError> {
        let (Some(floor), Some(ledger)) = (floor, &self.ledger) else {
            return Ok(None);
        };
        let entry = floor.entry;
        // A refusal is for ever, and an entry's bytes may have been damaged on their way.
        for _ in 0..READINGS {
            if ledger.view().term_of(entry.sequence) == floor.term && ledger.has(assignment, entry).await? {
                return Ok(None);
            }
        }
        Ok(Some(Refusal {
            reason: Reason::RolledBack,
            message: format!(
                "its statement was signed when source entry {} of term {} with SHA-256 {} was the head, and the ledger of registry {} does not \
                 have that entry: the store was set back, or this is another store",
                entry.sequence, floor.term, entry.digest, self.registry
            ),
        }))
    }

    /// Writes the entry, which ends the term and opens the next.
    async fn write(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        kind: OpeningKind,
        judged: Judged,
        now: Timestamp,
    ) -> Attempt {
        let Some(ledger) = &self.ledger else {
            return Self::moved();
        };
        let Some(next_term) = ledger.view().current_term().next() else {
            return Attempt::Refused(Refusal::new("the registry has used its last term".to_owned()));
        };
        let source_head = ledger.end_of_source();
        let body = TermBody {
            source_head,
            next_term,
            signer: judged.signer,
            order: Some(order.clone()),
            warrant: Some(judged.ordered.warrant),
        };
        let body = match kind {
            OpeningKind::Activation => CustodyBody::Activation(body),
            OpeningKind::Release => CustodyBody::Release(body),
        };
        match self.append(assignment, body, now).await {
            Ok(true) => {
                let head = source_head.map_or(0, |head| head.sequence.get());
                tracing::warn!(
                    registry = %self.registry, %order, term = %next_term, head, approved = ?judged.ordered.approved,
                    "a term was opened by order"
                );
                Attempt::Done
            }
            Ok(false) => Self::moved(),
            Err(error) => Attempt::stopped_by(&error, "the entry that opens the term cannot be written"),
        }
    }
}
