//! What is asked of a store, and what its answers mean.

mod check;
mod faults;
mod init;
mod late_reader;
mod ledger;
mod trust_sheet;
