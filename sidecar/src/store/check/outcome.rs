//! All that a check found, as a table for people and as JSON for others.

use std::fmt::Write as _;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{DoorsReport, MAX_DOORS};
use dataembassy_contract::report::Fault;
use jiff::Timestamp;
use serde::Serialize;

use super::probe::{Finding, Kind, Outcome};

/// What a check of a store found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// What was asked.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The registry that the probes happened in.
    pub registry: String,
    /// Whether a gate stands before the store, so that every door must be shut by it.
    pub through_gate: bool,
    /// When it was done.
    pub checked_at: Timestamp,
    /// Seconds that the store's clock is ahead of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_seconds: Option<i64>,
    /// Each probe, the duties first.
    pub findings: Vec<Finding>,
}

impl CheckResult {
    /// The words of the doors that are open, worst first.
    #[must_use]
    pub fn open_doors(&self) -> Vec<&'static str> {
        let mut open: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Succeeded)
            .filter_map(|finding| match finding.kind {
                Kind::Door(harm) => Some((harm, finding.probe)),
                Kind::Duty | Kind::Wish => None,
            })
            .collect();
        open.sort_by_key(|(harm, _)| *harm);
        open.into_iter().map(|(_, word)| word).collect()
    }

    /// The words of what is a reason not to go on: duties undone and, through a gate, doors that it left to the store.
    #[must_use]
    pub fn bad(&self) -> Vec<&'static str> {
        self.findings
            .iter()
            .filter(|finding| finding.is_bad(self.through_gate))
            .map(|finding| finding.probe)
            .collect()
    }

    /// The same in few words, for a custodian's report.
    #[must_use]
    pub fn doors(&self) -> DoorsReport {
        let undone = self.bad();
        let fault = (!undone.is_empty()).then(|| Fault {
            reason: Reason::StoreFailed,
            message: self.verdict(),
            since: self.checked_at,
        });
        DoorsReport {
            checked_at: self.checked_at,
            open: self
                .open_doors()
                .into_iter()
                .take(MAX_DOORS)
                .map(str::to_owned)
                .collect(),
            tried: u32::try_from(self.tried()).unwrap_or(u32::MAX),
            fault,
        }
    }

    /// How many probes were tried.
    #[must_use]
    pub fn tried(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.outcome != Outcome::NotTried)
            .count()
    }

    /// As a table, a line for each probe.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<26} {:<20} {:<9} {:<4} WHAT IT IS\n",
            "PROBE", "OUTCOME", "WOULD", "HTTP"
        );
        for finding in &self.findings {
            let harm = match finding.kind {
                Kind::Door(harm) => harm.word(),
                Kind::Duty | Kind::Wish => "-",
            };
            let status = finding
                .status
                .map(|status| status.to_string())
                .unwrap_or_default();
            let _ = write!(
                table,
                "{:<26} {:<20} {harm:<9} {status:<4} {}",
                finding.probe,
                finding.outcome.word(),
                finding.says
            );
            for more in [&finding.code, &finding.seen] {
                if !more.is_empty() {
                    let _ = write!(table, "; {more}");
                }
            }
            table.push('\n');
        }
        table + &self.verdict() + "\n"
    }

    /// In one sentence, what follows.
    #[must_use]
    pub fn verdict(&self) -> String {
        let (open, bad) = (self.open_doors(), self.bad());
        let undone: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Undone && finding.kind == Kind::Duty)
            .map(|finding| finding.probe)
            .collect();
        if !undone.is_empty() {
            return format!("This store cannot hold a ledger: {}.", undone.join(", "));
        }
        match (self.through_gate, open.len(), bad.len()) {
            (true, 0, 0) => "Nothing gets through the gate that should not.".to_owned(),
            (true, ..) => format!("The gate has holes: {}.", bad.join(", ")),
            (false, 0, _) => "The store keeps every door shut by itself.".to_owned(),
            (false, open, _) => {
                format!(
                    "The store itself leaves {open} doors open: let nobody but gate, custodian and jobs reach it."
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::Harm;
    use super::*;

    fn result(through_gate: bool, findings: Vec<Finding>) -> CheckResult {
        CheckResult {
            endpoint: "https://store.example".into(),
            bucket: "registries".into(),
            registry: "check-0a1b2c3d".into(),
            through_gate,
            checked_at: Timestamp::UNIX_EPOCH,
            clock_ahead_seconds: None,
            findings,
        }
    }

    #[test]
    fn open_doors_are_named_worst_first_and_are_no_fault_of_the_store_alone() {
        let open = |word, harm| Finding::new(word, Kind::Door(harm), "opens", Outcome::Succeeded);
        let findings = vec![open("ListBuckets", Harm::Learns), open("Copy", Harm::Destroys)];
        let direct = result(false, findings.clone());
        assert_eq!(direct.open_doors(), ["Copy", "ListBuckets"]);
        assert!(direct.bad().is_empty());
        let gated = result(true, findings);
        assert_eq!(gated.bad(), ["ListBuckets", "Copy"]);
        assert!(gated.verdict().contains("holes"), "{}", gated.verdict());
    }

    #[test]
    fn a_report_names_the_doors_worst_first_and_a_store_that_cannot_hold_a_ledger() {
        let open = |word, harm| Finding::new(word, Kind::Door(harm), "opens", Outcome::Succeeded);
        let untried = Finding::new("LockOnArrival", Kind::Duty, "locks", Outcome::NotTried);
        let mut findings = vec![
            open("ListBuckets", Harm::Learns),
            open("Copy", Harm::Destroys),
            untried,
        ];
        let report = result(false, findings.clone()).doors();
        assert_eq!(report.open, ["Copy", "ListBuckets"]);
        assert_eq!((report.tried, report.fault), (2, None));
        findings.push(Finding::new(
            "Versioning",
            Kind::Duty,
            "keeps versions",
            Outcome::Undone,
        ));
        let fault = result(false, findings).doors().fault.unwrap();
        assert!(fault.message.contains("Versioning"), "{}", fault.message);
    }

    #[test]
    fn the_json_says_of_each_probe_what_it_is_and_what_came_of_it() {
        let finding = Finding::new("Copy", Kind::Door(Harm::Adds), "copies", Outcome::RefusedByGate)
            .answered(403, "Header");
        let json = serde_json::to_value(result(true, vec![finding])).unwrap();
        assert_eq!(
            json["findings"][0],
            serde_json::json!({
                "probe": "Copy", "kind": {"door": "adds"}, "says": "copies", "mustNotSucceed": true, "outcome": "refusedByGate",
                "status": 403, "code": "Header"
            })
        );
    }
}
