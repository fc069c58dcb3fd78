//! Results of drills that nobody has run: what an operator would hand to a custodian.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{OrderBody, OrderConfig};
use dataembassy_contract::drill::{
    AssertionKind, AssertionResult, DrillResult, DrilledCopy, Found, LeftOutOfDrill, Pick, StepResult, Tools,
    Verdict,
};
use dataembassy_testkit::fabricated::MadeCopy;
use jiff::{SignedDuration, Timestamp};

use super::REGISTRY;

fn assertion(name: &str, kind: AssertionKind, passed: bool, expected: &str, found: &str) -> AssertionResult {
    AssertionResult {
        name: name.into(),
        kind,
        passed,
        expected: expected.into(),
        found: found.into(),
    }
}

/// Questions of every kind, of which one may be answered wrongly.
fn assertions(passed: bool) -> Vec<AssertionResult> {
    vec![
        assertion(
            "contents",
            AssertionKind::Contents,
            true,
            "41 tables with 12480113 rows and their digests",
            "41 tables with 12480113 rows and their digests",
        ),
        assertion(
            "large-objects",
            AssertionKind::LargeObjects,
            true,
            "17 large objects with 8812004 bytes, and their digest",
            "17 large objects with 8812004 bytes, and their digest",
        ),
        assertion(
            "constraints",
            AssertionKind::Constraints,
            true,
            "every constraint is valid that is valid in the copy",
            "all 57 are",
        ),
        assertion(
            "recovery-time",
            AssertionKind::RecoveryTime,
            true,
            "at most 7200 s",
            "723.4 s",
        ),
        assertion(
            "newest-birth",
            AssertionKind::Sql,
            passed,
            "not older than 26h",
            if passed {
                "2026-11-28T01:12:40Z"
            } else {
                "2026-11-20T08:00:00Z"
            },
        ),
    ]
}

/// A drill of six steps and five questions, which began at `start` and took a quarter of an hour.
pub fn result(order: &str, copy: DrilledCopy, passed: bool, start: Timestamp) -> DrillResult {
    let step = |name: &str, seconds| StepResult {
        name: name.into(),
        seconds,
    };
    DrillResult {
        order: order.into(),
        drill: "drills/population-nightly".into(),
        registry: REGISTRY.into(),
        verdict: if passed { Verdict::Passed } else { Verdict::Failed },
        reason: if passed {
            Reason::Drilled
        } else {
            Reason::AnswerWrong
        },
        message: if passed {
            "the copy was restored and gave all 5 answers as it must".into()
        } else {
            "the question newest-birth was answered with 2026-11-20T08:00:00Z, and must be younger than 26h"
                .into()
        },
        pick: Pick::Latest,
        copy: Some(copy),
        started_at: start,
        ended_at: start.checked_add(SignedDuration::from_secs(905)).unwrap(),
        recovery_seconds: Some(723.4),
        rto_seconds: Some(7_200),
        steps: vec![
            step("Find the copy", 1.238),
            step("Definitions", 9.5),
            step("Tables", 488.013),
            step("Indexes and constraints", 201.77),
            step("Analyze", 22.879),
            step("Questions", 181.2),
        ],
        found: Found {
            tables: 41,
            rows: 12_480_113,
            bytes: 3_100_482_771,
            large_objects: 17,
            large_object_bytes: 8_812_004,
        },
        schema_digest: Some("5f1d7a84db00d2fce00b31a7fc73224f0b4b1b4e6f1a56a1be5f5d2f62bb6a3c".into()),
        assertions: assertions(passed),
        left_out: vec![
            LeftOutOfDrill {
                kind: "EVENT TRIGGER".into(),
                count: 1,
                reason: "it would act by itself in the restored database".into(),
                not_in_copy: false,
            },
            LeftOutOfDrill {
                kind: "USER MAPPING".into(),
                count: 2,
                reason: "the options of a user mapping are secrets of the source".into(),
                not_in_copy: true,
            },
        ],
        tools: Tools {
            sidecar: "0.1.0".into(),
            pg_restore: "17.12".into(),
            server: "17.12".into(),
        },
        notes: vec!["the database has grown to 5.1 GiB".into()],
    }
}

/// A made-up copy, as a drill of it would name it.
pub fn drilled(copy: &MadeCopy) -> DrilledCopy {
    DrilledCopy {
        sequence: copy.reference.sequence.get(),
        digest: copy.reference.digest.to_string(),
        copy_id: copy.body.copy_id.to_string(),
        taken_at: copy.body.taken_at.as_jiff(),
        sealed_bytes: copy.body.totals.sealed_bytes,
        source_version: "17.12".into(),
    }
}

/// The order that asks a custodian to sign a result.
pub fn order(result: DrillResult) -> OrderConfig {
    OrderConfig {
        id: result.order.clone(),
        registry: REGISTRY.into(),
        body: OrderBody::Drill(Box::new(result)),
    }
}
