//! A registry's report: bounded, and as long as the operator reads.

use std::collections::{BTreeMap, BTreeSet};

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{
    CopyReport, LastDrilled, MAX_BYTES, MAX_COPIES, RegistryReport, RegistrySummary, RetentionReport,
    TermHolder, TermOpening, VerificationReport,
};
use dataembassy_contract::report::{Check, CheckState, Fault, Head};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::chain::{CustodyView, Opening, OpeningKind};
use dataembassy_ledger::entry::{EntryRef, StandingDrill};
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;

use super::holdings::{Held, HoldingsState};
use super::ledger::LedgerState;
use super::retention::deletion::Deleted;
use super::{Assignment, Keeper, drills, judgement};
use crate::custodian::finding::Finding;
use crate::custodian::metrics::RegistryFigures;
use crate::custodian::space::Flow;
use crate::process::report::replace;

/// The newest copies of a report; the pinned ones come on top.
const NEWEST: usize = 50;

/// What was told last, so that a state keeps its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    ledger: Check,
    intact: Check,
    blocked: Option<Fault>,
}

impl Keeper {
    /// Puts together what is known and hands it to the board.
    pub(super) fn tell(&mut self, assignment: &Assignment) {
        // Only while the difference is told: a store that dates single answers back must not silence what is late.
        let ahead = assignment
            .store
            .clock_ahead()
            .filter(|_| !self.office.clocks_agree());
        let now = judgement::time_of_both(Timestamp::now(), ahead);
        let findings = self.findings(assignment, now);
        let mut blocked = self.report.blocked.take();
        replace(&mut blocked, self.blocked(assignment));
        let retention = RetentionReport {
            blocked: blocked.clone(),
            ..self.retention_report()
        };
        let reading = self.is_reading();
        let holdings = self.holdings.lock();
        let head = self.ledger.as_ref().and_then(LedgerState::source_head);
        let standing = judgement::standing(&holdings, head.map(|head| head.sequence));
        let (alarms, counts) = self.watchbook.alarms(&self.registry, &findings, &standing, now);
        let is_read = self.ledger.as_ref().is_some_and(LedgerState::is_read);
        let known = judgement::Known {
            registry: &self.registry,
            alarms: &alarms,
            now,
        };
        let mut ledger = known.ledger(is_read, head.map(|head| head.sequence), &self.report.ledger);
        if let Some((reason, message)) = &self.trouble
            && ledger.state != CheckState::False
        {
            let message = format!("registry {}: {message}", self.registry);
            ledger = judgement::check(&self.report.ledger, CheckState::Unknown, *reason, message, now);
        }
        let unwritten = self.unwritten.as_ref();
        if let Some((reason, why)) = unwritten.or(self.retention.unrecorded())
            && ledger.state == CheckState::True
        {
            let message = format!(
                "{}; but nothing can be written into its custody chain: {why}",
                ledger.message
            );
            ledger = judgement::check(&self.report.ledger, CheckState::True, *reason, message, now);
        }
        let intact = known.intact(&holdings, &self.report.intact);
        let verification = verification(&holdings, assignment, now);
        let used_bytes = self.presence.used_bytes().unwrap_or_default();
        let chains = self.ledger.as_ref();
        let mut report = RegistryReport {
            registry: self.registry.to_string(),
            generation: assignment.settings.generation,
            process: self.office.process.clone(),
            term: chains.map_or(1, |chains| chains.view().current_term().get()),
            opening: chains
                .and_then(|chains| chains.view().openings().last())
                .map(told_opening),
            unwitnessed: !chains.is_some_and(|chains| chains.is_witnessed(&assignment.settings)),
            source_head: head.map(told_head),
            source_term: chains
                .zip(head)
                .map(|(chains, head)| chains.view().term_of(head.sequence).get()),
            custody_head: chains.and_then(LedgerState::custody_head).map(told_head),
            ledger: ledger.clone(),
            intact: intact.clone(),
            last_arrival: chains.and_then(|chains| chains.last_arrival().cloned()),
            alarms,
            copies: copies(
                &holdings,
                &assignment.settings.pins,
                chains.map(LedgerState::view),
            ),
            // The longest that it can be, so that the report still fits when it is known.
            complete_from: Some(u64::MAX),
            reading,
            verification: verification.clone(),
            retention,
            used_bytes,
            orders: self
                .orders
                .told(&assignment.settings.orders, chains.map(LedgerState::view)),
            last_drilled: chains
                .and_then(|chains| chains.view().latest_drilled())
                .map(told_drill),
        };
        report = fit(report.cleaned());
        report.complete_from = complete_from(&holdings, &report.copies);
        let mut figures = figures(assignment, &holdings, &report, self.retention.deleted(), &counts);
        let passed = chains.and_then(|chains| drills::findings::latest_pass(chains.view()));
        figures.last_drill_passed = passed.map_or(0, Timestamp::as_second);
        figures.drills = self.orders.drills;
        let summary = summary(&report, counts.values().sum());
        let flow = self.flow(assignment, &holdings, now);
        drop(holdings);
        self.report = Told {
            ledger,
            intact,
            blocked,
        };
        self.office.metrics.registry(&self.registry, &figures);
        self.office.board.tell(summary, report, flow);
        log_changes(&self.registry, &findings, &mut self.logged);
    }
}

