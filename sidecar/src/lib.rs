//! The sidecar: mirrors, restores and keeps the ledger; knows nothing of Kubernetes.
//!
//! Each module is a room of the design: [`store`] speaks S3 and reads the ledger, [`postgresql`] takes the dump, [`mirror`] runs copies
//! on schedule, [`restore`] brings one back, [`drill`] does so into a throw-away database, [`question`] asks what was restored, [`custodian`] keeps what the embassy has, [`gate`] is the store's door, [`trust_sheet`]
//! puts on paper what one must know to believe the store again; [`process`] is what the long-running ones share, [`resolver`] whom all of them ask for
//! an address. The library exists so that tests can enter a room without going through the command line.

pub mod cli;
pub mod custodian;
pub mod drill;
pub mod gate;
pub mod mirror;
pub mod postgresql;
pub mod process;
pub mod question;
pub mod resolver;
pub mod restore;
pub mod store;
pub mod trust_sheet;
