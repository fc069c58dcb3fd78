//! What must be so in a restored database. Each question is asked whatever came of those before it.

pub(super) mod constraints;
mod expectation;
pub(super) mod statement;

use dataembassy_contract::drill::{AssertionKind, AssertionResult, DrillConfig};

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
