//! Which requests a gate lets through to the store.
//!
//! A store that speaks S3 has more ways to touch an object than `PutObject`: form posts, copies, multipart uploads, unpacking on the
//! server, headers for replication. No policy forbids them all, so home reaches the store only through a gate, and the gate lets
//! through what is named here: what is not is refused, whatever a store might make of it. The gate neither holds keys nor checks
//! signatures; the store does, of the very bytes that were judged here.

mod credential;
mod query;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};

pub use credential::User;
pub use refusal::Refusal;

use crate::key::{CopyObject, ObjectKey};
use crate::manifest::{MAX_PART_BYTES, MAX_SEGMENT_BYTES};
use crate::signed_line::MAX_OBJECT_BYTES;
use crate::value::{RegistryId, Term};
use query::Query;

/// The longest request target, in bytes.
const MAX_TARGET_LENGTH: usize = 4096;
/// The longest value of a header, in bytes.
const MAX_HEADER_LENGTH: usize = 2048;
/// The most bytes of all names and values of a request's headers.
pub const MAX_HEADERS_LENGTH: usize = 8192;
/// The most headers of a request.
pub const MAX_HEADERS: usize = 32;
/// What a put says its body is. A store might take a form for something else than the object's bytes.
const CONTENT_TYPE: &str = "application/octet-stream";
/// What the digest of a read may be, beside one.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Headers that any request may have.
const HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "connection",
    "content-length",
    "host",
    "user-agent",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-user-agent",
];
/// Headers that a put may have beside those.
const PUT_HEADERS: &[&str] = &[
    "content-md5",
    "content-type",
    "expect",
    "if-none-match",
    "x-amz-checksum-sha256",
    "x-amz-sdk-checksum-algorithm",
];

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, such as `PUT`.
    pub method: &'a str,
    /// Path and query, not decoded.
    pub target: &'a str,
    /// Names in lower case, and values.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// What the gate knows of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The term in which home may write.
    pub term: Term,
    /// Whether nothing may be put; reads go on.
    pub fenced: bool,
    /// Whether home may read its copies back.
    pub home_may_retrieve: bool,
}

/// The gate's rules: the store's bucket, and each registry that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The bucket.
    pub bucket: String,
    /// What it knows of each registry.
    pub lanes: BTreeMap<RegistryId, Lane>,
}

/// A request that may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whose credentials it is signed with.
    pub user: User,
    /// What it does.
    pub action: Action,
}

/// What a request that may pass does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks about the bucket itself.
    Look,
    /// Lists keys or versions of the registry.
    List,
    /// Reads an object, or only its head.
    Read(ObjectKey),
    /// Puts a new object.
    Put {
        /// Under this key.
        key: ObjectKey,
        /// This many bytes.
        length: u64,
    },
}

impl Rules {
    /// Judges a request: what it does if it may pass, and why not otherwise.
    ///
    /// Whose it is is found out first, so that a [`Refusal`] can be counted for a registry: see [`User::claimed`].
    pub fn judge(&self, request: &Request<'_>) -> Result<Passage, Refusal> {
        let headers = Headers::read(&request.headers)?;
        headers.host()?;
        let user = User::signed_by(headers.get("authorization").ok_or(Refusal::NotSigned)?)?;
        let lane = self.lanes.get(user.registry()).ok_or(Refusal::UnknownUser)?;
        if user.is_retrieval() && !lane.home_may_retrieve {
            return Err(Refusal::RetrievalClosed);
        }
        let (path, query) = target(request.target)?;
        let action = match self.object(path)? {
            None => self::bucket(request.method, &query, &user)?,
            Some(key) => object(request.method, key, &query, &user, lane, &headers)?,
        };
        let is_put = matches!(action, Action::Put { .. });
        headers.only(if is_put { PUT_HEADERS } else { &[] })?;
        if !is_put {
            let digest = headers.get("x-amz-content-sha256").unwrap_or(UNSIGNED);
            if digest != UNSIGNED && !is_digest(digest) {
                return Err(Refusal::Header);
            }
            if headers.get("content-length").is_some_and(|length| length != "0") {
                return Err(Refusal::Body);
            }
        }
        Ok(Passage { user, action })
    }