/// The report in short, with the number of all alarms.
fn summary(report: &RegistryReport, alarms: u32) -> RegistrySummary {
    RegistrySummary {
        registry: report.registry.clone(),
        last_sequence: report.last_arrival.as_ref().map_or(0, |last| last.sequence),
        used_bytes: report.used_bytes,
        alarms,
    }
}

impl Keeper {
    /// What the registry has and gets; none before it was counted.
    fn flow(&self, assignment: &Assignment, holdings: &HoldingsState, now: Timestamp) -> Option<Flow> {
        let used = self.presence.used_bytes()?;
        let arrivals = holdings.copies.values().map(|held| (held.arrived_at, held.bytes));
        let arrivals: Vec<(Timestamp, u64)> = arrivals.collect();
        let lock = assignment.configuration.lock.length;
        Some(Flow::new(
            &arrivals,
            used,
            &assignment.settings.retention,
            lock,
            now,
        ))
    }
}

fn told_drill(drill: &StandingDrill) -> LastDrilled {
    LastDrilled {
        sequence: drill.source_sequence.get(),
        at: drill.at.as_jiff(),
        order: drill.order.to_string(),
    }
}

/// What came and went since the last time is logged, and nothing twice.
fn log_changes(
    registry: &RegistryId,
    findings: &[Finding],
    logged: &mut BTreeSet<(Reason, Option<Sequence>)>,
) {
    let now: BTreeSet<_> = findings.iter().map(|one| (one.reason, one.sequence)).collect();
    for finding in findings {
        if !logged.contains(&(finding.reason, finding.sequence)) {
            let sequence = finding.sequence.map(Sequence::get);
            tracing::error!(%registry, sequence, reason = %finding.reason, what = %finding.what, "something is wrong with a registry");
        }
    }
    for (reason, sequence) in logged.difference(&now) {
        let sequence = sequence.map(Sequence::get);
        tracing::info!(%registry, sequence, %reason, "it is not wrong any more");
    }
    *logged = now;
}

fn told_head(head: EntryRef) -> Head {
    Head {
        sequence: head.sequence.get(),
        digest: head.digest.to_string(),
    }
}

fn told_opening(opening: &Opening) -> TermOpening {
    TermOpening {
        holder: match opening.kind {
            OpeningKind::Activation => TermHolder::Embassy,
            OpeningKind::Release => TermHolder::Home,
        },
        sequence: opening.entry.sequence.get(),
        digest: opening.entry.digest.to_string(),
        source_head: opening.source_head.map(told_head),
        signer: opening.signer.to_string(),
        order: opening.order.as_ref().map(ToString::to_string),
    }
}

/// The newest copies and the pinned ones, newest first.
fn copies(
    holdings: &HoldingsState,
    pins: &[(Sequence, String)],
    view: Option<&CustodyView>,
) -> Vec<CopyReport> {
    let is_pinned = |sequence: Sequence| pins.iter().any(|(pin, _)| *pin == sequence);
    let newest = holdings.copies.values().rev().enumerate();
    let shown = newest.filter(|(place, held)| *place < NEWEST || is_pinned(held.reference.sequence));
    shown
        .take(MAX_COPIES)
        .map(|(_, held)| {
            let sequence = held.reference.sequence;
            let drill = view.and_then(|view| view.drill_of(sequence));
            copy(held, is_pinned(sequence), drill)
        })
        .collect()
}

