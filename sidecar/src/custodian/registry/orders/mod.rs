//! What becomes of orders: a keeper carries each of them out once, and says what came of it.
//!
//! Each step of an order can be repeated, and the chain says which orders have their entry. So it may be cut off anywhere. What the orders ask
//! for is a matter of [`drills`](super::drills), of [`activations`](super::activations) and of [`terms`](super::terms).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{OrderAnswer, OrderState};
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::value::{OrderId, Sequence};

use super::ledger::LedgerState;
use super::{Assignment, Keeper, Left};
use crate::custodian::orders::{Order, Orders, Task};
use crate::store::StoreError;

/// Between two attempts to open a term.
const PAUSE: Duration = Duration::from_secs(3);

/// What became of the orders of one registry.
#[derive(Debug, Default)]
pub struct Answers {
    /// Orders that are not carried out, and why: a refusal stands while the order does, and where terms are concerned until something is
    /// configured anew. Those that wait are thought of anew.
    unanswered: BTreeMap<OrderId, OrderState>,
    /// The configuration by which terms were refused.
    judged_by: String,
    /// Before this moment no term that waits is thought of again, unless something is configured anew: each time the chains are read.
    terms_not_before: Option<Instant>,
    /// How many results of drills were signed for and refused since the process started.
    pub drills: Count,
}

/// How many orders were answered since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By an entry.
    pub signed: u64,
    /// By a refusal.
    pub refused: u64,
}

/// Why an order is never carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which of the known reasons.
    pub(super) reason: Reason,
    /// What, why, and what to do.
    pub(super) message: String,
}

impl Refusal {
    /// For what is wrong with the order itself.
    pub(super) const fn new(message: String) -> Self {
        Self {
            reason: Reason::OrderRefused,
            message,
        }
    }
}

/// What came of an attempt to carry out an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It has its entry.
    Done,
    /// It never will.
    Refused(Refusal),
    /// It cannot be carried out now.
    Waits {
        /// Which of the known reasons.
        reason: Reason,
        /// What, why, and what to do.
        message: String,
        /// Whether the same keeps the others waiting too: then a slot must not be held for all of them.
        so_do_all: bool,
    },
}

impl From<Refusal> for Attempt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Attempt {
    /// The store did not do what was asked of it.
    pub(super) fn stopped_by(error: &StoreError, what: &str) -> Self {
        Self::Waits {
            reason: error.reason(),
            message: format!("{what}: {error}"),
            so_do_all: !error.is_permanent(),
        }
    }

    /// Nothing can be written now, or not by us.
    pub(super) const fn kept_by(reason: Reason, message: String) -> Self {
        Self::Waits {
            reason,
            message,
            so_do_all: true,
        }
    }
}

impl Answers {
    /// Nothing is known any more but what was done.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            drills: self.drills,
            ..Self::default()
        }
    }

    /// The answers that can be given now: those of the custody chain, as far as it was read, before any other.
    #[must_use]
    pub fn told(&self, orders: &Orders, view: Option<&CustodyView>) -> Vec<OrderAnswer> {
        let answer = |order: &Order| {
            let done = view
                .and_then(|view| entry_of(order, view))
                .map(|sequence| OrderState::Done {
                    sequence: sequence.get(),
                });
            Some(OrderAnswer {
                id: order.id.to_string(),
                state: done.or_else(|| self.unanswered.get(&order.id).cloned())?,
            })
        };
        let answers = orders.all.iter().filter_map(answer);
        answers.chain(orders.unusable.iter().cloned()).collect()
    }

    /// Whatever has no answer yet waits, for this reason.
    pub(super) fn all_wait(&mut self, orders: &Orders, reason: Reason, message: &str) {
        for order in &orders.all {
            if !self.is_refused(&order.id) {
                self.wait(&order.id, reason, message.to_owned());
            }
        }
    }

    /// Forgets what was said of orders that are not given any more; and refusals of terms, where the configuration that they were judged by is
    /// another one now: approvals may have come, or approvers.
    fn forget(&mut self, orders: &Orders, configuration: &str) {
        let is_new = self.judged_by != configuration;
        if is_new {
            self.terms_not_before = None;
        }
        configuration.clone_into(&mut self.judged_by);
        self.unanswered.retain(|id, _| {
            let order = orders.all.iter().find(|order| order.id == *id);
            order.is_some_and(|order| !(is_new && order.task.opens_a_term()))
        });
    }

    fn wait(&mut self, order: &OrderId, reason: Reason, message: String) {
        self.unanswered
            .insert(order.clone(), OrderState::Waiting { reason, message });
    }

    fn is_refused(&self, order: &OrderId) -> bool {
        matches!(self.unanswered.get(order), Some(OrderState::Refused { .. }))
    }

    fn take(&mut self, order: &Order, attempt: Attempt) {
        match attempt {
            Attempt::Done => {
                self.unanswered.remove(&order.id);
                self.drills.signed += u64::from(order.task.is_of_a_drill());
            }
            Attempt::Refused(Refusal { reason, message }) => {
                self.drills.refused += u64::from(order.task.is_of_a_drill());
                self.unanswered
                    .insert(order.id.clone(), OrderState::Refused { reason, message });
            }
            Attempt::Waits { reason, message, .. } => self.wait(&order.id, reason, message),
        }
    }
}

