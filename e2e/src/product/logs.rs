//! What our parts complained of, in all that they have ever logged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dataembassy_testkit::late;
use jiff::Timestamp;
use serde_json::Value;

use super::Product;
use crate::cluster::{Cluster, kept_logs};

/// The bed has everything read back every half minute, which a busy machine does not always manage. It is no complaint where it is caught up with.
const IMPATIENCE: &str = "VerificationOverdue";
/// Who says that something is not wrong any more, says it so.
const HEALED: &str = "it is not wrong any more";
/// Within this time a machine that is busy with other things has caught up.
const CAUGHT_UP: Duration = Duration::from_mins(4);
/// Between two looks at all the logs, which are long.
const PAUSE: Duration = Duration::from_secs(5);
/// Nor does its API server always answer a renewal of the lease in three seconds, or its store a handshake in ten, or a policy let a new pod through in
/// fifteen. Who asked warns of that and asks again; an operator that was not answered in time at all ends, and a copy that is late because of it is
/// complained of.
const LATE: &str = "the API server has not answered for ";
/// A gate tells of the same by a word, and a sidecar passes it on in parentheses: somebody was too slow for it, or gave up half-way, or has waited too
/// long for a turn.
const TOO_SLOW: [&str; 3] = ["Slow", "Busy", "Incomplete"];

/// Which lines are looked at, and which of them are none to complain of.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// Names such as a registry's id, of which one stands in the line or in its pod's name; all lines where there are none.
    pub names: &'a [&'a str],
    /// Messages of what the caller has brought about.
    pub expected: &'a [&'a str],
    /// Whether warnings are passed over, which tell of what is tried again: where the machine may be too busy for a promise that it is not.
    pub errors_only: bool,
}

impl About<'_> {
    fn names(&self, pod: &str, line: &str) -> bool {
        let mut names = self.names.iter();
        self.names.is_empty() || names.any(|name| pod.contains(name) || line.contains(name))
    }
}

/// What is said to be overdue: a registry, and the oldest copy that is.
type Overdue = (String, Option<u64>);

/// What a line says that is of interest here.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Complaint,
    Overdue(Overdue),
    CaughtUp(Overdue),
}

