//! What the gates of an embassy say, together: asked by whoever needs it first, and shared with the others for a few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_contract::gate::{GateReport, RefusedRequests};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::embassy::names::Part;
use crate::run::{Context, get};
use crate::suspicion::RECENT;
use crate::{pod, poll};

/// One gate and what it said, or why it said nothing; absent where its pod does not run yet.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// Its report, with the times of what it saw by our clock.
    pub report: Option<Result<Arc<GateReport>, String>>,
}

impl Gate {
    /// What it has said, where our clock shows `now`: how long ago something was is for the gate to say, whose clock may be wrong.
    fn said(pod: Arc<Pod>, report: Option<Result<Arc<GateReport>, poll::PollError>>, now: Timestamp) -> Self {
        let by_our_clock = |report: Arc<GateReport>| Arc::new(Arc::unwrap_or_clone(report).by_clock_at(now));
        Self {
            pod,
            report: report.map(|report| report.map(by_our_clock).map_err(|error| error.to_string())),
        }
    }
}

/// All gates of an embassy, as they were seen last.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Each of them.
    pub gates: Vec<Gate>,
    /// When each registry's home was heard last, at any gate that there was since the operator started.
    pub heard: HashMap<String, Timestamp>,
    /// Recent requests that were refused, by the registry that they claim; a gate that starts anew takes none of them back.
    refused: HashMap<String, Vec<RefusedRequests>>,
    asked: Option<Instant>,
}

/// Whom requests claim that claim no registry that the gates know. No registry has this id.
const NOBODY: &str = "";

impl Sight {
    /// The reports of those that answered.
    pub fn reports(&self) -> impl Iterator<Item = &GateReport> {
        self.gates
            .iter()
            .filter_map(|gate| gate.report.as_ref()?.as_deref().ok())
    }

    /// What the gate in this pod says, if it says anything.
    #[must_use]
    pub fn report_of(&self, pod: &Pod) -> Option<&GateReport> {
        let gate = self
            .gates
            .iter()
            .find(|gate| gate.pod.metadata.uid == pod.metadata.uid)?;
        gate.report.as_ref()?.as_deref().ok()
    }

    /// Recent requests that were refused and claimed this registry, by word, over all gates.
    #[must_use]
    pub fn refused(&self, registry: &str) -> &[RefusedRequests] {
        self.refused.get(registry).map_or(&[], Vec::as_slice)
    }

    /// Recent requests that were refused and claimed no registry that the gates know.
    #[must_use]
    pub fn unclaimed(&self) -> &[RefusedRequests] {
        self.refused(NOBODY)
    }

    /// The earliest start among the gates that answered: before that, none of them can have heard anything.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.reports().filter_map(|report| report.started_at).min()
    }

    /// What these gates say, after what was known `before`.
    fn of(gates: Vec<Gate>, before: &Self, now: Timestamp) -> Self {
        let mut sight = Self {
            gates,
            heard: before.heard.clone(),
            refused: before.refused.clone(),
            asked: None,
        };
        sight.hear(now);
        sight.count(now);
        sight
    }

    /// Remembers whom the reports heard. A time ahead of ours would hide a silence, so it counts as now, and is forgotten by whoever remembers it
    /// from when our clock was ahead.
    fn hear(&mut self, now: Timestamp) {
        let heard: Vec<(String, Timestamp)> = self
            .reports()
            .flat_map(|report| &report.lanes)
            .filter_map(|lane| Some((lane.registry.clone(), lane.heard_at?.min(now))))
            .collect();
        for (registry, at) in heard {
            let known = self.heard.entry(registry).or_insert(at);
            *known = if *known > now { at } else { at.max(*known) };
        }
        // Whom no gate has heard since it began anew is silent by our clock of today.
        for known in self.heard.values_mut() {
            *known = (*known).min(now);
        }
    }

    /// Adds up what the reports refused, and keeps of what was known what is newer than that. A time ahead of ours would be recent for as long as a
    /// clock was wrong: of a report it counts as now, and what is remembered from when our clock was ahead is forgotten.
    fn count(&mut self, now: Timestamp) {
        let mut sums: HashMap<String, Vec<RefusedRequests>> = HashMap::new();
        for report in self.reports() {
            for lane in &report.lanes {
                add(sums.entry(lane.registry.clone()).or_default(), &lane.refused);
            }
            add(sums.entry(NOBODY.to_owned()).or_default(), &report.unclaimed);
        }
        for row in sums.values_mut().flatten() {
            row.last_at = row.last_at.min(now);
        }
        for (registry, known) in std::mem::take(&mut self.refused) {
            let sum = sums.entry(registry).or_default();
            for row in known.into_iter().filter(|row| row.last_at <= now) {
                match sum.iter_mut().find(|sum| sum.refusal == row.refusal) {
                    Some(sum) if sum.last_at < row.last_at => *sum = row,
                    Some(_) => {}
                    None => sum.push(row),
                }
            }
        }
        for rows in sums.values_mut() {
            rows.retain(|row| now.duration_since(row.last_at) <= RECENT);
            rows.sort_by(|one, other| one.refusal.cmp(&other.refusal));
        }
        sums.retain(|_, rows| !rows.is_empty());
        self.refused = sums;
    }
}

