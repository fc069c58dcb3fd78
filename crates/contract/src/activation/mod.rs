//! What came of an activation, a rehearsal or a stand-down for one registry: the result that the custodian is asked to sign.

mod result;

pub use result::{
    ActivationReport, ActivationResult, MAX_RESULT_BYTES, Outcome, ReportedCopy, RestoredRows, StepTimes,
    Versions,
};
