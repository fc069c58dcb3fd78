//! What `embassy.json` and every entry are: one line of strict JSON with its LF, then an armored SSH signature over exactly that line.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::json;
use crate::signature::{self, PublicKey, Role, SignatureError, SigningError, SigningKey};
use crate::value::Sha256Digest;

/// The most bytes an entry or `embassy.json` may have, its signature included.
pub const MAX_OBJECT_BYTES: usize = 64 * 1024;

/// An object ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedObject {
    /// The whole object: the line and its signature.
    pub bytes: Vec<u8>,
    /// The SHA-256 of `bytes`, which the next entry names as `prev`.
    pub digest: Sha256Digest,
}

/// An object whose signature is right; its content is not judged yet.
#[derive(Debug)]
pub(crate) struct VerifiedLine {
    /// What its line says, if that is strict JSON.
    pub(crate) fields: Result<Map<String, Value>, serde_json::Error>,
    pub(crate) signer: PublicKey,
    pub(crate) digest: Sha256Digest,
}

/// Why an object could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It would be too large.
    #[error(
        "object would have {size} bytes, more than the {MAX_OBJECT_BYTES} allowed: it must name less, such as fewer recipients or copies"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A value cannot be written.
    #[error("object cannot be written as JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The content breaks a rule of its kind.
    #[error("object breaks a rule: {0}")]
    BrokenRule(&'static str),
    /// The key cannot sign.
    #[error(transparent)]
    NotSigned(#[from] SigningError),
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is larger than any entry may be.
    #[error("object has {size} bytes, more than the {MAX_OBJECT_BYTES} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// It is not one line followed by a signature.
    #[error("object is not one line of JSON followed by a signature")]
    NotSignedLine,
    /// Its signature does not count.
    #[error(transparent)]
    WrongSignature(#[from] SignatureError),
    /// Its line is not what the format allows.
    #[error("object's line breaks the format: {0}")]
    InvalidLine(#[from] serde_json::Error),
    /// Its kind is not one of the format's.
    #[error(
        "object is of kind {kind:?}, which this version does not know: a newer version may have written it"
    )]
    UnknownKind {
        /// The kind, cut to 64 characters.
        kind: String,
    },
    /// Its content breaks a rule of its kind.
    #[error("object breaks a rule: {0}")]
    BrokenRule(&'static str),
}

/// Writes `content` as one line and signs it.
pub(crate) fn write(
    content: &impl Serialize,
    role: Role,
    key: &SigningKey,
) -> Result<SignedObject, WriteError> {
    let mut bytes = serde_json::to_vec(content).map_err(WriteError::NotJson)?;
    // What we write must pass what we read: a number beyond 2^53 would make an entry that nobody accepts.
    json::read_object(&bytes).map_err(WriteError::NotJson)?;
    bytes.push(b'\n');
    let signature = key.sign(role, &bytes)?;
    bytes.extend_from_slice(signature.as_bytes());
    if bytes.len() > MAX_OBJECT_BYTES {
        return Err(WriteError::TooLarge { size: bytes.len() });
    }
    let digest = Sha256Digest::of(&bytes);
    Ok(SignedObject { bytes, digest })
}

/// Checks size, shape, signature and JSON, in this order: nothing unsigned is parsed.
pub(crate) fn read(object: &[u8], role: Role) -> Result<VerifiedLine, ReadError> {
    if object.len() > MAX_OBJECT_BYTES {
        return Err(ReadError::TooLarge { size: object.len() });
    }
    let end = object
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(ReadError::NotSignedLine)?;
    let (line, armored) = object.split_at(end + 1);
    let signer = signature::verify(role, line, armored)?;
    Ok(VerifiedLine {
        fields: json::read_object(&line[..end]),
        signer,
        digest: Sha256Digest::of(object),
    })
}
