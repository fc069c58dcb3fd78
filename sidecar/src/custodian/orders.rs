//! What the configuration asks to be signed, judged order by order: one that cannot be used has its answer at once, and keeps no other, and
//! nothing else of the configuration, from being loaded. No I/O.

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_contract::activation::ActivationReport;
use dataembassy_contract::custodian::{MAX_ORDERS, OrderAnswer, OrderBody, OrderConfig, OrderState};
use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::activation::Warrant;
use dataembassy_ledger::chain::OpeningKind;
use dataembassy_ledger::value::OrderId;

/// The most characters of an id, or of a registry's, that are told of an order that cannot be used.
const MAX_TOLD: usize = 64;

/// What is to be signed for one registry.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Orders that can be carried out, none with the id of another: those that open a term first.
    pub all: Vec<Order>,
    /// What those are told that cannot.
    pub unusable: Vec<OrderAnswer>,
}

/// Something to be signed, once.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id; the entry names it.
    pub id: OrderId,
    /// What it asks for.
    pub task: Task,
}

/// What an order asks for. Nothing of it is judged yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// To sign for what a drill found; it is bounded.
    Drill(Box<DrillResult>),
    /// To sign for what came of an order of people; its result is bounded.
    Report(Box<ActivationReport>),
    /// To open the next term.
    Open(OpeningKind, Box<Warrant>),
}

impl Task {
    /// Whether it opens a term: then it waits for nothing that takes its time.
    #[must_use]
    pub const fn opens_a_term(&self) -> bool {
        matches!(self, Self::Open(..))
    }

    /// Whether it is about a drill.
    #[must_use]
    pub const fn is_of_a_drill(&self) -> bool {
        matches!(self, Self::Drill(_))
    }
}

impl Orders {
    /// How many they are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.all.len() + self.unusable.len()
    }

    fn add(&mut self, id: &str, body: &OrderBody) {
        match read(id, body) {
            Ok(order) => match self.all.iter().position(|other| other.id == order.id) {
                None => self.all.push(order),
                Some(place) if self.all[place].task == order.task => {}
                // Nobody can say which of them is meant.
                Some(place) => {
                    self.all.remove(place);
                    self.refuse(id, "two orders of this registry have this id".to_owned());
                }
            },
            Err(why) => self.refuse(id, why),
        }
    }

    fn refuse(&mut self, id: &str, message: String) {
        let reason = Reason::OrderRefused;
        self.unusable.push(OrderAnswer {
            id: id.chars().take(MAX_TOLD).collect(),
            state: OrderState::Refused { reason, message },
        });
    }
}

/// The orders by their registries' ids. Beyond [`MAX_ORDERS`] they wait; those that open a term are the first.
#[must_use]
pub fn sort(orders: &[OrderConfig]) -> BTreeMap<String, Orders> {
    let mut all: BTreeMap<String, Orders> = BTreeMap::new();
    let is_urgent = |order: &&OrderConfig| !matches!(order.body, OrderBody::Drill(_) | OrderBody::Report(_));
    let (urgent, others): (Vec<_>, Vec<_>) = orders.iter().partition(is_urgent);
    for (place, one) in urgent.into_iter().chain(others).enumerate() {
        let registry: String = one.registry.chars().take(MAX_TOLD).collect();
        let orders = all.entry(registry).or_default();
        let is_refused = orders.unusable.iter().any(|answer| answer.id == one.id);
        if is_refused {
            continue;
        }
        if place < MAX_ORDERS {
            orders.add(&one.id, &one.body);
        } else {
            let message = format!(
                "{MAX_ORDERS} other orders come first: it is looked at when some of them were taken back"
            );
            orders.unusable.push(OrderAnswer {
                id: one.id.chars().take(MAX_TOLD).collect(),
                state: OrderState::Waiting {
                    reason: Reason::NotYetKnown,
                    message,
                },
            });
        }
    }
    all
}

fn read(id: &str, body: &OrderBody) -> Result<Order, String> {
    let task = match body {
        OrderBody::Drill(result) => {
            let mut result = result.clone();
            result.bound();
            Task::Drill(result)
        }
        OrderBody::Report(report) => {
            let mut report = report.clone();
            report.result.bound();
            Task::Report(report)
        }
        OrderBody::Activate(warrant) => Task::Open(OpeningKind::Activation, warrant.clone()),
        OrderBody::Release(warrant) => Task::Open(OpeningKind::Release, warrant.clone()),
        OrderBody::Unreadable(why) => {
            return Err(format!("it is no order that this version can read: {why}"));
        }
    };
    let id = id.parse().map_err(|error| format!("{error}"))?;
    Ok(Order { id, task })
}