    /// The object that a path names; none if it names the bucket.
    fn object(&self, path: &str) -> Result<Option<ObjectKey>, Refusal> {
        let rest = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(self.bucket.as_str()))
            .ok_or(Refusal::Target)?;
        match rest.strip_prefix('/') {
            None if rest.is_empty() => Ok(None),
            Some("") => Ok(None),
            Some(key) => key.parse().map(Some).map_err(|_| Refusal::Target),
            None => Err(Refusal::Target),
        }
    }
}

/// Path and query of a target. Keys need no escapes, so a path has none: what a store would decode, nobody can hide.
fn target(target: &str) -> Result<(&str, Query<'_>), Refusal> {
    if target.len() > MAX_TARGET_LENGTH {
        return Err(Refusal::Target);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-');
    if !path.bytes().all(plain) {
        return Err(Refusal::Target);
    }
    Ok((path, Query::parse(query)?))
}

fn bucket(method: &str, query: &Query<'_>, user: &User) -> Result<Action, Refusal> {
    match method {
        "HEAD" => {
            query.only(&[])?;
            Ok(Action::Look)
        }
        "GET" if query.has("list-type") => {
            query.only(&[
                "list-type",
                "prefix",
                "start-after",
                "continuation-token",
                "max-keys",
                "encoding-type",
            ])?;
            if query.get("list-type") != Some("2") {
                return Err(Refusal::Query);
            }
            listed(query, user)
        }
        "GET" if query.has("versions") => {
            query.only(&[
                "versions",
                "prefix",
                "key-marker",
                "version-id-marker",
                "max-keys",
                "encoding-type",
            ])?;
            listed(query, user)
        }
        "GET" => {
            let asked = ["versioning", "object-lock", "location"]
                .into_iter()
                .find(|name| query.get(name) == Some(""));
            query.only(&[asked.ok_or(Refusal::Query)?])?;
            Ok(Action::Look)
        }
        _ => Err(Refusal::Method),
    }
}

/// A listing must stay within what its user may know of, and so must where it goes on from.
fn listed(query: &Query<'_>, user: &User) -> Result<Action, Refusal> {
    let registry = user.registry();
    let places = if user.is_retrieval() {
        vec![ObjectKey::registry_prefix(registry)]
    } else {
        vec![
            ObjectKey::source_prefix(registry),
            ObjectKey::custody_prefix(registry),
        ]
    };
    let within = |text: &str| {
        places
            .iter()
            .any(|place| text.strip_prefix(place.as_str()).is_some_and(is_of_keys))
    };
    query.get("prefix").ok_or(Refusal::Query)?;
    let marks = ["prefix", "key-marker", "start-after"];
    let given = marks.iter().filter_map(|name| query.get(name));
    // A store on a file system may know `..`, so a mark is made of what keys are made of.
    if given.into_iter().all(within) {
        Ok(Action::List)
    } else {
        Err(Refusal::OtherPlace)
    }
}

/// Whether a text may be a part of keys, from any place in one on.
fn is_of_keys(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'/');
    text.bytes().all(plain)
        && !text.starts_with(['.', '/'])
        && !["..", "//", "/.", "./"].iter().any(|odd| text.contains(odd))
}

fn object(
    method: &str,
    key: ObjectKey,
    query: &Query<'_>,
    user: &User,
    lane: &Lane,
    headers: &Headers<'_>,
) -> Result<Action, Refusal> {
    if key.registry().is_some_and(|registry| registry != user.registry()) {
        return Err(Refusal::OtherPlace);
    }
    match method {
        "GET" | "HEAD" => {
            query.only(&["versionId", "x-id"])?;
            read(key, query, user)
        }
        "PUT" => {
            query.only(&["x-id"])?;
            put(key, user, lane, headers)
        }
        _ => Err(Refusal::Method),
    }
}

