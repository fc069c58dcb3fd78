//! What our parts complained of, in the logs that their node keeps.

use std::fs;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;

/// The bed has everything read back every half minute, which a busy machine does not always manage.
const IMPATIENCE: &str = "VerificationOverdue";

/// Lines of level ERROR that pods of ours have written since a moment, each behind its pod's name. Whatever is not a line of ours is
/// passed over.
pub fn complaints(cluster: &Cluster, since: Timestamp) -> Result<Vec<String>> {
    let folder = cluster.site().folder().join("pod-logs");
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
    // A warning tells of what is tried again, such as a pod that is there before its network.
    let is_complaint = told["level"] == "ERROR" && told["reason"] != IMPATIENCE;
    (is_complaint && at.parse::<Timestamp>().ok()? >= since).then_some(line)
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
        for fine in [
            r#"{"level":"INFO","message":"WARN"}"#,
            r#"{"level":"ERROR","reason":"VerificationOverdue"}"#,
            r#"{"level":"WARN","message":"tried again in a moment"}"#,
            "ERROR: not ours",
        ] {
            assert!(!told(after, fine), "{fine}");
        }
    }
}
