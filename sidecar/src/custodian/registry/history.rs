//! What earlier proofs say of what was read back: read backwards from the last one, as far as the verification period reaches.

use dataembassy_ledger::value::{Sequence, Sha256Digest};
use jiff::Timestamp;

use super::custody::{Custody, WrittenProof};
use super::holdings::Holdings;
use super::{Assignment, Left, proof};
use crate::store::StoreError;

/// How many entries one turn reads.
const AT_ONCE: usize = 24;

/// How far earlier proofs were taken in.
#[derive(Debug, Default)]
pub enum History {
    /// Nothing was.
    #[default]
    NotBegun,
    /// The entry before this one is read next.
    Before(Sequence, Sha256Digest),
    /// There is nothing more to know.
    Known,
}

impl History {
    /// Takes in some more of them. At the end of it the copies may be read back, and proofs be written.
    pub async fn read(
        &mut self,
        assignment: &Assignment,
        custody: &Custody,
        holdings: &Holdings,
    ) -> Result<Left, StoreError> {
        if let Self::NotBegun = self {
            let mut state = holdings.lock();
            *self = match custody.last_proof() {
                Some(last) => {
                    proof::learn(&mut state, last);
                    Self::Before(last.reference.sequence, last.prev)
                }
                None => Self::Known,
            };
        }
        let period = jiff::SignedDuration::try_from(assignment.configuration.period);
        let earliest = period
            .ok()
            .and_then(|period| Timestamp::now().checked_sub(period).ok());
        for _ in 0..AT_ONCE {
            let Self::Before(sequence, prev) = *self else {
                break;
            };
            let before = custody.predecessor(&assignment.store, sequence, prev).await?;
            let within = |at: Timestamp| earliest.is_none_or(|earliest| at >= earliest);
            *self = match before {
                Some(before) if within(before.entry.header.at.as_jiff()) => {
                    if let Some(proof) = WrittenProof::of(&before) {
                        proof::learn(&mut holdings.lock(), &proof);
                    }
                    Self::Before(before.reference().sequence, before.entry.header.prev)
                }
                _ => Self::Known,
            };
        }
        if !matches!(self, Self::Known) {
            return Ok(Left::More);
        }
        let mut state = holdings.lock();
        if !state.history_known {
            if let Some(last) = custody.last_proof() {
                proof::resume(&mut state, last);
            }
            state.history_known = true;
        }
        Ok(Left::Nothing)
    }
}