/// From which number on every living copy is told, if not all of them are: whoever chooses one below it would choose among some of them.
fn complete_from(holdings: &HoldingsState, told: &[CopyReport]) -> Option<u64> {
    let living = || holdings.copies.keys().rev().map(|sequence| sequence.get());
    let is_told = |sequence: u64| told.iter().any(|copy| copy.sequence == sequence);
    let all_told = living().take_while(|sequence| is_told(*sequence)).count();
    if holdings.history_known && all_told == holdings.copies.len() {
        return None;
    }
    // Where none is told, everything may be missing.
    let last = all_told.checked_sub(1).and_then(|place| living().nth(place));
    Some(last.unwrap_or(u64::MAX))
}

/// What the latest drill says of a copy. One that passed proves nothing any more once the copy is known to be broken.
fn drilled(held: &Held, drill: Option<&StandingDrill>) -> CheckState {
    match drill {
        Some(drill) if !drill.passed => CheckState::False,
        Some(_) if held.fault().is_none() => CheckState::True,
        _ => CheckState::Unknown,
    }
}

fn copy(held: &Held, pinned: bool, drill: Option<&StandingDrill>) -> CopyReport {
    let intact = match (held.fault(), held.read.verified_at) {
        (Some(_), _) => CheckState::False,
        (None, Some(_)) => CheckState::True,
        (None, None) => CheckState::Unknown,
    };
    CopyReport {
        sequence: held.reference.sequence.get(),
        digest: held.reference.digest.to_string(),
        copy_id: held.copy.to_string(),
        taken_at: held.taken_at,
        arrived_at: held.arrived_at,
        bytes: held.bytes,
        intact,
        verified_at: held.read.verified_at,
        drilled: drilled(held, drill),
        locked_until: held.locks.until,
        pinned,
        message: held
            .findings()
            .next()
            .map(|finding| finding.what)
            .or_else(|| drill.filter(|drill| !drill.passed).map(drills::findings::told))
            .unwrap_or_default(),
    }
}

fn verification(holdings: &HoldingsState, assignment: &Assignment, now: Timestamp) -> VerificationReport {
    let period = jiff::SignedDuration::try_from(assignment.configuration.period);
    let since = period.ok().and_then(|period| now.checked_sub(period).ok());
    let copies = holdings.copies.values();
    let times = copies.map(|held| held.read.verified_at.filter(|_| held.fault().is_none()));
    let verified = times
        .clone()
        .flatten()
        .filter(|at| since.is_none_or(|since| *at >= since))
        .count();
    let oldest: Option<Vec<Timestamp>> = times.collect();
    VerificationReport {
        copies: u32::try_from(holdings.copies.len()).unwrap_or(u32::MAX),
        verified: u32::try_from(verified).unwrap_or(u32::MAX),
        oldest_proof_at: oldest.and_then(|times| times.into_iter().min()),
        bytes_read: holdings.bytes_read,
    }
}

/// Lets go of the least useful until the operator reads it: words about copies first, then the oldest copies that nobody has pinned.
fn fit(mut report: RegistryReport) -> RegistryReport {
    let length = |report: &RegistryReport| serde_json::to_vec(report).map_or(usize::MAX, |bytes| bytes.len());
    if length(&report) <= MAX_BYTES {
        return report;
    }
    for copy in &mut report.copies {
        copy.message.clear();
    }
    while length(&report) > MAX_BYTES && !report.copies.is_empty() {
        let oldest = report.copies.iter().rposition(|copy| !copy.pinned);
        report.copies.remove(oldest.unwrap_or(report.copies.len() - 1));
    }
    report
}

