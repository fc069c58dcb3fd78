//! What becomes of a drill's result: an order asks the custodian to sign it, and a keeper carries it out once.
//!
//! [`examination`] judges the result by the ledger, [`report`] renders it, [`deposit`] puts both forms into the store; then one entry in the
//! custody chain names them. Each step can be repeated: the same order gives the same reports, those that are there are recognised, and the
//! chain says which orders have their entry. So it may be cut off anywhere. [`findings`] says which drills are missing or failed.

mod deposit;
mod examination;
pub mod findings;
pub mod report;

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{OrderAnswer, OrderState};
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{CustodyBody, DrillBody};
use dataembassy_ledger::value::OrderId;
use jiff::Timestamp;

use super::{Assignment, Keeper, Left};
use crate::custodian::configuration::DrillOrder;
use crate::custodian::finding::is_of_the_ledger;
use deposit::DepositError;
use examination::{Examined, Refusal};

/// What became of the orders of one registry.
#[derive(Debug, Default)]
pub struct Drills {
    /// Orders that are not carried out, and why: a refusal stands while the order does. Those that wait are thought of anew.
    unanswered: BTreeMap<OrderId, OrderState>,
    /// How many were signed and refused since the process started.
    pub count: Count,
}

/// How many orders were answered since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By an entry.
    pub signed: u64,
    /// By a refusal.
    pub refused: u64,
}

/// What came of an attempt to carry out an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It has its answer.
    Answered,
    /// The store refuses what it needs.
    Waits,
    /// The store is silent, or the chain must be read again.
    AllWait,
}

impl Drills {
    /// Nothing is known any more but what was done.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            unanswered: BTreeMap::new(),
            count: self.count,
        }
    }

    /// The answers that can be given now, in the order of the configuration.
    #[must_use]
    pub fn answers(&self, orders: &[DrillOrder], view: &CustodyView) -> Vec<OrderAnswer> {
        let answer = |order: &DrillOrder| {
            let done = view.carried_out(&order.id).map(|sequence| OrderState::Done {
                sequence: sequence.get(),
            });
            Some(OrderAnswer {
                id: order.id.to_string(),
                state: done.or_else(|| self.unanswered.get(&order.id).cloned())?,
            })
        };
        orders.iter().filter_map(answer).collect()
    }

    fn wait(&mut self, order: &OrderId, reason: Reason, message: String) {
        self.unanswered
            .insert(order.clone(), OrderState::Waiting { reason, message });
    }

    fn refuse(&mut self, order: &OrderId, Refusal { reason, message }: Refusal) {
        self.count.refused += 1;
        self.unanswered
            .insert(order.clone(), OrderState::Refused { reason, message });
    }

    fn is_refused(&self, order: &OrderId) -> bool {
        matches!(self.unanswered.get(order), Some(OrderState::Refused { .. }))
    }
}

impl Keeper {
    /// Carries out the next order that has no answer yet, at most one in a turn. What goes wrong with one is its answer, and keeps nothing
    /// else from being done.
    pub(super) async fn carry_out(&mut self, assignment: &Assignment) -> Left {
        let orders = &assignment.settings.orders;
        self.drills
            .unanswered
            .retain(|id, _| orders.iter().any(|order| order.id == *id));
        let Some(view) = self.ledger.as_ref().map(super::ledger::LedgerState::view) else {
            return Left::Nothing;
        };
        let is_open =
            |order: &&DrillOrder| view.carried_out(&order.id).is_none() && !self.drills.is_refused(&order.id);
        let open: Vec<&DrillOrder> = orders.iter().filter(is_open).collect();
        if open.is_empty() {
            return Left::Nothing;
        }
        if let Some((reason, message)) = self.cannot_sign(assignment) {
            for order in open {
                self.drills.wait(&order.id, reason, message.clone());
            }
            return Left::Nothing;
        }
        for order in open {
            match self.carry_out_one(assignment, order).await {
                Outcome::Answered => return Left::More,
                Outcome::Waits => {}
                // What keeps this one waiting keeps the others too, and a slot must not be held for all of them.
                Outcome::AllWait => break,
            }
        }
        Left::Nothing
    }

