//! Whether the custodian knows where a registry's ledger stood before: without that it could not tell an older state of the store from the
//! newest one, and writes nothing that would make it one.

use dataembassy_ledger::entry::EntryRef;

/// How the custodian knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// There was no custody chain, and no source entry has heard of one: the registry is new, and what is seen first is where it stands.
    New,
    /// The configuration names a head of either chain, which it had before. One of the source chain alone will do: while that was
    /// remembered, there was no custody entry yet.
    Floor,
    /// A person has named a source entry, and the chain has it.
    Confirmed,
    /// Nobody has said anything.
    Nobody,
}

/// What is known when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Whether the custody chain was empty when this process first read it.
    pub was_empty: bool,
    /// Whether a source entry names a custody entry that is not there.
    pub was_heard_of: bool,
    /// The floor of the custody chain.
    pub custody_floor: Option<EntryRef>,
    /// The floor of the source chain.
    pub source_floor: Option<EntryRef>,
    /// The source entry that a person has named.
    pub confirmed_head: Option<EntryRef>,
    /// Whether the source chain has that entry.
    pub confirmed_is_there: bool,
}

impl Evidence {
    /// Weighs it.
    #[must_use]
    pub const fn weigh(&self) -> Witness {
        if self.custody_floor.is_some() || self.source_floor.is_some() {
            Witness::Floor
        } else if self.confirmed_head.is_some() {
            // A registry that should have this entry is not new, even if its custody chain is empty.
            if self.confirmed_is_there {
                Witness::Confirmed
            } else {
                Witness::Nobody
            }
        } else if self.was_empty && !self.was_heard_of {
            Witness::New
        } else {
            Witness::Nobody
        }
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::value::{Sequence, Sha256Digest};

    use super::*;

    #[test]
    fn a_custodian_knows_by_what_it_remembers_or_by_what_a_person_says_and_not_by_what_it_finds() {
        let head = EntryRef {
            sequence: Sequence::FIRST,
            digest: Sha256Digest::of(b"entry"),
        };
        let nothing = Evidence {
            was_empty: false,
            was_heard_of: false,
            custody_floor: None,
            source_floor: None,
            confirmed_head: None,
            confirmed_is_there: false,
        };
        assert_eq!(nothing.weigh(), Witness::Nobody);
        let new = Evidence {
            was_empty: true,
            ..nothing
        };
        assert_eq!(new.weigh(), Witness::New);
        // Somebody has taken the custody chain away, and home had read it.
        let emptied = Evidence {
            was_heard_of: true,
            ..new
        };
        assert_eq!(emptied.weigh(), Witness::Nobody);
        for (custody_floor, source_floor) in
            [(Some(head), None), (None, Some(head)), (Some(head), Some(head))]
        {
            let remembered = Evidence {
                custody_floor,
                source_floor,
                ..nothing
            };
            assert_eq!(remembered.weigh(), Witness::Floor);
        }
        // An empty custody chain proves nothing about a registry that should have an entry.
        for was_empty in [false, true] {
            let missing = Evidence {
                was_empty,
                confirmed_head: Some(head),
                ..nothing
            };
            assert_eq!(missing.weigh(), Witness::Nobody);
            let found = Evidence {
                confirmed_is_there: true,
                ..missing
            };
            assert_eq!(found.weigh(), Witness::Confirmed);
        }
    }
}
