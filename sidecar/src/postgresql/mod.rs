//! `PostgreSQL`: the way to a server, and the dump of one database as members of a copy.
//!
//! `pg_dump` plans, the sidecar executes. [`source`] says which database and how to reach it, [`connection`] speaks
//! the wire protocol without buffering whole messages, [`session`] makes every session read the same text. Nothing
//! here knows what becomes of the members: sealing and storing is another room's business.

pub(crate) mod client_program;
pub mod connection;
pub mod dump;
pub mod planner;
pub mod session;
pub mod source;
pub mod toc;

pub use connection::{Connection, ConnectionError};
pub use source::Source;
