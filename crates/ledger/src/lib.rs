//! Ids, entries, chains, signatures: all of the store's format that needs no key.
