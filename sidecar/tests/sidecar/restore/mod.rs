//! What comes back, and what is refused.

mod clock;
mod contents;
pub(crate) mod embassy;
mod full;
mod job;
mod preflight;
mod questions;
mod refusals;
mod rehearsal;
mod rotation;
mod store;
mod way_back;
