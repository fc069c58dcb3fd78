//! The long-running process, as a program or in this one.

mod faults;
mod limits;
mod process;
mod trace;
