//! Keys: the copy's own, which opens segments and inventory, and those of the people it is sealed to.

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_ledger::Recipient;
use zeroize::Zeroizing;

/// The most bytes of the line inside a copy key.
const MAX_KEY_LINE_BYTES: u64 = 4096;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No recipient was given.
    #[error("no recipient was given: a copy that nobody can open is no copy")]
    NoRecipients,
    /// A recipient is not one that this version can seal to.
    #[error("recipient {recipient} cannot be sealed to: {why}")]
    UnusableRecipient {
        /// The recipient, cut to 20 characters.
        recipient: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An identity file holds no identity.
    #[error("identity file holds no identity: it needs a line that begins with AGE-SECRET-KEY-1")]
    NoIdentities,
    /// A line of an identity file is no identity that this version can use.
    #[error("identity file, line {line}: {why}")]
    UnusableIdentity {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it; never its content.
        why: &'static str,
    },
    /// A copy key is not base64 of an age file.
    #[error("copyKey is not a binary age file in standard base64")]
    MalformedCopyKey,
    /// None of the identities opens the copy key.
    #[error("none of the identities opens this copy: it is sealed to other recipients")]
    NoMatchingIdentity,
    /// The copy key opened, but does not hold exactly one identity.
    #[error("copyKey opened, but does not hold one age identity on one line")]
    WrongCopyKeyContent,
    /// Sealing failed.
    #[error("copyKey cannot be sealed")]
    NotSealed,
}

/// The people's public keys that a copy key is sealed to: at least one.
#[derive(Clone)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Checks that each text is a key that age can seal to; X25519 keys for now.
    pub fn parse<'a>(recipients: impl IntoIterator<Item = &'a Recipient>) -> Result<Self, KeyError> {
        let parsed = recipients
            .into_iter()
            .map(parse_recipient)
            .collect::<Result<Vec<_>, _>>()?;
        if parsed.is_empty() {
            Err(KeyError::NoRecipients)
        } else {
            Ok(Self(parsed))
        }
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.0.iter().map(ToString::to_string))
            .finish()
    }
}

fn parse_recipient(recipient: &Recipient) -> Result<x25519::Recipient, KeyError> {
    let text = recipient.as_str();
    text.parse().map_err(|_| KeyError::UnusableRecipient {
        recipient: text.chars().take(20).collect(),
        // The part after `age1` and before the last `1` is a type; plain keys have none, and the character set of keys has no `1`.
        why: if text.matches('1').count() > 1 {
            "it is of a type that this version cannot seal to; give an X25519 key, as age-keygen makes it"
        } else {
            "it is no age public key: a character is wrong or missing"
        },
    })
}

/// Private keys of people, from an age identity file.
#[derive(Clone)]
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// Reads an identity file as `age-keygen` writes it: one identity a line; empty lines and lines that begin with `#` are skipped.
    pub fn parse(file: &str) -> Result<Self, KeyError> {
        let mut identities = Vec::new();
        for (index, line) in file.lines().enumerate() {
            let text = line.trim_end();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let identity = text.parse();
            identities.push(identity.map_err(|_| KeyError::UnusableIdentity {
                line: index + 1,
                why: why_not(text),
            })?);
        }
        if identities.is_empty() {
            Err(KeyError::NoIdentities)
        } else {
            Ok(Self(identities))
        }
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identities({})", self.0.len())
    }
}

fn why_not(line: &str) -> &'static str {
    if line.starts_with("AGE-PLUGIN-") {
        "it is for a plugin, which this version cannot use; unwrap the copy key with the age program instead"
    } else if line.starts_with("-----BEGIN AGE ENCRYPTED FILE") || line.starts_with("age-encryption.org/") {
        "the identity file is itself encrypted; decrypt it with the age program first"
    } else if line.starts_with("age1") {
        "it is a public key; the private one begins with AGE-SECRET-KEY-1"
    } else if line.starts_with("AGE-SECRET-KEY-") {
        "it is no X25519 identity: of another type, or a character is wrong or missing"
    } else {
        "it is no age identity; one begins with AGE-SECRET-KEY-1"
    }
}

/// The public half of a copy's key: segments and inventory are sealed to it.
#[derive(Clone)]
pub struct CopyRecipient(pub(crate) x25519::Recipient);

impl fmt::Display for CopyRecipient {
    /// As age prints it: `age1…`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for CopyRecipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CopyRecipient({self})")
    }
}

/// A copy's own age identity: made for one copy, sealed to the recipients, then forgotten.
#[derive(Clone)]
pub struct CopyKey(pub(crate) x25519::Identity);

impl CopyKey {
    /// Draws a key from the system's random source.
    #[must_use]
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// The public half.
    #[must_use]
    pub fn recipient(&self) -> CopyRecipient {
        CopyRecipient(self.0.to_public())
    }

    /// Seals the key to people: the text of an entry's `copyKey`.
    pub fn wrap(&self, recipients: &Recipients) -> Result<String, KeyError> {
        let recipients = recipients
            .0
            .iter()
            .map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(|_| KeyError::NotSealed)?;
        let secret = self.0.to_string();
        let line = Zeroizing::new(format!("{}\n", secret.expose_secret()));
        let sealed = (|| {
            let mut writer = encryptor.wrap_output(Vec::new())?;
            writer.write_all(line.as_bytes())?;
            writer.finish()
        })();
        sealed
            .map(|sealed| STANDARD.encode(sealed))
            .map_err(|_| KeyError::NotSealed)
    }

    /// Opens an entry's `copyKey` with people's identities.
    pub fn unwrap(copy_key: &str, identities: &Identities) -> Result<Self, KeyError> {
        let sealed = STANDARD
            .decode(copy_key)
            .map_err(|_| KeyError::MalformedCopyKey)?;
        let decryptor =
            age::Decryptor::new_buffered(sealed.as_slice()).map_err(|_| KeyError::MalformedCopyKey)?;
        let identities = identities.0.iter().map(|identity| identity as &dyn age::Identity);
        let reader = decryptor.decrypt(identities).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => KeyError::NoMatchingIdentity,
            _ => KeyError::MalformedCopyKey,
        })?;
        let mut line = Zeroizing::new(String::with_capacity(128));
        reader
            .take(MAX_KEY_LINE_BYTES)
            .read_to_string(&mut line)
            .map_err(|_| KeyError::WrongCopyKeyContent)?;
        let text = line.strip_suffix('\n').ok_or(KeyError::WrongCopyKeyContent)?;
        text.parse().map(Self).map_err(|_| KeyError::WrongCopyKeyContent)
    }
}

impl FromStr for CopyKey {
    type Err = KeyError;

    /// Takes the identity that somebody unwrapped with the age program: what `copyKey` holds, with or without its LF.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        line.strip_suffix('\n')
            .unwrap_or(line)
            .parse()
            .map(Self)
            .map_err(|_| KeyError::WrongCopyKeyContent)
    }
}

impl fmt::Debug for CopyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CopyKey({})", self.0.to_public())
    }
}
