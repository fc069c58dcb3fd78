//! The dump of section 6, rule by rule, from real servers.

mod connection;
mod contents;
mod faults;
mod large;
mod left_out;
mod one_server;
mod planner;
mod remembered;
mod rewritten;
mod settings;
mod snapshot;
