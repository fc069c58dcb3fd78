//! A dry run's plan, in words and in the log: a report has room for numbers, and a person who is to believe a plan wants each copy's reasons.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::retention::Plan;

use crate::custodian::configuration::RegistrySettings;
use crate::custodian::registry::{Assignment, Keeper};

/// The plan that was printed last, by its digest: of thousands of copies its words would take as much memory as the plan.
#[derive(Debug)]
pub struct Printed {
    digest: Sha256Digest,
    settings: Arc<RegistrySettings>,
    at: Instant,
}

impl Printed {
    /// Whether it is too early for another one: each copy that is read back for the first time makes another plan. Who changes the rules sees
    /// at once what comes of it.
    fn is_fresh(&self, settings: &RegistrySettings, pause: Duration, now: Instant) -> bool {
        let before = &self.settings;
        let are_same = before.retention == settings.retention && before.pins == settings.pins;
        are_same && now.duration_since(self.at) < pause
    }
}

impl Keeper {
    /// Prints the plan of a dry run if it is another one than was printed last.
    pub(super) fn print(&mut self, assignment: &Assignment, plan: &Plan, now: Instant) {
        let settings = &assignment.settings;
        if !settings.retention.dry_run {
            self.retention.printed = None;
            return;
        }
        let before = self.retention.printed.as_ref();
        if before.is_some_and(|before| before.is_fresh(settings, self.office.timing.expiry, now)) {
            return;
        }
        let words = plan.to_string();
        let digest = Sha256Digest::of(words.as_bytes());
        if before.is_some_and(|before| before.digest == digest) {
            return;
        }
        tracing::info!(registry = %self.registry, plan = words.trim_end(), "a dry run: this is the plan, and nothing of it is done");
        self.retention.printed = Some(Printed {
            digest,
            settings: Arc::clone(settings),
            at: now,
        });
    }
}
