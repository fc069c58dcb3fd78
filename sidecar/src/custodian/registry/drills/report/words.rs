//! What a drill asks and picks, in words for people.

use dataembassy_contract::drill::{AssertionKind, Pick};

/// How a copy was picked.
pub(super) const fn pick(pick: Pick) -> &'static str {
    match pick {
        Pick::Latest => "the newest living copy",
        Pick::Random => "any living copy, by chance",
        Pick::OldestUndrilled => {
            "the oldest living copy that was not drilled yet, or else the one whose drill is longest ago"
        }
    }
}

/// What an assertion asks.
pub(super) const fn question(kind: AssertionKind) -> &'static str {
    match kind {
        AssertionKind::Contents => "tables, rows and their digests, as the sealed inventory lists them",
        AssertionKind::LargeObjects => "large objects, as the sealed inventory lists them",
        AssertionKind::Schema => "the definitions, as their digest was written down",
        AssertionKind::Constraints => "constraints that were valid at home are valid",
        AssertionKind::RecoveryTime => "the recovery takes no longer than it may",
        AssertionKind::Sql => "a question in SQL of those who run the registry",
        AssertionKind::Other => "something that this version does not know",
    }
}

/// What an assertion of this kind was compared with.
pub(super) const fn compared(kind: AssertionKind) -> Option<&'static str> {
    Some(match kind {
        AssertionKind::Contents => {
            "Every table, the number of its rows and a digest of all of them: with the inventory that was sealed together with the copy at home."
        }
        AssertionKind::LargeObjects => {
            "The number of large objects and their bytes: with the same inventory."
        }
        AssertionKind::Schema => {
            "The text of all definitions in the copy: with the SHA-256 that the RegistryDrill names, which does not come from the copy."
        }
        AssertionKind::Constraints => {
            "The constraints of the restored database: with those of the copy, each of which was checked against all rows."
        }
        AssertionKind::RecoveryTime => {
            "The time from the first look at the copy to the end of ANALYZE: with the recovery time objective that the RegistryDrill names."
        }
        AssertionKind::Sql => {
            "The answer to each question: with the value, the bounds or the age that the RegistryDrill names, which do not come from the copy."
        }
        AssertionKind::Other => return None,
    })
}
