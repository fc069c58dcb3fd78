//! Scenarios that take away what the others need: the operator, the custodian, the API server, the link.

mod absence;
mod drill;
mod link;
mod upgrade;
