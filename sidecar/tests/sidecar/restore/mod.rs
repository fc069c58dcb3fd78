//! What comes back, and what is refused.

mod contents;
mod refusals;
mod store;