/// The entry that carried out an order, as far as the chain was read. An id that stands for something else does not.
fn entry_of(order: &Order, view: &CustodyView) -> Option<Sequence> {
    match &order.task {
        Task::Drill(_) => {
            let drill = view.drills().iter().find(|drill| drill.order == order.id);
            drill.map(|drill| drill.entry)
        }
        Task::Report(_) => view.reported(&order.id),
        Task::Open(kind, _) => {
            let is_it = |opening: &&dataembassy_ledger::chain::Opening| {
                opening.kind == *kind && opening.order.as_ref() == Some(&order.id)
            };
            view.openings().iter().find(is_it).map(|one| one.entry.sequence)
        }
    }
}

impl Keeper {
    /// Carries out the next order that has no answer yet, at most one in a turn, of those that open terms or of the others. What goes wrong
    /// with one is its answer, and keeps nothing else from being done.
    pub(super) async fn carry_out(&mut self, assignment: &Assignment, terms: bool) -> Left {
        let orders = &assignment.settings.orders;
        self.orders
            .forget(orders, &assignment.configuration.loaded.digest);
        let Some(view) = self.ledger.as_ref().map(LedgerState::view) else {
            return Left::Nothing;
        };
        let now = Instant::now();
        if terms && self.orders.terms_not_before.is_some_and(|time| now < time) {
            return Left::Nothing;
        }
        let is_open = |order: &&Order| {
            order.task.opens_a_term() == terms
                && entry_of(order, view).is_none()
                && !self.orders.is_refused(&order.id)
        };
        let open: Vec<&Order> = orders.all.iter().filter(is_open).collect();
        for order in open {
            let attempt = match self.used(order) {
                Some(refusal) => Attempt::Refused(refusal),
                None => match &order.task {
                    Task::Drill(result) => self.sign_drill(assignment, &order.id, result).await,
                    Task::Report(report) => self.sign_report(assignment, &order.id, report).await,
                    Task::Open(kind, warrant) => self.open_term(assignment, &order.id, *kind, warrant).await,
                },
            };
            self.log(order, &attempt);
            self.orders.take(order, attempt.clone());
            match attempt {
                Attempt::Done | Attempt::Refused(_) => return Left::More,
                Attempt::Waits { so_do_all: false, .. } => {}
                Attempt::Waits { reason, message, .. } => {
                    if terms {
                        self.orders.terms_not_before = Some(now + PAUSE);
                    }
                    let others = open_after(&orders.all, order, terms);
                    for other in others {
                        let is_silent = !self.orders.unanswered.contains_key(&other.id);
                        if is_silent {
                            self.orders.wait(&other.id, reason, message.clone());
                        }
                    }
                    return Left::Nothing;
                }
            }
        }
        Left::Nothing
    }

    /// An id that the chain knows from something else.
    fn used(&self, order: &Order) -> Option<Refusal> {
        let entry = self.ledger.as_ref()?.view().carried_out(&order.id)?;
        Some(Refusal {
            reason: Reason::OrderUsed,
            message: format!(
                "custody entry {entry} of registry {} carried out another order {}: no id is used twice",
                self.registry, order.id
            ),
        })
    }

    fn log(&self, order: &Order, attempt: &Attempt) {
        let (registry, order) = (&self.registry, &order.id);
        match attempt {
            Attempt::Done => tracing::info!(%registry, %order, "an order was carried out"),
            Attempt::Refused(Refusal { reason, message }) => {
                tracing::warn!(%registry, %order, %reason, why = message, "an order is refused");
            }
            // What a look has not shown yet, such as the entry of a copy that was just made, is no fault.
            Attempt::Waits {
                reason: reason @ (Reason::NotYetKnown | Reason::UnknownCopy),
                message,
                ..
            } => tracing::info!(%registry, %order, %reason, why = message, "an order waits"),
            Attempt::Waits { reason, message, .. } => {
                tracing::warn!(%registry, %order, %reason, why = message, "an order waits");
            }
        }
    }
}

/// The orders of the same kind that come after one.
fn open_after<'a>(all: &'a [Order], order: &Order, terms: bool) -> impl Iterator<Item = &'a Order> {
    let place = all.iter().position(|other| other.id == order.id);
    let after = all.iter().skip(place.map_or(0, |place| place + 1));
    after.filter(move |other| other.task.opens_a_term() == terms)
}
