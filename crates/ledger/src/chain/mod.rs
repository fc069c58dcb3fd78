//! Chains: which entries count. A pure state machine that is fed what the store holds under the key it asks for.
//!
//! Read the custody chain first and the source chain after it: the first says who may write the second.
//!
//! ```text
//! custody = CustodyChain::new(…)         while let Some(key) = chain.next() {
//! for each entry: view.apply(&entry)         versions = all versions of key, oldest first
//! SourceAuthority::new(…, view)              if versions.is_empty() { break }   // then look for a gap: chain.beyond(later key)
//! source  = SourceChain::new(…)              step = chain.offer(&versions)
//!                                            if !step.advanced { break }        // an alarm says why
//!                                        }
//!                                        chain.rolled_back()                    // a head below the floor
//! ```

mod alarm;
mod authority;
mod custody_view;
mod walk;

pub use alarm::Alarm;
pub use authority::{
    Authority, CustodianKey, CustodyAuthority, KeyHasTwoRoles, SignerRange, SourceAuthority,
};
pub use custody_view::{CustodyView, Fence, InvalidTerm, Opening, OpeningKind};
pub use walk::{Found, Start, Step, StoredVersion, Walk};

use crate::entry::{CustodyBody, SourceBody};

/// The walk along a source chain.
pub type SourceChain = Walk<SourceBody, SourceAuthority>;
/// The walk along a custody chain.
pub type CustodyChain = Walk<CustodyBody, CustodyAuthority>;

/// The most versions of one key that are looked at; more than one is an alarm already.
pub const MAX_VERSIONS: usize = 8;
