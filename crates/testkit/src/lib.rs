//! What tests share: real servers on loopback, and faults they will not produce on demand.
