//! `embassy.json`: what makes a bucket a store. Written once by `store init`, never changed; the first entry of each chain names its digest.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::FORMAT;
use crate::signature::{PublicKey, Role, SigningKey};
use crate::signed_line::{self, ReadError, SignedObject, WriteError};
use crate::value::{Sha256Digest, StoreId, Timestamp};

/// The content of `embassy.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDocument {
    /// The store's id.
    pub store_id: StoreId,
    /// The first custodian key; it signs this document.
    pub custodian_key: PublicKey,
    /// When the store was made.
    pub at: Timestamp,
}

/// A document read from a store, its signature checked against the key it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedStoreDocument {
    /// The content.
    pub document: StoreDocument,
    /// The SHA-256 of the whole object: `prev` of the first entry of each chain.
    pub digest: Sha256Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    format: String,
    store_id: StoreId,
    custodian_key: PublicKey,
    at: Timestamp,
}

impl StoreDocument {
    /// Writes and signs the document; `key` must be the custodian key it names.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedObject, WriteError> {
        if key.public_key() != self.custodian_key {
            return Err(WriteError::BrokenRule(
                "embassy.json must be signed by the custodian key that it names",
            ));
        }
        let line = Line {
            format: FORMAT.to_owned(),
            store_id: self.store_id,
            custodian_key: self.custodian_key,
            at: self.at,
        };
        signed_line::write(&line, Role::Store, key)
    }

    /// Reads the object `embassy.json` and checks that the key it names signed it.
    ///
    /// Anybody can sign a document that names their own key: whoever trusts a store compares `custodian_key`, or the digest, with what
    /// they were told on another way.
    pub fn verify(object: &[u8]) -> Result<VerifiedStoreDocument, ReadError> {
        let verified = signed_line::read(object, Role::Store)?;
        let line: Line = serde_json::from_value(Value::Object(verified.fields?))?;
        if line.format != FORMAT {
            return Err(ReadError::BrokenRule("format must be dataembassy/1"));
        }
        if line.custodian_key != verified.signer {
            return Err(ReadError::BrokenRule(
                "embassy.json must be signed by the custodian key that it names",
            ));
        }
        Ok(VerifiedStoreDocument {
            document: Self {
                store_id: line.store_id,
                custodian_key: line.custodian_key,
                at: line.at,
            },
            digest: verified.digest,
        })
    }
}
