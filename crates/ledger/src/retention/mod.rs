//! Which copies are kept and which go: a plan that can be read before anything is done. No clock is read here, and nothing is deleted.
//!
//! The rules, and whom they stand against, in [`plan`]: whoever sends copies can send garbage, and garbage must not push anything good out.
//! So a copy is chosen among its equals only: the restored ones by themselves, the whole ones by themselves, and a broken one only where
//! nothing better is. A copy that was not read back yet is not judged, and stays.

mod calendar;
mod plan;
mod print;

pub use calendar::{Bucket, Period};
pub use plan::{Candidate, Expiring, Kept, Plan, Policy, Quality, Why, plan};
