//! Each fault that a store or a database can have. What is shown is always the same: it ends, and says why.
//!
//! A failure prints its seed; `DATAEMBASSY_FAULT_SEED` throws the same again.

mod nonsense;
