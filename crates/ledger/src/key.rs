//! The grammar of object keys, both ways. Every key of a store is one of these; what does not parse is nobody's.

use std::fmt;
use std::str::FromStr;

use crate::value::{CopyId, InvalidValue, OrderId, PartNumber, RegistryId, SegmentNumber, Sequence, Term};

/// The longest key the grammar can make, in bytes.
pub const MAX_KEY_LENGTH: usize = 128;

/// The key of an object in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// `embassy.json`: the store's own document.
    Embassy,
    /// `registries/<id>/source/<term>-<sequence>`: an entry of the source chain.
    Source {
        /// The registry.
        registry: RegistryId,
        /// The term in which it is written.
        term: Term,
        /// Its place in the chain.
        sequence: Sequence,
    },
    /// `registries/<id>/custody/<sequence>`: an entry of the custody chain.
    Custody {
        /// The registry.
        registry: RegistryId,
        /// Its place in the chain.
        sequence: Sequence,
    },
    /// `registries/<id>/copies/<copy>/…`: an object of a copy.
    Copy {
        /// The registry.
        registry: RegistryId,
        /// The copy.
        copy: CopyId,
        /// Which of its objects.
        object: CopyObject,
    },
    /// `registries/<id>/reports/<order>.json` or `.html`: a report of a drill or an activation.
    Report {
        /// The registry.
        registry: RegistryId,
        /// The order that the report answers.
        order: OrderId,
        /// Its form.
        form: ReportForm,
    },
}

/// An object of a copy; as text, the last component of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CopyObject {
    /// `manifest-<n>`: what the copy consists of.
    Manifest(PartNumber),
    /// `inventory-<n>`: sealed; what is in the copy.
    Inventory(PartNumber),
    /// `<n>`: a segment.
    Segment(SegmentNumber),
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportForm {
    /// For machines.
    Json,
    /// For people.
    Html,
}

/// Why a text is no object key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has no shape that the grammar knows.
    #[error("object key has no known shape; see the table of keys in docs/format.md")]
    UnknownShape,
    /// A component breaks its rule.
    #[error("object key has a wrong component: {0}")]
    WrongComponent(#[from] InvalidValue),
}

impl ObjectKey {
    /// The prefix of all objects of a registry, with its `/`.
    #[must_use]
    pub fn registry_prefix(registry: &RegistryId) -> String {
        format!("registries/{registry}/")
    }

    /// The prefix of a registry's source chain, with its `/`.
    #[must_use]
    pub fn source_prefix(registry: &RegistryId) -> String {
        format!("registries/{registry}/source/")
    }

    /// The prefix of a registry's custody chain, with its `/`.
    #[must_use]
    pub fn custody_prefix(registry: &RegistryId) -> String {
        format!("registries/{registry}/custody/")
    }

    /// The prefix of a registry's reports, with its `/`.
    #[must_use]
    pub fn reports_prefix(registry: &RegistryId) -> String {
        format!("registries/{registry}/reports/")
    }

    /// The prefix of all objects of one copy, with its `/`.
    #[must_use]
    pub fn copy_prefix(registry: &RegistryId, copy: CopyId) -> String {
        format!("registries/{registry}/copies/{copy}/")
    }

    /// The registry the object belongs to; none for `embassy.json`.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistryId> {
        match self {
            Self::Embassy => None,
            Self::Source { registry, .. }
            | Self::Custody { registry, .. }
            | Self::Copy { registry, .. }
            | Self::Report { registry, .. } => Some(registry),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embassy => formatter.write_str("embassy.json"),
            Self::Source {
                registry,
                term,
                sequence,
            } => {
                write!(
                    formatter,
                    "registries/{registry}/source/{}-{}",
                    term.to_key(),
                    sequence.to_key()
                )
            }
            Self::Custody { registry, sequence } => {
                write!(formatter, "registries/{registry}/custody/{}", sequence.to_key())
            }
            Self::Copy {
                registry,
                copy,
                object,
            } => write!(formatter, "registries/{registry}/copies/{copy}/{object}"),
            Self::Report {
                registry,
                order,
                form,
            } => {
                let extension = match form {
                    ReportForm::Json => "json",
                    ReportForm::Html => "html",
                };
                write!(formatter, "registries/{registry}/reports/{order}.{extension}")
            }
        }
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if text == "embassy.json" {
            return Ok(Self::Embassy);
        }
        if text.len() > MAX_KEY_LENGTH {
            return Err(InvalidKey::UnknownShape);
        }
        let rest = text.strip_prefix("registries/").ok_or(InvalidKey::UnknownShape)?;
        let (registry, rest) = rest.split_once('/').ok_or(InvalidKey::UnknownShape)?;
        let registry: RegistryId = registry.parse()?;
        let (room, rest) = rest.split_once('/').ok_or(InvalidKey::UnknownShape)?;
        match room {
            "source" => {
                let (term, sequence) = rest.split_once('-').ok_or(InvalidKey::UnknownShape)?;
                Ok(Self::Source {
                    registry,
                    term: Term::from_key(term)?,
                    sequence: Sequence::from_key(sequence)?,
                })
            }
            "custody" => Ok(Self::Custody {
                registry,
                sequence: Sequence::from_key(rest)?,
            }),
            "copies" => {
                let (copy, object) = rest.split_once('/').ok_or(InvalidKey::UnknownShape)?;
                Ok(Self::Copy {
                    registry,
                    copy: copy.parse()?,
                    object: object.parse()?,
                })
            }
            "reports" => {
                let (order, extension) = rest.split_once('.').ok_or(InvalidKey::UnknownShape)?;
                let form = match extension {
                    "json" => ReportForm::Json,
                    "html" => ReportForm::Html,
                    _ => return Err(InvalidKey::UnknownShape),
                };
                Ok(Self::Report {
                    registry,
                    order: order.parse()?,
                    form,
                })
            }
            _ => Err(InvalidKey::UnknownShape),
        }
    }
}

impl fmt::Display for CopyObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(number) => write!(formatter, "manifest-{}", number.to_key()),
            Self::Inventory(number) => write!(formatter, "inventory-{}", number.to_key()),
            Self::Segment(number) => write!(formatter, "{}", number.to_key()),
        }
    }
}

impl FromStr for CopyObject {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if let Some(number) = text.strip_prefix("manifest-") {
            return Ok(Self::Manifest(PartNumber::from_key(number)?));
        }
        if let Some(number) = text.strip_prefix("inventory-") {
            return Ok(Self::Inventory(PartNumber::from_key(number)?));
        }
        Ok(Self::Segment(SegmentNumber::from_key(text)?))
    }
}

impl TryFrom<String> for CopyObject {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<CopyObject> for String {
    fn from(object: CopyObject) -> Self {
        object.to_string()
    }
}
