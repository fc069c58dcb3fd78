//! Finds out, now and then, what the store itself would let through of what only the gate refuses: see [`crate::store::check`].
//!
//! It is done with a user of its own, in a registry for checks, and beside everything else: a store that takes long for it delays nothing.

use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::DoorsReport;
use dataembassy_contract::report::Fault;
use dataembassy_ledger::value::Term;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::configuration::Configuration;
use super::office::Office;
use crate::store::DepositKeys;
use crate::store::check::{Plan, check};

/// The store is probed so many looks after the process started, or after the way to the store changed: a process that ends again and
/// again must not fill the registry for checks.
const LOOKS_BEFORE: u32 = 4;
/// How soon a check that could not be carried out is tried again.
const AGAIN: Duration = Duration::from_hours(1);

/// How the store is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSettings {
    /// The user made for it; none while its Secret, or a key in it, is missing.
    pub deposit: Option<DepositKeys>,
    /// How long after a check the next one begins.
    pub interval: Duration,
}

/// Probes the store as its configuration says, until `ending`.
pub async fn watch(
    office: Arc<Office>,
    mut configurations: watch::Receiver<Option<Arc<Configuration>>>,
    ending: CancellationToken,
) {
    loop {
        let configuration = configurations.borrow_and_update().clone();
        let probing = async {
            match configuration.as_deref() {
                Some(configuration) => probe_for_ever(&office, configuration).await,
                None => std::future::pending().await,
            }
        };
        // What a change leaves of a check is a few objects; the next one begins anew.
        tokio::select! {
            () = probing => {}
            () = ending.cancelled() => return,
            changed = changed(&mut configurations, configuration.as_ref()) => if !changed { return },
        }
    }
}

/// Waits for a configuration with another way to the store; false if none will come.
async fn changed(
    configurations: &mut watch::Receiver<Option<Arc<Configuration>>>,
    before: Option<&Arc<Configuration>>,
) -> bool {
    let way = |one: &Configuration| (one.place.clone(), one.keys.clone(), one.doors.clone());
    let before = before.map(|one| way(one));
    while configurations.changed().await.is_ok() {
        if configurations.borrow_and_update().as_ref().map(|one| way(one)) != before {
            return true;
        }
    }
    false
}

async fn probe_for_ever(office: &Office, configuration: &Configuration) {
    let Some(settings) = &configuration.doors else {
        office.board.write(|report| report.doors = None);
        return std::future::pending().await;
    };
    let mut due = Instant::now() + office.timing.cycle * LOOKS_BEFORE;
    loop {
        tokio::time::sleep_until(due).await;
        let began = Instant::now();
        let succeeded = probe(office, configuration, settings).await;
        due = began
            + if succeeded {
                settings.interval
            } else {
                AGAIN.min(settings.interval)
            };
    }
}

/// Probes once, and reports. False if it could not be carried out.
async fn probe(office: &Office, configuration: &Configuration, settings: &DoorSettings) -> bool {
    let Some(deposit) = settings.deposit.clone() else {
        let message = "the check Secret lacks accessKeyId or secretAccessKey: give it both";
        failed(office, Reason::SecretMissing, message.to_owned());
        return false;
    };
    let plan = Plan {
        settings: configuration.store.clone(),
        deposit,
        witness: Some(configuration.keys.clone()),
        through_gate: false,
        term: Term::FIRST,
        governance_suffices: configuration.requirements.governance_suffices,
        least_days: configuration.requirements.least_days,
    };
    // Boxed: its future is large, and ours would carry it along.
    match Box::pin(check(&plan)).await {
        Ok(result) => {
            let doors = result.doors();
            tracing::info!(
                open = doors.open.len(),
                tried = doors.tried,
                "the store was probed for doors"
            );
            office.metrics.doors(doors.open.len());
            office.board.write(|report| report.doors = Some(doors));
            true
        }
        Err(error) => {
            failed(office, error.reason(), error.to_string());
            false
        }
    }
}

/// Says why nothing could be found out; what was found before stays.
fn failed(office: &Office, reason: Reason, message: String) {
    tracing::warn!(%reason, why = message, "the store could not be probed for doors");
    office.board.write(|report| {
        let before = report.doors.take();
        let since = before
            .as_ref()
            .and_then(|doors| doors.fault.as_ref())
            .filter(|fault| fault.reason == reason)
            .map_or_else(Timestamp::now, |fault| fault.since);
        let nothing = DoorsReport {
            checked_at: Timestamp::now(),
            open: Vec::new(),
            tried: 0,
            fault: None,
        };
        report.doors = Some(DoorsReport {
            fault: Some(Fault {
                reason,
                message,
                since,
            }),
            ..before.unwrap_or(nothing)
        });
    });
}
