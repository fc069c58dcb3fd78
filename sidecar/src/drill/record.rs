//! What a drill has found so far, and the result that it becomes.

use std::collections::BTreeMap;
use std::time::Instant;

use dataembassy_contract::{
    Reason,
    drill::{
        AssertionKind, AssertionResult, DrillConfig, DrillResult, DrilledCopy, Found, LeftOutOfDrill,
        StepResult, Tools, Verdict,
    },
};
use jiff::Timestamp;

use super::failure::Failure;
use crate::restore::outcome::{NotRestored, Outcome};

/// What a drill has found so far: whatever ends it, this is told.
pub(super) struct Record {
    started_at: Timestamp,
    began: Instant,
    lap: Instant,
    pub(super) copy: Option<DrilledCopy>,
    pub(super) recovery_seconds: Option<f64>,
    pub(super) steps: Vec<StepResult>,
    pub(super) found: Found,
    pub(super) schema_digest: Option<String>,
    pub(super) assertions: Vec<AssertionResult>,
    pub(super) left_out: Vec<LeftOutOfDrill>,
    pub(super) tools: Tools,
    pub(super) notes: Vec<String>,
}

impl Record {
    /// Of a drill that has just begun.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self {
            started_at: Timestamp::now(),
            began: now,
            lap: now,
            copy: None,
            recovery_seconds: None,
            steps: Vec::new(),
            found: Found::default(),
            schema_digest: None,
            assertions: Vec::new(),
            left_out: Vec::new(),
            tools: Tools {
                sidecar: env!("CARGO_PKG_VERSION").to_owned(),
                ..Tools::default()
            },
            notes: Vec::new(),
        }
    }

    /// The first look at the copy: from here the recovery is timed. What the drill waited for before is none of it.
    pub(super) fn first_look(&mut self) {
        self.began = Instant::now();
        self.lap = self.began;
        self.started_at = Timestamp::now();
    }

    /// A step is done.
    pub(super) fn step(&mut self, name: &str) {
        let now = Instant::now();
        let seconds = now.duration_since(self.lap).as_secs_f64();
        self.lap = now;
        self.steps.push(StepResult {
            name: name.to_owned(),
            seconds,
        });
    }

    /// The copy is restored, and its statistics are there.
    pub(super) fn restored(&mut self, outcome: &Outcome) {
        self.recovery_seconds = Some(self.began.elapsed().as_secs_f64());
        self.lap = Instant::now();
        self.steps.extend(outcome.phases.iter().map(|phase| StepResult {
            name: phase.name.to_owned(),
            seconds: phase.seconds,
        }));
        self.found = Found {
            tables: u64::try_from(outcome.tables.len()).unwrap_or(u64::MAX),
            rows: outcome.rows,
            bytes: outcome.bytes,
            large_objects: outcome.large_objects.objects,
            large_object_bytes: outcome.large_objects.bytes,
        };
        self.left_out = by_kind(&outcome.not_restored, false);
        self.left_out.extend(by_kind(&outcome.not_carried, true));
        let again = outcome.tried_again.iter();
        self.notes
            .extend(again.map(|entry| format!("failed beside others and succeeded alone: {entry}")));
        self.notes.extend(outcome.notes.iter().cloned());
    }

    /// Whether an assertion has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.assertions.iter().any(|assertion| !assertion.passed)
    }

    /// The result.
    pub(super) fn result(self, config: Option<&DrillConfig>, ended: Result<(), Failure>) -> DrillResult {
        let (verdict, reason, message) = match ended {
            Ok(()) => self.judgement(),
            Err(failure) => (failure.verdict, failure.reason, failure.message),
        };
        DrillResult {
            order: config.map(|config| config.order.clone()).unwrap_or_default(),
            drill: config.map(|config| config.drill.clone()).unwrap_or_default(),
            registry: config.map(|config| config.registry.clone()).unwrap_or_default(),
            verdict,
            reason,
            message,
            pick: config.map(|config| config.pick).unwrap_or_default(),
            copy: self.copy,
            started_at: self.started_at,
            ended_at: Timestamp::now().max(self.started_at),
            recovery_seconds: self.recovery_seconds,
            rto_seconds: config.and_then(|config| config.rto_seconds),
            steps: self.steps,
            found: self.found,
            schema_digest: self.schema_digest,
            assertions: self.assertions,
            left_out: self.left_out,
            tools: self.tools,
            notes: self.notes,
        }
    }

    /// What the answers come to. A wrong one weighs more than one that came late.
    fn judgement(&self) -> (Verdict, Reason, String) {
        let wrong: Vec<&AssertionResult> = self.assertions.iter().filter(|one| !one.passed).collect();
        let all = self.assertions.len();
        if wrong.is_empty() {
            let words = format!("the copy was restored and gave all {all} answers as it must");
            return (Verdict::Passed, Reason::Drilled, words);
        }
        let late_only = wrong.iter().all(|one| one.kind == AssertionKind::RecoveryTime);
        let reason = if late_only {
            Reason::RtoMissed
        } else {
            Reason::AnswerWrong
        };
        let said = wrong
            .iter()
            .map(|one| format!("{}: {}, not {}", one.name, one.found, one.expected));
        let said = said.collect::<Vec<_>>().join("; ");
        let words = format!("{} of {all} answers are not as they must be: {said}", wrong.len());
        (Verdict::Failed, reason, words)
    }
}

/// How many things of each kind are not in the restored database, the most first, and why the first of them is not.
fn by_kind(left_out: &[NotRestored], not_in_copy: bool) -> Vec<LeftOutOfDrill> {
    let mut kinds: BTreeMap<&str, LeftOutOfDrill> = BTreeMap::new();
    for one in left_out {
        let kind = kinds.entry(&one.kind).or_insert_with(|| LeftOutOfDrill {
            kind: one.kind.clone(),
            count: 0,
            reason: one.reason.replace(
                "restored with --trust-source only",
                "acts beyond rows; a drill trusts no source",
            ),
            not_in_copy,
        });
        kind.count += 1;
    }
    let mut kinds: Vec<LeftOutOfDrill> = kinds.into_values().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    kinds
}
