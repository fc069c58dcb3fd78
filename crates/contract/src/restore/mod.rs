//! What the operator tells the Job of one restore, what the Job says while it works, and what it leaves as its last words.

mod config;
mod report;

pub use config::{CopyChoice, IfNotEmpty, RehearsalConfig, RestoreConfig, TargetConfig};
pub use report::{
    ChosenCopy, Ending, LeftOut, MAX_MESSAGE, MAX_RESULT_BYTES, RestorePhase, RestoreProgress, RestoreReport,
    RestoreResult,
};
