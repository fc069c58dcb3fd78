//! The custodian as a program, against a real store: what it follows, what it proves, and what it raises the alarm about.

mod activations;
mod authorities;
mod custody;
mod dates;
mod doors;
mod drills;
mod empty;
mod ledgers;
mod objects;
mod process;
mod proofs;
mod retention;
mod rotation;
mod scale;
mod tampering;
mod terms;