fn figures(
    assignment: &Assignment,
    holdings: &HoldingsState,
    report: &RegistryReport,
    deleted: Deleted,
    counts: &BTreeMap<Reason, u32>,
) -> RegistryFigures {
    let newest = judgement::newest_moment(holdings).map(|(_, taken_at)| taken_at);
    RegistryFigures {
        source_head: report.source_head.as_ref().map_or(0, |head| head.sequence),
        custody_head: report.custody_head.as_ref().map_or(0, |head| head.sequence),
        last_copy_taken: newest.map_or(0, Timestamp::as_second),
        expected_interval: assignment.settings.rpo.as_secs(),
        copies: holdings.copies.len() as u64,
        broken: holdings
            .copies
            .values()
            .filter(|held| held.fault().is_some())
            .count() as u64,
        lock_faults: holdings
            .copies
            .values()
            .filter(|held| held.locks.fault.is_some())
            .count() as u64,
        oldest_proof: report
            .verification
            .oldest_proof_at
            .map_or(0, Timestamp::as_second),
        bytes_read: holdings.bytes_read,
        used_bytes: report.used_bytes,
        quota_bytes: assignment.settings.quota_bytes.unwrap_or(0),
        kept: report.retention.kept.into(),
        expiring: report.retention.expiring_copies.into(),
        waiting: report.retention.waiting.into(),
        deleted_objects: deleted.objects,
        deleted_bytes: deleted.bytes,
        drill_interval: assignment.settings.drill_every.map_or(0, |every| every.as_secs()),
        last_drill_passed: 0,
        drills: super::orders::Count::default(),
        alarms: counts.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custodian::registry::made_up::held;

    /// So many living copies, and nothing about them is unknown.
    fn living(copies: u64) -> HoldingsState {
        let mut holdings = HoldingsState::default();
        for number in 1..=copies {
            holdings.take(held(number));
        }
        holdings.history_known = true;
        holdings
    }

    fn pins(numbers: impl IntoIterator<Item = u64>) -> Vec<(Sequence, String)> {
        let pin = |number| (Sequence::new(number).unwrap(), "an election".to_owned());
        numbers.into_iter().map(pin).collect()
    }

    fn numbers(told: &[CopyReport]) -> Vec<u64> {
        told.iter().map(|copy| copy.sequence).collect()
    }

    fn length(report: &RegistryReport) -> usize {
        serde_json::to_vec(report).unwrap().len()
    }

    #[test]
    fn the_newest_fifty_are_told_and_the_pinned_ones_however_old() {
        let holdings = living(60);
        let told = copies(&holdings, &pins([3, 60]), None);
        let wanted: Vec<u64> = (11..=60).rev().chain([3]).collect();
        assert_eq!(numbers(&told), wanted);
        let pinned: Vec<bool> = told.iter().map(|copy| copy.pinned).collect();
        let is_pinned = |number: &u64| [3, 60].contains(number);
        assert_eq!(pinned, wanted.iter().map(is_pinned).collect::<Vec<_>>());
        // Whoever chooses among those below would choose among some of them.
        assert_eq!(complete_from(&holdings, &told), Some(11));
        let told = copies(&holdings, &pins([9, 10]), None);
        assert_eq!(complete_from(&holdings, &told), Some(9));
    }

    #[test]
    fn a_report_is_complete_only_where_every_living_copy_is_known_and_told() {
        let mut holdings = living(52);
        let told = copies(&holdings, &pins([1, 2]), None);
        assert_eq!(complete_from(&holdings, &told), None);
        assert_eq!(complete_from(&holdings, &[]), Some(u64::MAX));
        // One that is not known yet would come below them.
        holdings.history_known = false;
        assert_eq!(complete_from(&holdings, &told), Some(1));
    }

    #[test]
    fn a_report_that_is_too_long_lets_go_of_words_and_then_of_the_oldest_that_nobody_pinned() {
        let holdings = living(200);
        let report = RegistryReport {
            copies: copies(&holdings, &pins(1..=64), None),
            ..RegistryReport::default()
        };
        assert_eq!(report.copies.len(), MAX_COPIES);
        let mut wordy = report.clone();
        for copy in &mut wordy.copies {
            copy.message = "x".repeat(1_000);
        }
        assert!(length(&wordy) > MAX_BYTES);
        assert_eq!(fit(wordy), report);
        let mut long = report;
        for copy in &mut long.copies {
            copy.digest = "x".repeat(600);
        }
        assert!(length(&long) > MAX_BYTES);
        let told = fit(long);
        assert!(length(&told) <= MAX_BYTES);
        let kept = numbers(&told.copies);
        let (newest, pinned) = kept.split_at(kept.len() - 64);
        assert_eq!(pinned, (1..=64).rev().collect::<Vec<u64>>());
        assert!((1..50).contains(&newest.len()), "{newest:?}");
        let first = 201 - newest.len() as u64;
        assert_eq!(newest, (first..=200).rev().collect::<Vec<u64>>());
        assert_eq!(complete_from(&holdings, &told.copies), Some(first));
    }
}
