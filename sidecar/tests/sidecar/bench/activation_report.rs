//! Results of activations that nobody has carried out: what an operator would hand to a custodian.

use dataembassy_contract::Reason;
use dataembassy_contract::activation::{
    ActivationReport, ActivationResult, Outcome, ReportedCopy, RestoredRows, StepTimes, Versions,
};
use dataembassy_contract::assertion::Answer;
use dataembassy_contract::custodian::{OrderBody, OrderConfig};
use dataembassy_contract::restore::LeftOut;
use dataembassy_ledger::activation::Warrant;
use dataembassy_testkit::fabricated::MadeCopy;
use jiff::{SignedDuration, Timestamp};

use super::REGISTRY;

/// What came of an order that was approved at `start`, and of which each step took half a minute.
pub fn result(
    about: &str,
    outcome: Outcome,
    copy: Option<ReportedCopy>,
    start: Timestamp,
) -> ActivationResult {
    let after = |seconds| start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let names: &[&str] = match outcome {
        Outcome::Served => &["cut", "fence", "database", "restore", "serve"],
        Outcome::Rehearsed | Outcome::Failed => &["database", "restore"],
        Outcome::StoodDown => &["copy", "release"],
    };
    let steps: Vec<StepTimes> = (0..)
        .zip(names)
        .map(|(place, name)| StepTimes {
            name: (*name).into(),
            started_at: after(30 * place),
            ended_at: Some(after(30 * place + 30)),
        })
        .collect();
    let ended_at = steps.last().and_then(|step| step.ended_at).unwrap();
    let took = u64::try_from(ended_at.duration_since(start).as_secs()).unwrap();
    let comes_up = matches!(outcome, Outcome::Served | Outcome::Rehearsed);
    ActivationResult {
        order: format!("{about}-report"),
        about: about.into(),
        activation: "operations/the-day".into(),
        registry: REGISTRY.into(),
        outcome,
        reason: match outcome {
            Outcome::Served => Reason::Serving,
            Outcome::Rehearsed => Reason::Rehearsed,
            Outcome::StoodDown => Reason::StoodDown,
            Outcome::Failed => Reason::AnswerWrong,
        },
        message: match outcome {
            Outcome::Failed => {
                "the restore home-lost-population-1 failed: the question citizens was answered with 0".into()
            }
            _ => "it is as it was ordered".into(),
        },
        approved_at: start,
        ended_at,
        fence: None,
        copy,
        rpo_seconds: comes_up.then_some(312),
        rpo_objective_seconds: Some(1_800),
        rto_seconds: comes_up.then_some(took),
        rto_objective_seconds: Some(7_200),
        target: "managed postgres:17.12".into(),
        attempts: 1,
        steps,
        restored: (outcome != Outcome::StoodDown).then_some(RestoredRows {
            tables: 41,
            rows: 12_480_113,
            bytes: 3_100_482_771,
            large_objects: 17,
            seconds: 27,
        }),
        assertions: if outcome == Outcome::StoodDown {
            Vec::new()
        } else {
            vec![Answer {
                name: "citizens".into(),
                passed: comes_up,
                expected: "at least 1000000".into(),
                found: if comes_up { "12480113".into() } else { "0".into() },
            }]
        },
        left_out: vec![LeftOut {
            kind: "SUBSCRIPTION".into(),
            count: 2,
        }],
        versions: Versions {
            operator: "0.1.0".into(),
            sidecar: "dataembassy-sidecar:0.1.0".into(),
            server: "postgres:17.12".into(),
        },
    }
}

/// A made-up copy, as a report would name it.
pub fn reported(copy: &MadeCopy) -> ReportedCopy {
    ReportedCopy {
        sequence: copy.reference.sequence.get(),
        copy_id: copy.body.copy_id.to_string(),
        taken_at: copy.body.taken_at.as_jiff(),
    }
}

/// The order that asks a custodian to sign for a result.
pub fn order(result: ActivationResult, warrant: Warrant) -> OrderConfig {
    OrderConfig {
        id: result.order.clone(),
        registry: REGISTRY.into(),
        body: OrderBody::Report(Box::new(ActivationReport { result, warrant })),
    }
}
