//! Scenarios that take away what the others need: the operator, the API server, the link.

mod absence;
mod link;
mod upgrade;
