//! Rule 13: which copies stay and which go, executed. A keeper does a little of it at the end of each of its turns.
//!
//! [`planning`] makes the plan, which the report shows whatever is done about it; where nothing is, [`printing`] has the log tell the reasons.
//! [`copies`] and [`chains`] prolong the locks of what stays.
//! What goes is first recorded in the custody chain ([`recording`]): copies that expire, and folders of copies that never came to their entry
//! ([`sweep`]). Only then, and only when its lock has ended, it is deleted, version by version ([`deletion`]). After a restart the chain says
//! what was recorded ([`recall`]), and the store what of it is still there: nothing else is remembered, so it may be cut off anywhere.

pub mod chains;
pub mod copies;
pub mod deletion;
pub mod planning;
pub mod printing;
pub mod recall;
pub mod recording;
pub mod sweep;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::RetentionReport;
use dataembassy_ledger::retention::Plan;
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;

use super::{Assignment, Keeper, Left, takes_no_entry};
use crate::custodian::finding::{Finding, Loss, is_of_the_ledger};
use crate::process::clock::Now;
use crate::store::StoreError;

/// How many copies that go are named in a report.
const MAX_NAMED: usize = 50;
/// Before a lock that the store refused to prolong is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What is known about what stays and what goes.
#[derive(Debug, Default)]
pub struct Retention {
    /// What of the latest plan is shown and done; none before all copies are known.
    outlook: Option<Outlook>,
    /// What a dry run printed last.
    printed: Option<printing::Printed>,
    /// Why nothing may go now.
    obstacle: Option<(Reason, String)>,
    pending: recording::Pending,
    round: Option<copies::Round>,
    /// The copy at whose locks the store failed last, and how often in a row.
    halted: Option<(Sequence, u8)>,
    /// Of the source chain, of the custody chain, and of the reports.
    chains: [chains::Passed; 3],
    /// A lock that the store refuses to prolong.
    refused: Option<Refused>,
    /// Why the store does not take the entry that records what goes.
    unrecorded: Option<(Reason, String)>,
    recall: recall::Recall,
    deletion: deletion::Deletion,
}

/// A plan without its reasons: of a registry with thousands of copies those would take megabytes until the next one is made.
#[derive(Debug)]
struct Outlook {
    kept: usize,
    /// Copies that go, ascending, with their sealed bytes.
    leaving: Vec<(Sequence, u64)>,
}

impl Outlook {
    fn of(plan: &Plan) -> Self {
        let leaving = plan.expiring.iter();
        Self {
            kept: plan.kept.len(),
            leaving: leaving.map(|copy| (copy.sequence, copy.sealed_bytes)).collect(),
        }
    }
}

/// A lock that the store refuses to prolong. It is told until just that was done.
#[derive(Debug)]
struct Refused {
    of: Locked,
    what: String,
    again: Instant,
}

/// Whose lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    Copy(Sequence),
    /// Of an entry of this chain, by its place in [`Retention::chains`].
    Entry(usize),
}

impl Retention {
    /// Nothing is known any more but what was done.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let mut renewed = Self::default();
        renewed.deletion.deleted = self.deletion.deleted;
        renewed
    }

    /// Why what goes could not be recorded.
    #[must_use]
    pub const fn unrecorded(&self) -> Option<&(Reason, String)> {
        self.unrecorded.as_ref()
    }

    /// What was deleted since the process started.
    #[must_use]
    pub const fn deleted(&self) -> deletion::Deleted {
        self.deletion.deleted
    }

    /// What cannot be done although it should.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        let refused = self.refused.as_ref().map(|refused| refused.what.clone());
        Some(Finding {
            reason: Reason::RetentionBlocked,
            sequence: None,
            what: refused.or_else(|| self.deletion.blocked())?,
            lost: Loss::Nothing,
        })
    }
}

