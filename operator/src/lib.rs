//! The operator: reconciles registries, and has no data path.
//!
//! It links neither the S3 SDK nor a database driver, and outside its own namespace it may create Secrets but never read one. One
//! folder per kind; each reconcile is `dereference → validate → build → apply → status`: the first reads, the next two are pure, the
//! last two write. With the operator down, every sidecar goes on as it was told last.

pub mod activation;
pub mod apply;
pub mod assertion;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod condition;
pub mod custody;
pub mod drill;
pub mod embassy;
pub mod event;
pub mod heads;
pub mod identity;
pub mod job;
pub mod labels;
pub mod lease;
pub mod metrics;
pub mod mirror;
pub mod pod;
pub mod policy;
pub mod poll;
pub mod progress;
pub mod restore;
pub mod rollout;
pub mod run;
pub mod secrets;
pub mod server;
pub mod settings;
pub mod size;
pub mod status;
pub mod suspicion;
pub mod workload;
