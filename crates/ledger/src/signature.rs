//! SSH signatures with Ed25519 keys, as `ssh-keygen -Y sign` makes them and `ssh-keygen -Y verify` checks them.
//!
//! A signature is accepted in one spelling only (SHA-512, no reserved bytes, the armor that ssh-keygen prints), so that no byte of a
//! stored object can change without being noticed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, SshSig};

use crate::value::InvalidValue;

/// What a key signs for. A key has one role; the role is the signature's namespace, so a signature for one never counts for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `embassy.json` and trust sheets.
    Store,
    /// The source chain of a registry.
    Source,
    /// The custody chain of a registry.
    Custody,
    /// Approvals of an activation.
    Activation,
}

impl Role {
    /// The SSHSIG namespace, for `ssh-keygen -Y verify -n`.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Store => "dataembassy-store-v1",
            Self::Source => "dataembassy-source-v1",
            Self::Custody => "dataembassy-custody-v1",
            Self::Activation => "dataembassy-activation-v1",
        }
    }
}

/// An Ed25519 public key; as text `ssh-ed25519 AAAA…`.
///
/// `FromStr` lets a comment follow, as people paste it from a `.pub` file; `serde` does not, as entries carry none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; Ed25519PublicKey::BYTE_SIZE]);

const PUBLIC_KEY_RULE: InvalidValue = InvalidValue::new(
    "public key",
    "it must be an Ed25519 key in OpenSSH form: 'ssh-ed25519 AAAA…'",
);

impl FromStr for PublicKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let key = ssh_key::PublicKey::from_openssh(text.trim_end()).map_err(|_| PUBLIC_KEY_RULE)?;
        Self::from_key_data(key.key_data()).ok_or(PUBLIC_KEY_RULE)
    }
}

impl PublicKey {
    fn from_key_data(data: &KeyData) -> Option<Self> {
        match data {
            KeyData::Ed25519(key) => Some(Self(key.0)),
            _ => None,
        }
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let key: Self = text.parse()?;
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(PUBLIC_KEY_RULE)
        }
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = ssh_key::PublicKey::from(Ed25519PublicKey(self.0));
        formatter.write_str(&key.to_openssh().map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

/// An Ed25519 private key that signs. Its `Debug` shows the public half only; its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    private: PrivateKey,
    public: PublicKey,
}

/// Why a private key cannot be used, or why signing failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// It is not a private key in OpenSSH form.
    #[error(
        "signing key cannot be read: give an Ed25519 private key in OpenSSH form, as 'ssh-keygen -t ed25519 -N \"\"' makes it"
    )]
    UnreadableKey,
    /// It is protected by a passphrase.
    #[error(
        "signing key has a passphrase: give one without ('ssh-keygen -p -N \"\"'), because nobody is there to type it"
    )]
    EncryptedKey,
    /// It is not Ed25519.
    #[error("signing key is of type {0}: give an Ed25519 key ('ssh-keygen -t ed25519')")]
    UnsupportedAlgorithm(String),
    /// The signature could not be made.
    #[error("signature cannot be made")]
    NotSigned,
}

impl SigningKey {
    /// Makes a key of 32 bytes, which the caller draws from the system's random source and then wipes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519Keypair::from_seed(seed);
        let public = PublicKey(pair.public.0);
        Self {
            private: PrivateKey::from(pair),
            public,
        }
    }

    /// Reads an unencrypted OpenSSH private key (`-----BEGIN OPENSSH PRIVATE KEY-----`).
    pub fn from_openssh(text: &str) -> Result<Self, SigningError> {
        let private = PrivateKey::from_openssh(text).map_err(|_| SigningError::UnreadableKey)?;
        if private.is_encrypted() {
            return Err(SigningError::EncryptedKey);
        }
        match private.key_data() {
            KeypairData::Ed25519(pair) => {
                let public = PublicKey(pair.public.0);
                Ok(Self { private, public })
            }
            _ => Err(SigningError::UnsupportedAlgorithm(
                private.algorithm().to_string(),
            )),
        }
    }

    /// The key as an OpenSSH private key file, in memory that is wiped when dropped.
    pub fn to_openssh(&self) -> Result<zeroize::Zeroizing<String>, SigningError> {
        self.private
            .to_openssh(LineEnding::LF)
            .map_err(|_| SigningError::NotSigned)
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Signs `message` for a role. Returns the armored signature with its final LF.
    pub fn sign(&self, role: Role, message: &[u8]) -> Result<String, SigningError> {
        let signature = self
            .private
            .sign(role.namespace(), HashAlg::Sha512, message)
            .map_err(|_| SigningError::NotSigned)?;
        armor(&signature).ok_or(SigningError::NotSigned)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public)
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not one armored SSH signature with the final LF.
    #[error("signature is not an armored SSH signature as ssh-keygen prints it")]
    Malformed,
    /// It was made for another role.
    #[error("signature is for namespace {found:?}, not for {expected:?}")]
    WrongNamespace {
        /// The namespace of the role asked for.
        expected: &'static str,
        /// The signature's namespace, cut to 64 characters.
        found: String,
    },
    /// Its key is not Ed25519 or its hash not SHA-512.
    #[error("signature must be made with an Ed25519 key and SHA-512")]
    UnsupportedAlgorithm,
    /// It does not belong to these bytes.
    #[error("signature does not match the signed bytes: they were changed, or it belongs to something else")]
    Mismatch,
}

/// Checks an armored signature over `message` for a role and says who made it. Whether that key may sign is the caller's question.
pub fn verify(role: Role, message: &[u8], armored: &[u8]) -> Result<PublicKey, SignatureError> {
    let signature = SshSig::from_pem(armored).map_err(|_| SignatureError::Malformed)?;
    if armor(&signature).is_none_or(|canonical| canonical.as_bytes() != armored) {
        return Err(SignatureError::Malformed);
    }
    if signature.namespace() != role.namespace() {
        return Err(SignatureError::WrongNamespace {
            expected: role.namespace(),
            found: signature.namespace().chars().take(64).collect(),
        });
    }
    let supported = signature.hash_alg() == HashAlg::Sha512
        && signature.reserved().is_empty()
        && signature.version() == SshSig::VERSION;
    let signer = PublicKey::from_key_data(signature.public_key()).filter(|_| supported);
    let signer = signer.ok_or(SignatureError::UnsupportedAlgorithm)?;
    ssh_key::PublicKey::from(Ed25519PublicKey(signer.0))
        .verify(role.namespace(), message, &signature)
        .map_err(|_| SignatureError::Mismatch)?;
    Ok(signer)
}

fn armor(signature: &SshSig) -> Option<String> {
    let mut text = signature.to_pem(LineEnding::LF).ok()?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Some(text)
}