impl Keeper {
    /// Does a little of what retention asks for.
    pub(super) async fn retain(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        if !self.plan(assignment, Now::read()) {
            return Ok(Left::Nothing);
        }
        let may_go = self.retention.obstacle.is_none() && !assignment.settings.retention.dry_run;
        let mut left = vec![self.prolong(assignment, may_go).await?];
        // What waits is told in a dry run too.
        left.push(self.recall(assignment).await?);
        self.retention.unrecorded = None;
        if may_go {
            match self.record(assignment).await {
                Ok(more) => left.push(more),
                Err(error) if takes_no_entry(&error) => {
                    tracing::warn!(registry = %self.registry, reason = %error.reason(), %error, "what goes cannot be recorded; what was recorded before goes all the same");
                    self.retention.unrecorded = Some((error.reason(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            left.push(self.delete(assignment).await?);
        }
        Ok(left.into_iter().max().unwrap_or(Left::Nothing))
    }

    /// Makes the plan and asks what stands against it; false while not all copies are known.
    fn plan(&mut self, assignment: &Assignment, now: Now) -> bool {
        let Some(ledger) = self.ledger.as_ref().filter(|ledger| ledger.is_complete()) else {
            return false;
        };
        let plan = {
            let holdings = self.holdings.lock();
            if !holdings.history_known {
                return false;
            }
            let period = assignment.configuration.period;
            planning::plan_of(&holdings, &assignment.settings, ledger.view(), period, now.time)
        };
        let obstacle = self.obstacle(assignment, &plan, now.time);
        if obstacle.is_some() {
            self.retention.pending.forget();
        } else {
            self.retention.pending.note(&plan, now.moment);
        }
        self.print(assignment, &plan, now.moment);
        self.retention.obstacle = obstacle;
        self.retention.outlook = Some(Outlook::of(&plan));
        true
    }

    /// Why nothing may go now, whatever the plan says.
    fn obstacle(&self, assignment: &Assignment, plan: &Plan, now: Timestamp) -> Option<(Reason, String)> {
        let findings = self.findings(assignment, now);
        if let Some(finding) = findings.iter().find(|finding| is_of_the_ledger(finding.reason)) {
            return Some((finding.reason, finding.what.clone()));
        }
        if !self.office.may_write() {
            let why = "the store's clock and ours differ, or were not compared yet";
            return Some((Reason::ClockSkewed, why.to_owned()));
        }
        if !self.may_write(assignment) {
            let why = "this custodian may not write into the custody chain";
            return Some((Reason::RetentionBlocked, why.to_owned()));
        }
        if self.presence.census().is_none() {
            let why = "what the store holds was not counted yet";
            return Some((Reason::NotYetKnown, why.to_owned()));
        }
        let whole = plan.kept.iter().filter(|copy| copy.quality.is_intact()).count();
        let minimum = usize::try_from(assignment.settings.retention.minimum.max(1)).unwrap_or(usize::MAX);
        (whole < minimum).then(|| {
            let why = format!("{whole} copies that stay were read back and are whole, and {minimum} must be");
            (Reason::Verifying, why)
        })
    }

    async fn prolong(&mut self, assignment: &Assignment, may_go: bool) -> Result<Left, StoreError> {
        let is_refused = self.retention.refused.as_ref();
        if is_refused.is_some_and(|refused| Instant::now() < refused.again) || !self.office.may_write() {
            return Ok(Left::Nothing);
        }
        let is_living = |sequence| self.holdings.lock().copies.contains_key(&sequence);
        if let Some(Locked::Copy(sequence)) = is_refused.map(|refused| refused.of)
            && !is_living(sequence)
        {
            self.retention.refused = None;
        }
        let outlook = self.retention.outlook.as_ref().filter(|_| may_go);
        let leaving = outlook.into_iter().flat_map(|outlook| &outlook.leaving);
        let leaving: BTreeSet<Sequence> = leaving.map(|(sequence, _)| *sequence).collect();
        self.prolong_entries(assignment).await?;
        self.prolong_copies(assignment, &leaving).await
    }

    /// The store refuses to prolong a lock.
    fn refuse(&mut self, of: Locked, what: String) {
        tracing::error!(registry = %self.registry, what, "a lock cannot be prolonged");
        let again = Instant::now() + RETRY;
        self.retention.refused = Some(Refused { of, what, again });
    }

    /// Locks were prolonged.
    fn accept(&mut self, of: Locked) {
        self.retention.refused.take_if(|refused| refused.of == of);
    }

    /// What the report says of it.
    pub(super) fn retention_report(&self) -> RetentionReport {
        let retention = &self.retention;
        let outlook = retention.outlook.as_ref();
        let leaving = outlook
            .map(|outlook| outlook.leaving.as_slice())
            .unwrap_or_default();
        let bytes = leaving.iter().map(|(_, bytes)| *bytes);
        let holdings = self.holdings.lock();
        let census = self.presence.census();
        let waiting = census.iter().flat_map(|census| census.expired.iter());
        let waiting = waiting.filter(|(copy, _)| holdings.expired.contains_key(copy));
        let named = leaving.iter().map(|(sequence, _)| sequence.get());
        RetentionReport {
            kept: bounded(outlook.map_or(0, |outlook| outlook.kept)),
            expiring: named.take(MAX_NAMED).collect(),
            expiring_copies: bounded(leaving.len()),
            expiring_bytes: bytes.fold(0, u64::saturating_add),
            waiting: bounded(holdings.expired.len()),
            waiting_bytes: waiting
                .map(|(_, folder)| folder.bytes)
                .fold(0, u64::saturating_add),
            deleted: retention.deletion.deleted.copies,
            deleted_bytes: retention.deletion.deleted.bytes,
            blocked: None,
        }
    }

    /// Why what should go cannot; `None` where nothing should, or nothing stands against it.
    pub(super) fn blocked(&self, assignment: &Assignment) -> Option<(Reason, String)> {
        if let Some(finding) = self.retention.finding() {
            return Some((finding.reason, finding.what));
        }
        let outlook = self.retention.outlook.as_ref()?;
        let waits = !outlook.leaving.is_empty() || !self.holdings.lock().expired.is_empty();
        let obstacle = self.retention.obstacle.as_ref()?;
        (waits && !assignment.settings.retention.dry_run).then(|| obstacle.clone())
    }
}

fn bounded(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
