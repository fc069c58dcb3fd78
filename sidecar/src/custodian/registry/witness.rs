//! Whether the custodian knows where a registry's ledger stood before: without that it could not tell an older state of the store from the
//! newest one, and writes nothing that would make it one.

use dataembassy_ledger::entry::EntryRef;

/// How the custodian knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// There was no custody chain: the registry is new, and what is seen first is where it stands.
    New,
    /// The configuration names a head of the custody chain, which it had before.
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
    /// The floor of the custody chain.
    pub custody_floor: Option<EntryRef>,
    /// The source entry that a person has named.
    pub confirmed_head: Option<EntryRef>,
    /// Whether the source chain has that entry.
    pub confirmed_is_there: bool,
}

impl Evidence {
    /// Weighs it.
    #[must_use]
    pub const fn weigh(&self) -> Witness {
        if self.custody_floor.is_some() {
            Witness::Floor
        } else if self.confirmed_head.is_some() {
            // A registry that should have this entry is not new, even if its custody chain is empty.
            if self.confirmed_is_there {
                Witness::Confirmed
            } else {
                Witness::Nobody
            }
        } else if self.was_empty {
            Witness::New
        } else {
            Witness::Nobody
        }
    }
}