fn read(key: ObjectKey, query: &Query<'_>, user: &User) -> Result<Action, Refusal> {
    // A store may look for a version at a path, and then `..` would lead elsewhere.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_version = |id: &str| !id.is_empty() && id.bytes().all(plain) && !id.contains("..") && id != ".";
    if !query.get("versionId").is_none_or(is_version) {
        return Err(Refusal::Query);
    }
    match &key {
        ObjectKey::Embassy | ObjectKey::Source { .. } | ObjectKey::Custody { .. } => Ok(Action::Read(key)),
        ObjectKey::Copy { .. } if user.is_retrieval() && query.has("versionId") => Ok(Action::Read(key)),
        ObjectKey::Copy { .. } if user.is_retrieval() => Err(Refusal::Query),
        ObjectKey::Copy { .. } | ObjectKey::Report { .. } => Err(Refusal::OtherPlace),
    }
}

fn put(key: ObjectKey, user: &User, lane: &Lane, headers: &Headers<'_>) -> Result<Action, Refusal> {
    if user.is_retrieval() {
        return Err(Refusal::OtherPlace);
    }
    let limit = match &key {
        ObjectKey::Source { .. } => MAX_OBJECT_BYTES as u64,
        ObjectKey::Copy { object, .. } => match object {
            CopyObject::Manifest(_) | CopyObject::Inventory(_) => MAX_PART_BYTES as u64,
            CopyObject::Segment(_) => MAX_SEGMENT_BYTES,
        },
        ObjectKey::Embassy | ObjectKey::Custody { .. } | ObjectKey::Report { .. } => {
            return Err(Refusal::OtherPlace);
        }
    };
    if lane.fenced {
        return Err(Refusal::Fenced);
    }
    if let ObjectKey::Source { term, .. } = &key
        && *term != lane.term
    {
        return Err(Refusal::OtherTerm);
    }
    if headers.get("if-none-match") != Some("*") {
        return Err(Refusal::Unconditional);
    }
    // The signature covers this digest, and the store compares it with the body: a body in signed chunks has none.
    if !headers.get("x-amz-content-sha256").is_some_and(is_digest) {
        return Err(Refusal::NoDigest);
    }
    if headers
        .get("content-type")
        .is_some_and(|kind| kind != CONTENT_TYPE)
    {
        return Err(Refusal::Header);
    }
    let length = headers
        .get("content-length")
        .and_then(length)
        .ok_or(Refusal::NoLength)?;
    if length == 0 || length > limit {
        return Err(Refusal::Length { limit });
    }
    Ok(Action::Put { key, length })
}

/// Whether a text is a SHA-256 in hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A length as everybody reads it: not `+5`, which `parse` would take, and not `05`.
fn length(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Headers, each once and of printable ASCII.
struct Headers<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Headers<'a> {
    fn read(headers: &[(&'a str, &'a [u8])]) -> Result<Self, Refusal> {
        let mut read = BTreeMap::new();
        let length: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if headers.len() > MAX_HEADERS || length > MAX_HEADERS_LENGTH {
            return Err(Refusal::Header);
        }
        for (name, value) in headers {
            let value = std::str::from_utf8(value).map_err(|_| Refusal::Header)?;
            let printable = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            if !printable || value.len() > MAX_HEADER_LENGTH || read.insert(*name, value).is_some() {
                return Err(Refusal::Header);
            }
        }
        Ok(Self(read))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// There must be a host, a name or an address with or without a port. Whose it is does not matter here: the store takes it as the
    /// client has signed it.
    fn host(&self) -> Result<(), Refusal> {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
        match self.get("host") {
            Some(host) if !host.is_empty() && host.bytes().all(plain) => Ok(()),
            _ => Err(Refusal::Header),
        }
    }

    /// Refuses what is neither among the common headers nor among `more`, and what would make the next hop see other headers.
    fn only(&self, more: &[&str]) -> Result<(), Refusal> {
        let known: BTreeSet<_> = HEADERS.iter().chain(more).collect();
        let fixed = |name, values: &[&str]| {
            self.get(name)
                .is_none_or(|value| values.iter().any(|known| value.eq_ignore_ascii_case(known)))
        };
        let plain = fixed("connection", &["keep-alive", "close"]) && fixed("expect", &["100-continue"]);
        if plain && self.0.keys().all(|name| known.contains(name)) {
            Ok(())
        } else {
            Err(Refusal::Header)
        }
    }
}