/// Nothing has gone wrong since a moment, so no part may have complained at home or abroad. What is overdue is waited for.
pub async fn assert_calm(product: &Product, since: Timestamp, about: &About<'_>) -> Result<()> {
    let deadline = Instant::now() + CAUGHT_UP;
    loop {
        let mut overdue = Vec::new();
        for cluster in [product.bed.home(), product.bed.embassy()] {
            let found = look(cluster, since, about)?;
            ensure!(
                found.complaints.is_empty(),
                "{} complains although nothing is wrong: {:#?}",
                cluster.name(),
                found.complaints
            );
            overdue.extend(found.overdue);
        }
        if overdue.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "it was not caught up with within {} s: {overdue:#?}",
            CAUGHT_UP.as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was found, each line behind its pod's name.
#[derive(Debug, Default)]
struct Found {
    complaints: Vec<String>,
    /// What has not been caught up with.
    overdue: Vec<String>,
}

/// Looks through the lines that pods of ours have written since a moment, those too that are gone. Whatever is not a line of ours is passed over.
fn look(cluster: &Cluster, since: Timestamp, about: &About<'_>) -> Result<Found> {
    let folder = kept_logs::look(cluster.site())?;
    let there = cluster.site().folder().join("pod-logs");
    let mut complaints = Vec::new();
    let mut said = BTreeMap::new();
    let mut caught_up: BTreeMap<Overdue, Timestamp> = BTreeMap::new();
    for pod in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let pod = pod?;
        let name = pod.file_name().to_string_lossy().into_owned();
        let is_there = there.join(pod.file_name()).exists();
        for container in fs::read_dir(pod.path())? {
            let container = container?.path();
            let newest = newest(&container)?;
            for log in fs::read_dir(&container)? {
                let path = log?.path();
                // Of what another process was late with, the one that came after it speaks: it begins with nothing told.
                let speaks = is_there && Some(&path) == newest.as_ref();
                let text = fs::read(&path)?;
                let text = String::from_utf8_lossy(&text);
                let lines = text.lines().filter_map(|line| judge(line, about.expected));
                for (at, what, line) in lines.filter(|(_, _, line)| about.names(&name, line)) {
                    match what {
                        Said::CaughtUp(of) => {
                            let last = caught_up.entry(of).or_insert(at);
                            *last = at.max(*last);
                        }
                        _ if at < since => {}
                        Said::Complaint if about.errors_only && line.contains(r#""level":"WARN""#) => {}
                        Said::Complaint => complaints.push(format!("{name}: {line}")),
                        Said::Overdue(of) if speaks => {
                            said.insert((of, at), format!("{name}: {line}"));
                        }
                        Said::Overdue(_) => {}
                    }
                }
            }
        }
    }
    let is_late = |of: &Overdue, at: Timestamp| caught_up.get(of).is_none_or(|last| *last < at);
    let overdue = said.into_iter().filter(|((of, at), _)| is_late(of, *at));
    let overdue = overdue.map(|(_, line)| line).collect();
    Ok(Found { complaints, overdue })
}

/// The file of a folder that was written last.
fn newest(folder: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        files.push((file.metadata()?.modified()?, file.path()));
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}

/// What a line says, and when, if it is of interest; the line without the runtime's part, which is `<time> <stream> <F or P> <line>`.
fn judge<'l>(line: &'l str, expected: &[&str]) -> Option<(Timestamp, Said, &'l str)> {
    // Most lines are none, and to read them takes its time.
    let is_worth_it = ["\"WARN\"", "\"ERROR\"", IMPATIENCE]
        .iter()
        .any(|word| line.contains(word));
    if !is_worth_it && !is_torn(line) {
        return None;
    }
    let mut parts = line.splitn(4, ' ');
    let (at, line) = (parts.next()?, parts.nth(2)?);
    let told: Value = serde_json::from_str(line).ok()?;
    let (level, message) = (
        told["level"].as_str()?,
        told["message"].as_str().unwrap_or_default(),
    );
    let of = || {
        let registry = told["registry"].as_str().unwrap_or_default();
        (registry.to_owned(), told["sequence"].as_u64())
    };
    let is_expected = expected.contains(&message);
    let said = match level {
        _ if is_torn(line) => Said::Complaint,
        "ERROR" if told["reason"] == IMPATIENCE => Said::Overdue(of()),
        "INFO" if told["reason"] == IMPATIENCE && message == HEALED => Said::CaughtUp(of()),
        "ERROR" if !is_expected => Said::Complaint,
        "WARN" if !is_expected && !is_late(&told) => Said::Complaint,
        _ => return None,
    };
    Some((at.parse().ok()?, said, line))
}

/// Whether a warning is about an answer that came late.
fn is_late(told: &Value) -> bool {
    let [why, refusal] = ["error", "refusal"].map(|field| told[field].as_str().unwrap_or_default());
    let is_too_slow = |word: &&str| refusal == *word || why.contains(&format!("({word})"));
    late::is_late(why) || why.contains(LATE) || TOO_SLOW.iter().any(is_too_slow)
}

/// Whether a line says two things under the one name: whoever reads it by machine has one of them.
fn is_torn(line: &str) -> bool {
    // Within a text the quotes would be escaped.
    line.matches(r#""message":"#).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-28T12:00:00.000000001Z";

    fn said(line: &str, expected: &[&str]) -> Option<Said> {
        let line = format!("{AT} stdout F {line}");
        let (at, said, _) = judge(&line, expected)?;
        assert_eq!(at, AT.parse().unwrap());
        Some(said)
    }

    #[test]
    fn a_complaint_is_a_warning_or_an_error_of_ours_that_nobody_has_brought_about() {
        let warning = r#"{"level":"WARN","message":"tried again in a moment"}"#;
        for complaint in [
            r#"{"level":"ERROR","reason":"LedgerGap"}"#,
            warning,
            r#"{"level":"WARN","message":"the write lease could not be renewed; trying again","error":"it is another's"}"#,
            r#"{"level":"WARN","message":"the store cannot be used","error":"no trusted TLS connection to the store (UnknownIssuer)"}"#,
            r#"{"level":"WARN","message":"a request was refused","refusal":"OtherPlace","why":"it is another registry's"}"#,
            r#"{"level":"INFO","message":"it ended","message":"all is well"}"#,
        ] {
            assert_eq!(
                said(complaint, &["something else"]),
                Some(Said::Complaint),
                "{complaint}"
            );
        }
        assert_eq!(said(warning, &["tried again in a moment"]), None);
        for fine in [
            r#"{"level":"INFO","message":"the store said {\"message\":\"no\"}"}"#,
            r#"{"level":"INFO","message":"WARN"}"#,
            r#"{"level":"WARN","message":"the write lease could not be renewed; trying again","error":"the API server has not answered for 3000 ms"}"#,
            r#"{"level":"WARN","message":"the store cannot be used","error":"the store answered 503 to GetBucketVersioning (ServiceUnavailable): the gate cannot pass this on (StoreUnreachable): the store cannot be reached (it did not answer the TLS handshake within 10 s)"}"#,
            r#"{"level":"WARN","message":"a request was refused","refusal":"Slow","why":"it came too slowly"}"#,
            r#"{"level":"WARN","message":"the store cannot be used","error":"the store at https://gate cannot be reached (timed out): check endpoint, network policies and the store"}"#,
            "ERROR: not ours",
        ] {
            assert_eq!(said(fine, &[]), None, "{fine}");
        }
    }

    #[test]
    fn what_is_overdue_is_told_apart_by_registry_and_copy_until_it_is_caught_up_with() {
        let of = |sequence| ("population".to_owned(), sequence);
        for (line, expected) in [
            (
                r#"{"level":"ERROR","message":"something is wrong with a registry","registry":"population","sequence":3,"reason":"VerificationOverdue"}"#,
                Some(Said::Overdue(of(Some(3)))),
            ),
            (
                r#"{"level":"INFO","message":"it is not wrong any more","registry":"population","sequence":3,"reason":"VerificationOverdue"}"#,
                Some(Said::CaughtUp(of(Some(3)))),
            ),
            (
                r#"{"level":"INFO","message":"it is not wrong any more","registry":"population","sequence":3,"reason":"CopyDamaged"}"#,
                None,
            ),
        ] {
            assert_eq!(said(line, &[]), expected, "{line}");
        }
    }

    #[test]
    fn a_line_is_about_a_name_that_it_or_its_pod_bears() {
        let about = About {
            names: &["population-1f"],
            expected: &[],
            ..About::default()
        };
        assert!(about.names("interior_population-1f-mirror-0_uid", "{}"));
        assert!(about.names("custodian", r#"{"registry":"population-1f"}"#));
        assert!(!about.names("custodian", r#"{"registry":"population"}"#));
        assert!(About::default().names("custodian", "{}"));
    }
}
