//! The long-running process, as a program or in this one.

mod authorities;
mod downtime;
mod faults;
mod limits;
mod process;
mod proof;
mod rotation;
mod terms;
mod trace;
