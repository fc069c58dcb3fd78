//! The names and labels of what is made for an embassy, all of it in the operator's own namespace.

use serde_json::Value;

use crate::labels;

/// One of the two processes of an embassy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Follows ledgers, verifies, keeps.
    Custodian,
    /// The door of the store.
    Gate,
}

impl Part {
    /// The component that its objects belong to.
    #[must_use]
    pub const fn component(self) -> &'static str {
        match self {
            Self::Custodian => "custodian",
            Self::Gate => "gate",
        }
    }

    /// The name of each of its objects.
    #[must_use]
    pub fn object(self, embassy: &str) -> String {
        format!("{embassy}-{}", self.component())
    }

    /// The labels by which its pods are chosen; they can never change.
    #[must_use]
    pub fn selector(self, embassy: &str) -> Value {
        labels::selector(self.component(), embassy)
    }

    /// All labels of its objects, by which they are also known to be ours.
    #[must_use]
    pub fn labels(self, embassy: &str) -> Value {
        labels::labels(self.component(), embassy)
    }
}