/// Adds rows of one word to each other.
fn add(sums: &mut Vec<RefusedRequests>, rows: &[RefusedRequests]) {
    for row in rows {
        match sums.iter_mut().find(|sum| sum.refusal == row.refusal) {
            Some(sum) => {
                sum.count = sum.count.saturating_add(row.count);
                sum.last_at = sum.last_at.max(row.last_at);
            }
            None => sums.push(row.clone()),
        }
    }
}

/// What was seen of each embassy's gates.
#[derive(Debug, Default)]
pub struct Sights(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Arc<Sight>>>>>);

impl Sights {
    fn of(&self, embassy: &str) -> Arc<tokio::sync::Mutex<Arc<Sight>>> {
        let mut sights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sights.entry(embassy.to_owned()).or_default())
    }
}

/// Looks at the gates of the embassy called `embassy`. Who asks while another does waits for its answer; one that is younger than
/// `fresh` is taken as it is.
pub async fn look(context: &Context, embassy: &str, fresh: Duration) -> Arc<Sight> {
    let sight = context.sights.of(embassy);
    let mut sight = sight.lock().await;
    let is_old = |asked| context.clock.moment().saturating_duration_since(asked) > fresh;
    if sight.asked.is_none_or(is_old) {
        *sight = Arc::new(ask(context, embassy, &sight).await);
    }
    Arc::clone(&sight)
}

