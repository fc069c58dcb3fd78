//! What comes back, and what is refused.

mod contents;
mod embassy;
mod job;
mod refusals;
mod store;
