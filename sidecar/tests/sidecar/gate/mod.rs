//! The gate as a program, before a real store: what passes, what does not, and that nobody can make it do otherwise.

mod authorities;
pub(crate) mod bench;
mod check;
mod clients;
mod framing;
mod limits;
mod live;
mod raw;
mod refusals;
mod store;
