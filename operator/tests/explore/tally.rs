//! Which faults have come, each counted where it takes effect: an exploration whose faults never come shows nothing, and looks as good as one
//! that does.

use std::fmt;

/// A fault that a schedule may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A request is lost on the way there.
    ErrorWithoutEffect,
    /// A request is carried out, and the answer is lost.
    ErrorAfterEffect,
    /// The API server has too many requests: 429.
    TooManyRequests,
    /// Somebody else writes an object just before the operator does.
    OtherWrite,
    /// The API server answers that somebody else was first: 409.
    Conflict,
    /// The operator dies before a request.
    CrashBefore,
    /// The operator dies after a request.
    CrashAfter,
    /// The operator begins anew between two reconciles.
    Restart,
    /// The operator loses its lease while a request is on its way, which arrives when another one leads.
    LeaderChange,
    /// A watch loses a change, and does not know.
    MissedEvent,
    /// The operator works by a picture that is older than the cluster.
    StaleCache,
    /// A resource is looked at although nothing has changed for it.
    DuplicateEvent,
    /// A resource is deleted and made again under the same name.
    MadeAgain,
    /// The operator's clock is off.
    ClockJump,
    /// A process does not answer when it is asked for its report.
    SilentProcess,
    /// A person, or an accident, interferes.
    Interference,
}

impl Fault {
    /// All of them, as they are declared.
    const ALL: [Self; 16] = [
        Self::ErrorWithoutEffect,
        Self::ErrorAfterEffect,
        Self::TooManyRequests,
        Self::OtherWrite,
        Self::Conflict,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Restart,
        Self::LeaderChange,
        Self::MissedEvent,
        Self::StaleCache,
        Self::DuplicateEvent,
        Self::MadeAgain,
        Self::ClockJump,
        Self::SilentProcess,
        Self::Interference,
    ];
}

/// How often each has come, and how much was done in between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    faults: [u64; Fault::ALL.len()],
    /// Schedules that were followed.
    pub(crate) schedules: u64,
    /// Reconciles that ran.
    pub(crate) reconciles: u64,
    /// Requests of the operator that were carried out.
    pub(crate) requests: u64,
}

impl Tally {
    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.count_many(fault, 1);
    }

    /// Counts a fault that has come several times.
    pub(crate) fn count_many(&mut self, fault: Fault, times: u64) {
        self.faults[fault as usize] += times;
    }

    /// Whether a fault has come.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults[fault as usize] > 0
    }

    /// Both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (here, there) in self.faults.iter_mut().zip(other.faults) {
            *here += there;
        }
        self.schedules += other.schedules;
        self.reconciles += other.reconciles;
        self.requests += other.requests;
        self
    }

    /// What has never come.
    pub(crate) fn missing(&self) -> Vec<Fault> {
        let all = Fault::ALL.into_iter();
        all.filter(|fault| !self.has(*fault)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} schedules, {} reconciles, {} requests",
            self.schedules, self.reconciles, self.requests
        )?;
        for fault in Fault::ALL {
            write!(formatter, "; {fault:?} {}", self.faults[fault as usize])?;
        }
        Ok(())
    }
}
