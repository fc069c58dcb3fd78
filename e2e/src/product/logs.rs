//! What our parts complained of, in all that they have ever logged.

use std::fs;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::{Cluster, kept_logs};

/// The bed has everything read back every half minute, which a busy machine does not always manage.
const IMPATIENCE: &str = "VerificationOverdue";
/// Nor does its API server always answer a renewal of the lease in three seconds. An operator warns of that and asks again; one that was not answered
/// in time at all ends.
const LATE: &str = "the API server has not answered for ";

/// Lines of the levels WARN and ERROR that pods of ours have written since a moment, those too that are gone, each behind its pod's name. Whatever
/// is not a line of ours is passed over.
pub fn complaints(cluster: &Cluster, since: Timestamp) -> Result<Vec<String>> {
    let folder = kept_logs::look(cluster.site())?;
    let mut complaints = Vec::new();
    for pod in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let pod = pod?;
        let name = pod.file_name().to_string_lossy().into_owned();
        for container in fs::read_dir(pod.path())? {
            for log in fs::read_dir(container?.path())? {
                let text = fs::read(log?.path())?;
                let text = String::from_utf8_lossy(&text);
                let lines = text.lines().filter_map(|line| complaint(line, since));
                complaints.extend(lines.map(|line| format!("{name}: {line}")));
            }
        }
    }
    Ok(complaints)
}

/// The line without the runtime's part, if it is a complaint: `<time> <stream> <F or P> <line>`.
fn complaint(line: &str, since: Timestamp) -> Option<&str> {
    let mut parts = line.splitn(4, ' ');
    let (at, line) = (parts.next()?, parts.nth(2)?);
    let told: Value = serde_json::from_str(line).ok()?;
    let is_complaint = match told["level"].as_str()? {
        "ERROR" => told["reason"] != IMPATIENCE,
        "WARN" => told["reason"] != IMPATIENCE && !is_late(&told),
        _ => false,
    };
    let is_complaint = is_complaint || is_torn(line);
    (is_complaint && at.parse::<Timestamp>().ok()? >= since).then_some(line)
}

/// Whether a warning is about an answer that came late.
fn is_late(told: &Value) -> bool {
    told["error"].as_str().is_some_and(|why| why.starts_with(LATE))
}

/// Whether a line says two things under the one name: whoever reads it by machine has one of them.
fn is_torn(line: &str) -> bool {
    // Within a text the quotes would be escaped.
    line.matches(r#""message":"#).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_a_line_of_ours_since_then() {
        let since = "2026-11-28T12:00:00Z".parse().unwrap();
        let told = |at: &str, line: &str| complaint(&format!("{at} stdout F {line}"), since).is_some();
        let (before, after) = ("2026-11-28T11:59:59.999999999Z", "2026-11-28T12:00:00.000000001Z");
        let error = r#"{"level":"ERROR","reason":"LedgerGap"}"#;
        assert!(told(after, error) && !told(before, error));
        assert!(told(
            after,
            r#"{"level":"WARN","message":"tried again in a moment"}"#
        ));
        assert!(told(
            after,
            r#"{"level":"WARN","message":"the write lease could not be renewed; trying again","error":"it is another's"}"#
        ));
        assert!(told(
            after,
            r#"{"level":"INFO","message":"it ended","message":"all is well"}"#
        ));
        for fine in [
            r#"{"level":"INFO","message":"the store said {\"message\":\"no\"}"}"#,
            r#"{"level":"INFO","message":"WARN"}"#,
            r#"{"level":"ERROR","reason":"VerificationOverdue"}"#,
            r#"{"level":"WARN","message":"the write lease could not be renewed; trying again","error":"the API server has not answered for 3000 ms"}"#,
            "ERROR: not ours",
        ] {
            assert!(!told(after, fine), "{fine}");
        }
    }
}
