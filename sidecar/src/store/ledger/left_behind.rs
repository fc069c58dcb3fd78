//! A known head that was left behind: an entry of a term that had ended before it, so that it counts for nobody.
//!
//! Home may know one. It was acknowledged past a gate that should have refused it, home remembered it, and then home was fenced below it. When
//! the chain that counts comes to its number with another entry, or ends below, that is no roll-back: the custody chain says where the term
//! ended, and the store still holds the entry under its own term's name, signed by whom that term was. What the store does not show so was
//! taken away or replaced, and is a roll-back as ever.

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{Alarm, Authority as _, CustodyView, Opening, SourceAuthority};
use dataembassy_ledger::entry::{Chain, EntryRef, SourceEntry};
use dataembassy_ledger::value::Term;

use super::LedgerError;
use super::custody::Reading;
use super::named::read_named;

/// Whether it is the known head that an alarm misses.
pub(super) fn is_missed(alarm: &Alarm, floor: EntryRef) -> bool {
    matches!(alarm, Alarm::RolledBack { chain: Chain::Source, sequence, digest }
        if *sequence == floor.sequence && *digest == floor.digest)
}

impl Reading<'_> {
    /// The opening that left the known head behind, if one did.
    pub(super) async fn left_behind(
        &self,
        view: &CustodyView,
        authority: &SourceAuthority,
        floor: EntryRef,
    ) -> Result<Option<Opening>, LedgerError> {
        let is_beyond = |opening: &&Opening| {
            let last = opening.source_head.map(|head| head.sequence);
            last < Some(floor.sequence)
        };
        for opening in view.openings().iter().filter(is_beyond) {
            let before = u64::from(opening.term).checked_sub(1);
            let Some(term) = before.and_then(|number| Term::new(number).ok()) else {
                continue;
            };
            if self.holds(term, authority, floor).await? {
                return Ok(Some(opening.clone()));
            }
        }
        Ok(None)
    }

    /// Whether the store holds the very entry under this term's name, by one who wrote that term.
    async fn holds(
        &self,
        term: Term,
        authority: &SourceAuthority,
        floor: EntryRef,
    ) -> Result<bool, LedgerError> {
        let key = ObjectKey::Source {
            registry: self.settings.registry.clone(),
            term,
            sequence: floor.sequence,
        };
        let Some(bytes) = read_named(self.store, &key, floor.digest).await? else {
            return Ok(false);
        };
        Ok(SourceEntry::verify(&bytes).is_ok_and(|entry| {
            let header = &entry.entry.header;
            header.store_id == self.store_id
                && header.registry == self.settings.registry
                && header.term == term
                && header.sequence == floor.sequence
                && authority.may_sign(header.term, header.sequence, &entry.signer)
        }))
    }
}