    async fn carry_out_one(&mut self, assignment: &Assignment, order: &DrillOrder) -> Outcome {
        let now = Timestamp::now();
        let examined = {
            let holdings = self.holdings.lock();
            examination::examine(order, &self.registry, &holdings, now)
        };
        let examined = match examined {
            Ok(examined) => examined,
            Err(refusal) => {
                tracing::warn!(registry = %self.registry, order = %order.id, reason = %refusal.reason, message = refusal.message, "an order is refused");
                self.drills.refuse(&order.id, refusal);
                return Outcome::Answered;
            }
        };
        match self.sign_for(assignment, order, examined, now).await {
            Ok(true) => {
                self.drills.unanswered.remove(&order.id);
                self.drills.count.signed += 1;
                Outcome::Answered
            }
            Ok(false) => Outcome::AllWait,
            Err(DepositError::Refused(refusal)) => {
                tracing::error!(registry = %self.registry, order = %order.id, reason = %refusal.reason, message = refusal.message, "an order is refused");
                self.drills.refuse(&order.id, refusal);
                Outcome::Answered
            }
            Err(error @ DepositError::Contended(_)) => {
                self.drills.wait(
                    &order.id,
                    Reason::NotYetKnown,
                    format!("{error}: it is tried again"),
                );
                Outcome::Waits
            }
            Err(DepositError::Store(error)) => {
                tracing::warn!(registry = %self.registry, order = %order.id, reason = %error.reason(), %error, "an order waits");
                let message = format!("the reports of this order cannot be put into the store: {error}");
                self.drills.wait(&order.id, error.reason(), message);
                if error.is_permanent() {
                    Outcome::Waits
                } else {
                    Outcome::AllWait
                }
            }
        }
    }

    /// Puts the reports, and writes the entry that names them; false where the entry was not written, and the chain tells why.
    async fn sign_for(
        &mut self,
        assignment: &Assignment,
        order: &DrillOrder,
        examined: Examined,
        now: Timestamp,
    ) -> Result<bool, DepositError> {
        let record = report::Record {
            store: assignment.identity.store_id,
            registry: &self.registry,
            order: &order.id,
            source_entry: examined.source_entry,
            copy: examined.copy,
            custodian: assignment.configuration.signer.public_key(),
            result: &examined.result,
        };
        let rendered = record.render().map_err(|error| {
            DepositError::Refused(Refusal::new(format!("its report cannot be written: {error}")))
        })?;
        let reports = deposit::put(&assignment.store, &record, rendered).await?;
        let body = CustodyBody::Drill(DrillBody {
            order: order.id.clone(),
            source_entry: examined.source_entry,
            copy_id: examined.copy,
            passed: examined.passed,
            started_at: examined.started_at,
            ended_at: examined.ended_at,
            reports,
        });
        let is_written = self.append(assignment, body, now).await?;
        if !is_written {
            let why = "another custodian has written meanwhile, or nobody can say what comes next in the custody chain: it is read again";
            self.drills.wait(&order.id, Reason::NotYetKnown, why.to_owned());
        }
        Ok(is_written)
    }

    /// Why nothing can be signed for now.
    fn cannot_sign(&self, assignment: &Assignment) -> Option<(Reason, String)> {
        let ledger = self.ledger.as_ref()?;
        if !self.office.may_write() {
            let why = "the store's clock and ours differ, or were not compared yet: see the condition of the DataEmbassy";
            return Some((Reason::ClockSkewed, why.to_owned()));
        }
        if !self.may_write(assignment) {
            let findings = ledger.findings(assignment);
            let finding = findings.iter().find(|finding| is_of_the_ledger(finding.reason));
            return Some(finding.map_or_else(
                || {
                    let why = "this custodian may not write into the custody chain: its key is not in use for this registry, or the chain is being read";
                    (Reason::NotYetKnown, why.to_owned())
                },
                |finding| (finding.reason, finding.what.clone()),
            ));
        }
        let is_known = ledger.is_complete() && self.holdings.lock().history_known;
        (!is_known).then(|| {
            let why = "the living copies of this registry are not all known yet: its ledger is being read";
            (Reason::NotYetKnown, why.to_owned())
        })
    }
}
