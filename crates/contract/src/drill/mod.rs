//! What the operator tells the Job of one drill, what the Job says while it works, and what it found: the result that the custodian is
//! asked to sign.

mod cell;
mod config;
mod last_words;
mod report;
mod result;

pub use cell::{CELL_SCRIPT, CELL_USER};
pub use config::{DrillConfig, Pick};
pub use last_words::LastWords;
pub use report::DrillReport;
pub use result::{
    AssertionKind, AssertionResult, DrillResult, DrilledCopy, Found, LeftOutOfDrill, MAX_RESULT_BYTES,
    StepResult, Tools, Verdict,
};
