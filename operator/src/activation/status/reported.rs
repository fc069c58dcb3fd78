//! `Reported`: whether the custodian has signed for what came of the orders. A report that it refuses is a line in no ledger, and said here.

use std::collections::BTreeMap;

use dataembassy_contract::Reason;
use dataembassy_crds::{ActivationReport, EmbassyActivationStatus};
use kube::runtime::events::Event;

use crate::activation::course::is_awaited;
use crate::activation::replaced;
use crate::condition::Finding;
use crate::event::observed;

/// All reports that the status tells of, of orders that were replaced too, by the order that asks for them and the registry.
fn all(status: &EmbassyActivationStatus) -> BTreeMap<(&str, &str), &ActivationReport> {
    let replaced = status.replaced.iter().flat_map(|order| &order.reports);
    let replaced = replaced.map(|one| (one.registry.as_str(), &one.report));
    let shown = status.registries.iter();
    let shown = shown.filter_map(|state| Some((state.id.as_str(), state.report.as_ref()?)));
    replaced
        .chain(shown)
        .map(|(registry, report)| ((report.order.as_str(), registry), report))
        .collect()
}

/// Whether everything that ended is signed for.
pub(super) fn reported(status: &EmbassyActivationStatus) -> Finding {
    let all = all(status);
    let told = |wanted: &dyn Fn(&ActivationReport) -> bool| -> Vec<String> {
        let told = all.iter().filter(|(_, report)| wanted(report));
        told.map(|((order, registry), report)| format!("{registry}, {order}: {}", report.message))
            .collect()
    };
    let refused = all.values().find_map(|report| report.reason.as_ref());
    if let Some(reason) = refused {
        let reason = reason.parse().unwrap_or(Reason::OrderRefused);
        return Finding::no(reason, told(&|report| report.reason.is_some()).join("; "));
    }
    let awaited = told(&is_awaited);
    if !awaited.is_empty() {
        return Finding::no(Reason::ReportAwaited, awaited.join("; "));
    }
    if all.is_empty() {
        return Finding::unknown(
            Reason::NotYetKnown,
            "nothing has ended yet that could be signed for",
        );
    }
    let places: Vec<&str> = all.values().filter_map(|report| report.path.as_deref()).collect();
    Finding::yes(
        Reason::Reported,
        format!("the custodian has signed for it: {}", places.join(", ")),
    )
}

/// What the custodian has answered since, and of which registry, and what is given up.
pub(super) fn events<'a>(
    before: &'a EmbassyActivationStatus,
    after: &'a EmbassyActivationStatus,
) -> impl Iterator<Item = (Option<&'a str>, Event)> {
    let known = all(before);
    let answered = all(after).into_iter().filter_map(move |(key, report)| {
        if is_awaited(report) || known.get(&key) == Some(&report) {
            return None;
        }
        let place = report.path.as_ref().map(|path| format!(": {path}.html"));
        let note = format!("{}: {}{}", key.1, report.message, place.unwrap_or_default());
        let reason = match &report.reason {
            None => Reason::Reported,
            Some(reason) => reason.parse().unwrap_or(Reason::OrderRefused),
        };
        Some((
            Some(key.1),
            observed(report.path.is_some(), reason.as_str(), &note),
        ))
    });
    let lost = before.replaced.iter().filter(move |order| {
        replaced::is_open(order) && after.replaced.iter().all(|other| other.order != order.order)
    });
    let lost = lost.map(|order| {
        let note = format!(
            "the reports on order {} are given up: later orders were replaced too before the custodian answered",
            order.order
        );
        (None, observed(false, Reason::ReportAwaited.as_str(), &note))
    });
    answered.chain(lost)
}
