//! What a drill says about itself while it works, and its result until it was received.

use dataembassy_contract::{
    Reason,
    drill::{DrillReport, DrillResult},
    report::MissingSecret,
    restore::RestorePhase,
};
use tokio_util::sync::CancellationToken;

use crate::process::server::Status;
use crate::restore::job::board::{self, JobReport, Parts};

impl JobReport for DrillReport {
    fn begin(version: String) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            missing_secrets: &mut self.missing_secrets,
            waits: &mut self.waits,
            copy: &mut self.copy,
            progress: &mut self.progress,
        }
    }
}

/// The report, shared between the drill and its server.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    job: board::Board<DrillReport>,
    received: CancellationToken,
}

impl Board {
    /// What it shares with a restore's.
    pub(super) const fn job(&self) -> &board::Board<DrillReport> {
        &self.job
    }

    /// The drill has ended: nothing in the report changes from now on. Returns the result as it is shown.
    pub(super) fn ends(&self, result: DrillResult) -> DrillResult {
        let text = result.clone().to_json();
        // What was bounded can be read back; nothing else is shown.
        let bounded = DrillResult::read(&text).unwrap_or(result);
        let progress = self.job.told();
        self.job.write(|report| {
            report.progress = progress;
            report.waits = None;
            report.result = Some(Box::new(bounded.clone()));
        });
        bounded
    }

    /// Returns when somebody has shown that they know the result.
    pub(super) async fn received(&self) {
        self.received.cancelled().await;
    }

    /// What it does, for people.
    pub(super) fn doing(&self) -> &'static str {
        match self.job.told().phase {
            RestorePhase::Waiting => "waiting for what it needs",
            RestorePhase::Checking => "looking at the copy",
            RestorePhase::Definitions => "restoring definitions",
            RestorePhase::Rows => "loading rows",
            RestorePhase::Constraints => "restoring indexes, constraints and views",
            RestorePhase::Analysing => "gathering statistics",
            RestorePhase::Comparing => "comparing",
            RestorePhase::Questioning | RestorePhase::Done | RestorePhase::Other => "asking questions",
        }
    }

    /// The Secrets that it waits for.
    pub(super) fn missing(&self) -> Missing {
        Missing(self.job.look(|report| report.missing_secrets.clone()))
    }
}

/// Secrets that are not there.
pub(super) struct Missing(Vec<MissingSecret>);

impl Missing {
    pub(super) fn reason(&self) -> Option<Reason> {
        (!self.0.is_empty()).then_some(Reason::SecretMissing)
    }

    pub(super) fn words(&self) -> String {
        let each = self
            .0
            .iter()
            .map(|one| format!("key {} of the {:?} Secret", one.key, one.secret));
        format!("never came: {}", each.collect::<Vec<_>>().join(", "))
    }
}

impl Status for Board {
    type Report = DrillReport;

    fn report(&self) -> DrillReport {
        let shown = self.job.look(Clone::clone);
        if shown.result.is_some() {
            return shown;
        }
        self.job.now()
    }

    fn is_ready(&self) -> bool {
        self.job.has_everything()
    }

    fn is_known(&self, report: &DrillReport) {
        if report.result.is_some() {
            self.received.cancel();
        }
    }
}
