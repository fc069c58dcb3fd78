//! Whose credentials a request is signed with, by its `Authorization` header.

use super::Refusal;
use crate::value::RegistryId;

/// What a registry's retrieval user has after the registry's id.
const RETRIEVAL: &str = ".retrieval";

/// A store user that a gate knows: each registry has two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// Puts copies; named like its registry.
    Deposit(RegistryId),
    /// Reads copies back; `<registry>.retrieval`.
    Retrieval(RegistryId),
}

impl User {
    /// The registry that the user belongs to.
    #[must_use]
    pub const fn registry(&self) -> &RegistryId {
        match self {
            Self::Deposit(registry) | Self::Retrieval(registry) => registry,
        }
    }

    /// Whether it is the one that reads copies back.
    #[must_use]
    pub const fn is_retrieval(&self) -> bool {
        matches!(self, Self::Retrieval(_))
    }

    /// Whose a request says it is, for counting what was refused. A claim: only the store can check the signature.
    #[must_use]
    pub fn claimed(authorization: &[u8]) -> Option<Self> {
        std::str::from_utf8(authorization)
            .ok()
            .and_then(|text| Self::signed_by(text).ok())
    }

    /// Reads `AWS4-HMAC-SHA256 Credential=<user>/<day>/<region>/s3/aws4_request, SignedHeaders=…, Signature=…`, strictly: a gate and a
    /// store that read it differently would judge two different users.
    pub(super) fn signed_by(authorization: &str) -> Result<Self, Refusal> {
        let fields = authorization
            .strip_prefix("AWS4-HMAC-SHA256 ")
            .ok_or(Refusal::NotSigned)?;
        let mut fields = fields.split(',').map(str::trim);
        let mut field = |name: &str| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(name)?.strip_prefix('='))
                .ok_or(Refusal::NotSigned)
        };
        let (credential, signed, signature) =
            (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        if fields.next().is_some() || !is_names(signed) || !is_signature(signature) {
            return Err(Refusal::NotSigned);
        }
        let parts: Vec<&str> = credential.split('/').collect();
        let [user, day, region, "s3", "aws4_request"] = parts.as_slice() else {
            return Err(Refusal::NotSigned);
        };
        let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
        let is_region = !region.is_empty()
            && region
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_day || !is_region {
            return Err(Refusal::NotSigned);
        }
        let unknown = |_| Refusal::UnknownUser;
        match user.strip_suffix(RETRIEVAL) {
            Some(registry) => registry.parse().map(Self::Retrieval).map_err(unknown),
            None => user.parse().map(Self::Deposit).map_err(unknown),
        }
    }
}

/// `host;x-amz-date`.
fn is_names(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b';'))
}

fn is_signature(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