async fn ask(context: &Context, embassy: &str, before: &Sight) -> Sight {
    let stores = &context.stores;
    let name = Part::Gate.object(embassy);
    let pods = get(&stores.deployments, &name, &context.settings.namespace)
        .map(|deployment| pod::pods_of(&deployment, &stores.replica_sets, &stores.pods))
        .unwrap_or_default();
    let gates = join_all(pods.into_iter().map(async |pod| {
        let asked = (context.settings.status_port, STATUS_PATH);
        let object = format!("{embassy}/{}", pod.uid().unwrap_or_default());
        let report = poll::ask_pod(&pod, asked, &object, &context.gate_reports, context).await;
        Gate::said(pod, report, context.clock.now())
    }))
    .await;
    let prefix = format!("{embassy}/");
    context.gate_reports.retain(|object| {
        object.strip_prefix(&prefix).is_none_or(|uid| {
            gates
                .iter()
                .any(|gate| gate.pod.uid().is_some_and(|own| own == uid))
        })
    });
    Sight {
        asked: Some(context.clock.moment()),
        ..Sight::of(gates, before, context.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    /// A gate that does not tell its own time, as none of an older version does.
    fn gate(report: &serde_json::Value) -> Gate {
        gate_at(Timestamp::MIN, report)
    }

    /// A gate that has said this when our clock showed `now`.
    fn gate_at(now: Timestamp, report: &serde_json::Value) -> Gate {
        let report = Arc::new(serde_json::from_value(report.clone()).unwrap());
        Gate::said(Arc::default(), Some(Ok(report)), now)
    }

    fn row(word: &str, count: u64, at: &str) -> serde_json::Value {
        json!({"refusal": word, "count": count, "lastAt": at})
    }

    fn counts(sight: &Sight) -> Vec<(&str, u64)> {
        let rows = sight.refused("population").iter();
        rows.map(|row| (row.refusal.as_str(), row.count)).collect()
    }

    #[test]
    fn what_was_heard_by_a_clock_that_was_ahead_is_forgotten() {
        let heard = |at: &str, before: &Sight, now: &str| {
            let report = json!({"lanes": [{"registry": "population", "heardAt": at}]});
            Sight::of(vec![gate(&report)], before, now.parse().unwrap())
        };
        let (ten, eleven) = ("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z");
        let ahead = heard("2036-11-23T10:00:00Z", &Sight::default(), "2036-11-23T10:00:00Z");
        let right = heard(ten, &ahead, eleven);
        assert_eq!(right.heard["population"].to_string(), ten);
        // A report that was heard earlier, from another gate, takes nothing back.
        let earlier = heard("2026-11-23T09:00:00Z", &right, eleven);
        assert_eq!(earlier.heard["population"].to_string(), ten);
        // A gate that began anew has heard nobody: what is left is no sign of life for ten years, and counts from when it was looked at.
        let anew =
            |before: &Sight, now: &str| Sight::of(vec![gate(&json!({}))], before, now.parse().unwrap());
        let silent = anew(&anew(&ahead, ten), eleven);
        assert_eq!(silent.heard["population"].to_string(), ten);
    }

    #[test]
    fn refused_requests_are_added_up_over_all_gates() {
        let gates = vec![
            gate(
                &json!({"lanes": [{"registry": "population", "refused": [row("Method", 2, "2026-11-23T10:00:00Z")]}]}),
            ),
            gate(&json!({
                "lanes": [
                    {"registry": "population", "refused": [row("Method", 3, "2026-11-23T10:05:00Z"), row("Body", 1, "2026-11-23T10:00:00Z")]},
                    {"registry": "health", "refused": [row("Method", 7, "2026-11-23T10:00:00Z")]},
                ],
                "unclaimed": [row("UnknownUser", 1, "2026-11-23T10:00:00Z")],
            })),
        ];
        let sight = Sight::of(gates, &Sight::default(), "2026-11-23T10:06:00Z".parse().unwrap());
        assert_eq!(counts(&sight), [("Body", 1), ("Method", 5)]);
        assert_eq!(
            sight.refused("population")[1].last_at.to_string(),
            "2026-11-23T10:05:00Z"
        );
        assert_eq!(sight.unclaimed().len(), 1);
        assert!(sight.refused("business").is_empty());
    }

    #[test]
    fn a_gate_that_starts_anew_takes_no_refused_request_back_before_its_time() {
        let gates = |rows: serde_json::Value| {
            vec![gate(
                &json!({"lanes": [{"registry": "population", "refused": rows}]}),
            )]
        };
        let at = |time: &str| time.parse().unwrap();
        let before = Sight::of(
            gates(json!([row("Method", 5, "2026-11-23T10:00:00Z")])),
            &Sight::default(),
            at("2026-11-23T10:01:00Z"),
        );
        let anew = Sight::of(gates(json!([])), &before, at("2026-11-23T10:02:00Z"));
        assert_eq!(counts(&anew), [("Method", 5)]);
        let again = Sight::of(
            gates(json!([row("Method", 1, "2026-11-23T10:03:00Z")])),
            &anew,
            at("2026-11-23T10:03:00Z"),
        );
        assert_eq!(counts(&again), [("Method", 1)]);
        let later = Sight::of(gates(json!([])), &again, at("2026-11-23T10:13:01Z"));
        assert!(counts(&later).is_empty());
    }

    #[test]
    fn requests_that_a_wrong_clock_has_dated_are_no_alarm_for_as_long_as_it_was_wrong_by() {
        let refused = |at: &str, before: &Sight, now: &str| {
            let rows = json!([row("Method", 5, at)]);
            let report = json!({"lanes": [{"registry": "population", "refused": rows}]});
            Sight::of(vec![gate(&report)], before, now.parse().unwrap())
        };
        let (ten, later) = ("2026-11-23T10:00:00Z", "2026-11-23T10:10:01Z");
        // Of a gate whose clock is ahead, and is put right.
        let ahead = refused("2036-11-23T10:00:00Z", &Sight::default(), ten);
        assert_eq!(ahead.refused("population")[0].last_at.to_string(), ten);
        assert!(counts(&refused(ten, &ahead, later)).is_empty());
        // Of an operator whose clock was.
        let ahead = refused("2036-11-23T10:00:00Z", &Sight::default(), "2036-11-23T10:00:00Z");
        assert!(counts(&refused(ten, &ahead, later)).is_empty());
    }

    #[test]
    fn what_a_gate_saw_is_as_long_ago_as_the_gate_says_whatever_its_clock_shows() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let ago = |seconds: i64| now - SignedDuration::from_secs(seconds);
        let (hour, ten_years) = (3_600_i64, 10 * 365 * 24 * 3_600_i64);
        for behind in [0, 1, -1, 46, 11 * 60, hour, -hour, ten_years, -ten_years] {
            let at_the_gate = |seconds: i64| ago(seconds + behind).to_string();
            let report = json!({
                "at": at_the_gate(0), "startedAt": at_the_gate(600), "certificateEndsAt": "2027-11-23T10:00:00Z",
                "lanes": [{
                    "registry": "population", "heardAt": at_the_gate(20), "retrievedAt": at_the_gate(40),
                    "refused": [row("Method", 5, &at_the_gate(60))],
                }],
                "unclaimed": [row("UnknownUser", 1, &at_the_gate(120))],
            });
            let sight = Sight::of(vec![gate_at(now, &report)], &Sight::default(), now);
            // A second is what an answer may take, and no difference of clocks.
            let is_near =
                |time: Timestamp, seconds: i64| time.duration_since(ago(seconds)).abs().as_secs() <= 1;
            let said = sight.reports().next().unwrap();
            assert!(is_near(sight.heard["population"], 20), "{behind}: {sight:?}");
            assert!(
                is_near(sight.refused("population")[0].last_at, 60),
                "{behind}: {sight:?}"
            );
            assert!(is_near(sight.unclaimed()[0].last_at, 120), "{behind}: {sight:?}");
            assert!(is_near(sight.since().unwrap(), 600), "{behind}: {sight:?}");
            assert!(
                is_near(said.lanes[0].retrieved_at.unwrap(), 40),
                "{behind}: {said:?}"
            );
            // It is a time of the calendar, which no clock makes another.
            let ends = said.certificate_ends_at.unwrap().to_string();
            assert_eq!(ends, "2027-11-23T10:00:00Z", "{behind}");
        }
    }

    #[test]
    fn a_gate_of_a_version_that_does_not_tell_its_time_is_believed_as_it_is() {
        let now: Timestamp = "2026-11-23T10:10:00Z".parse().unwrap();
        let heard_at = "2026-11-23T10:00:00Z";
        let report = json!({"lanes": [{"registry": "population", "heardAt": heard_at}]});
        let sight = Sight::of(vec![gate_at(now, &report)], &Sight::default(), now);
        assert_eq!(sight.heard["population"].to_string(), heard_at);
    }

    #[test]
    fn home_was_heard_when_any_gate_heard_it_and_a_restart_forgets_nothing() {
        let now: Timestamp = "2026-11-23T10:10:00Z".parse().unwrap();
        let heard = |at: &str| gate(&json!({"lanes": [{"registry": "population", "heardAt": at}]}));
        let two = vec![heard("2026-11-23T10:00:00Z"), heard("2026-11-23T10:04:00Z")];
        let sight = Sight::of(two, &Sight::default(), now);
        assert_eq!(sight.heard["population"].to_string(), "2026-11-23T10:04:00Z");
        let restarted = vec![gate(&json!({})), heard("2026-11-23T10:01:00Z")];
        let sight = Sight::of(restarted, &sight, now);
        assert_eq!(sight.heard["population"].to_string(), "2026-11-23T10:04:00Z");
        let one_ahead = vec![heard("2036-01-01T00:00:00Z"), heard("2026-11-23T10:05:00Z")];
        let ahead = Sight::of(one_ahead, &sight, now);
        assert_eq!(
            ahead.heard["population"], now,
            "a time ahead of ours counts as now"
        );
    }
}
