//! What must be so in a drill's database. Each question is asked whatever came of those before it.

pub(super) mod constraints;

use std::time::Duration;

use dataembassy_contract::{
    assertion::AssertionConfig,
    drill::{AssertionKind, AssertionResult, DrillConfig},
};
use jiff::Timestamp;

use crate::{postgresql::Source, question};

/// Asks a statement of the user's; the report tells it with its answer.
pub(super) async fn statement(
    target: &Source,
    assertion: &AssertionConfig,
    taken_at: Timestamp,
    longest: Duration,
) -> AssertionResult {
    let answer = question::ask(target, assertion, taken_at, longest).await;
    AssertionResult {
        name: answer.name,
        kind: AssertionKind::Sql,
        passed: answer.passed,
        expected: format!("{}, by: {}", answer.expected, assertion.sql),
        found: answer.found,
    }
}

/// Whether the definitions have the digest that somebody named, if somebody did.
pub(super) fn schema(config: &DrillConfig, found: Option<&str>) -> Option<AssertionResult> {
    let expected = config.schema_digest.as_deref()?;
    let found = found.unwrap_or("none");
    Some(AssertionResult {
        name: "schema".to_owned(),
        kind: AssertionKind::Schema,
        passed: found == expected,
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

/// Whether the recovery took no longer than it may, if somebody said how long.
pub(super) fn recovery_time(config: &DrillConfig, seconds: Option<f64>) -> Option<AssertionResult> {
    let most = config.rto_seconds?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody allows a recovery to take 2^53 seconds"
    )]
    let passed = seconds.is_some_and(|seconds| seconds <= most as f64);
    Some(AssertionResult {
        name: "recovery-time".to_owned(),
        kind: AssertionKind::RecoveryTime,
        passed,
        expected: format!("at most {most} s"),
        found: seconds.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds:.1} s")),
    })
}
