//! Reports on orders that were replaced before the custodian had answered to them. Pure.
//!
//! What came of an order is told by the statement that was approved and the signatures under it. Both leave the status with the order, and the
//! signatures often leave the spec in the same edit: so they are kept with the reports that are awaited, and the custodian is asked on.

use dataembassy_contract::activation::{ActivationReport, ActivationResult};
use dataembassy_contract::custodian::{OrderBody, OrderConfig};
use dataembassy_crds::{EmbassyActivationStatus, ReplacedOrder, ReplacedReport};
use dataembassy_ledger::activation::Warrant;
use jiff::Timestamp;

use crate::activation::course::{hear as take_answer, is_awaited};
use crate::activation::dereference::Found;
use crate::activation::{names, steps};

/// How many orders are remembered, as the schema has it: a status has to stay below what the API server takes.
const MOST: usize = 2;

/// Keeps what is awaited of the order that the status holds, which is about to be replaced.
pub fn keep(status: &mut EmbassyActivationStatus) {
    let Some(statement) = status
        .statement
        .as_ref()
        .filter(|_| !status.signatures.is_empty())
    else {
        return;
    };
    let order = names::report(&statement.order);
    let awaited = status.registries.iter().filter_map(|state| {
        let report = state.report.as_ref()?;
        (report.order == order && is_awaited(report)).then(|| ReplacedReport {
            registry: state.id.clone(),
            report: report.clone(),
        })
    });
    let replaced = ReplacedOrder {
        order: statement.order.clone(),
        statement: statement.text.clone(),
        signatures: status.signatures.clone(),
        reports: awaited.collect(),
    };
    if replaced.reports.is_empty() {
        return;
    }
    status.replaced.retain(|known| known.order != replaced.order);
    while status.replaced.len() >= MOST {
        let settled = status.replaced.iter().position(|known| !is_open(known));
        let gone = status.replaced.remove(settled.unwrap_or_default());
        if is_open(&gone) {
            tracing::warn!(
                order = gone.order,
                "the reports on an order are given up: later ones were replaced too before the custodian answered"
            );
        }
    }
    status.replaced.push(replaced);
}

/// Takes the custodian's answers.
pub fn hear(status: &mut EmbassyActivationStatus, found: &Found, now: Timestamp) {
    for replaced in &mut status.replaced {
        let awaited = replaced.reports.iter_mut().filter(|one| is_awaited(&one.report));
        for one in awaited {
            let Some(said) = found.report(&one.registry) else {
                continue;
            };
            let is_answered = take_answer(&mut one.report, &one.registry, &said.orders);
            let shows_it = |order: &str| order == one.report.order;
            for state in status
                .registries
                .iter_mut()
                .filter(|state| state.id == one.registry)
            {
                if state
                    .report
                    .as_ref()
                    .is_some_and(|report| shows_it(&report.order))
                {
                    state.report = Some(one.report.clone());
                    if is_answered {
                        steps::end(state, steps::REPORT, now);
                    }
                }
            }
        }
        if !is_open(replaced) {
            replaced.statement.clear();
            replaced.signatures.clear();
        }
    }
}

/// Whether the custodian has answered to everything.
#[must_use]
pub fn is_settled(status: &EmbassyActivationStatus) -> bool {
    !status.replaced.iter().any(is_open)
}

/// Whether something of an order is awaited.
#[must_use]
pub fn is_open(replaced: &ReplacedOrder) -> bool {
    replaced.reports.iter().any(|one| is_awaited(&one.report))
}

/// What the custodian is still asked to sign for.
pub fn orders(replaced: &ReplacedOrder) -> impl Iterator<Item = OrderConfig> {
    let awaited = replaced.reports.iter().filter(|one| is_awaited(&one.report));
    awaited.filter_map(|one| {
        let result = ActivationResult::read(one.report.result.as_deref()?)?;
        Some(OrderConfig {
            id: one.report.order.clone(),
            registry: one.registry.clone(),
            body: OrderBody::Report(Box::new(ActivationReport {
                result,
                warrant: Warrant {
                    statement: replaced.statement.clone(),
                    approvals: replaced.signatures.clone(),
                },
            })),
        })
    })
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{ActivatedState, ActivationReport, Statement};

    use super::*;

    fn awaiting(order: &str) -> EmbassyActivationStatus {
        let mut status = EmbassyActivationStatus::default();
        approve(&mut status, order);
        status
    }

    fn approve(status: &mut EmbassyActivationStatus, order: &str) {
        status.statement = Some(Statement {
            text: format!("the text of {order}"),
            order: order.to_owned(),
            ..Statement::default()
        });
        status.signatures = vec!["signature".to_owned()];
        status.registries = vec![ActivatedState {
            id: "population".to_owned(),
            report: Some(ActivationReport {
                order: names::report(order),
                result: Some("{}".to_owned()),
                ..ActivationReport::default()
            }),
            ..ActivatedState::default()
        }];
    }

    fn kept(status: &EmbassyActivationStatus) -> Vec<&str> {
        status.replaced.iter().map(|one| one.order.as_str()).collect()
    }

    #[test]
    fn of_many_orders_the_answered_ones_are_forgotten_first_and_then_the_oldest() {
        let mut status = awaiting("a");
        keep(&mut status);
        approve(&mut status, "b");
        keep(&mut status);
        assert_eq!(kept(&status), ["a", "b"]);
        status.replaced[1].reports[0].report.reason = Some("UnknownCopy".to_owned());
        approve(&mut status, "c");
        keep(&mut status);
        assert_eq!(kept(&status), ["a", "c"]);
        approve(&mut status, "d");
        keep(&mut status);
        assert_eq!(kept(&status), ["c", "d"]);
        assert!(status.replaced.iter().all(is_open) && !is_settled(&status));
    }

    #[test]
    fn an_order_that_was_answered_or_never_approved_leaves_nothing() {
        let mut status = awaiting("a");
        status.registries[0].report.as_mut().unwrap().result = None;
        keep(&mut status);
        assert!(status.replaced.is_empty());
        let mut status = awaiting("a");
        status.signatures.clear();
        keep(&mut status);
        assert!(status.replaced.is_empty() && is_settled(&status));
    }
}
