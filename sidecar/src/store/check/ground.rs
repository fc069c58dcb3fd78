//! Where probes happen: one registry for checks, its user, and what the probes may be compared against.

use std::sync::atomic::{AtomicU64, Ordering};

use dataembassy_contract::gate::REFUSED_HEADER;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, SegmentNumber, Sequence, Sha256Digest, Term};
use dataembassy_ledger::{ObjectKey, RegistryId};
use jiff::Timestamp;

use super::CheckError;
use super::eyes::Eyes;
use super::signature::{Signer, Signing, escaped};
use super::wire::{Answer, RawRequest, Wire};

/// What an object that a probe attacks holds.
pub(super) const ORIGINAL: &[u8] = b"An object of `store check`; nobody needs it.\n";
/// What a probe tries to put in its place.
pub(super) const FORGED: &[u8] = b"FORGED by `store check`.\n";

/// A store, or the gate before it, as the check's user reaches it.
pub(super) struct Ground {
    pub wire: Wire,
    pub deposit: Signer,
    pub eyes: Eyes,
    pub bucket: String,
    pub registry: RegistryId,
    /// Another registry that is none.
    pub neighbour: RegistryId,
    pub term: Term,
    /// What the bucket's lock configuration was at the beginning, as the store spelled it.
    pub lock_configuration: String,
    copy: CopyId,
    next: AtomicU64,
}

/// An object that was put as it should be, for a probe to attack.
#[derive(Clone, Debug)]
pub(super) struct Victim {
    pub key: ObjectKey,
    pub version: String,
    pub etag: String,
}

/// What one probe has: the ground, an object to attack, and a key that is free.
pub(super) struct Scene<'a> {
    pub ground: &'a Ground,
    pub victim: Victim,
    pub fresh: ObjectKey,
}

/// A request, to be signed.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    signing: Signing,
    /// Whether `Content-Length` is added.
    measured: bool,
}

impl Request {
    pub(super) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            signing: Signing::Body,
            measured: matches!(method, "PUT" | "POST"),
        }
    }

    /// A query that is spelled as a store's own client would.
    pub(super) fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Only if there is nothing yet.
    pub(super) fn if_new(self) -> Self {
        self.header("if-none-match", "*")
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With the checksum that stores demand of settings and of lists of deletions.
    pub(super) fn checksummed(self) -> Self {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let checksum = STANDARD.encode(Sha256Digest::of(&self.body).as_bytes());
        self.header("x-amz-checksum-sha256", checksum)
    }

    pub(super) fn signed(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// Without `Content-Length`.
    pub(super) fn unmeasured(mut self) -> Self {
        self.measured = false;
        self
    }
}

impl Ground {
    pub(super) fn new(
        wire: Wire,
        deposit: Signer,
        eyes: Eyes,
        bucket: String,
        registry: RegistryId,
        term: Term,
        random: [u8; 16],
    ) -> Result<Self, CheckError> {
        // Numbers of this run that no other run has had: a thousand for each tenth of a second of three hundred years.
        let begin = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0) / 100 % 900_000_000;
        let neighbour = if registry.as_str().ends_with('0') {
            '1'
        } else {
            '0'
        };
        let neighbour = format!("{}{neighbour}", &registry.as_str()[..registry.as_str().len() - 1]);
        Ok(Self {
            wire,
            deposit,
            eyes,
            bucket,
            neighbour: neighbour.parse().map_err(CheckError::NoKey)?,
            registry,
            term,
            lock_configuration: String::new(),
            copy: CopyId::from_bytes(random),
            next: AtomicU64::new(1 + begin * 1000),
        })
    }

    /// An entry's key that nobody has used.
    pub(super) fn fresh(&self) -> Result<ObjectKey, CheckError> {
        let sequence = Sequence::new(self.next.fetch_add(1, Ordering::Relaxed)).map_err(CheckError::NoKey)?;
        Ok(ObjectKey::Source {
            registry: self.registry.clone(),
            term: self.term,
            sequence,
        })
    }

    /// A segment's key that nobody has used.
    pub(super) fn fresh_segment(&self) -> Result<ObjectKey, CheckError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % 99_999_999 + 1;
        Ok(ObjectKey::Copy {
            registry: self.registry.clone(),
            copy: self.copy,
            object: CopyObject::Segment(SegmentNumber::new(number).map_err(CheckError::NoKey)?),
        })
    }

    /// The path of an object.
    pub(super) fn path(&self, key: &ObjectKey) -> String {
        format!("/{}/{key}", self.bucket)
    }

    /// The path of the bucket.
    pub(super) fn bucket_path(&self) -> String {
        format!("/{}", self.bucket)
    }

    /// Puts an object as a mirror would.
    pub(super) async fn put(&self, key: &ObjectKey) -> Result<Victim, CheckError> {
        let request = Request::new("PUT", self.path(key)).if_new().body(ORIGINAL);
        let answer = self.send(request).await?.ok_or(CheckError::NoAnswer)?;
        if !answer.is_success() {
            return Err(CheckError::NothingTaken {
                user: self.deposit.name().to_owned(),
                key: key.to_string(),
                status: answer.status,
                code: code(&answer).to_owned(),
            });
        }
        Ok(Victim {
            key: key.clone(),
            version: answer.header("x-amz-version-id").unwrap_or_default().to_owned(),
            etag: answer.header("etag").unwrap_or_default().to_owned(),
        })
    }

    /// Sends a request as the check's user.
    pub(super) async fn send(&self, request: Request) -> Result<Option<Answer>, CheckError> {
        send(&self.wire, &self.deposit, request).await
    }
}

/// Signs and sends a request.
pub(super) async fn send(
    wire: &Wire,
    signer: &Signer,
    request: Request,
) -> Result<Option<Answer>, CheckError> {
    let mut headers = vec![("host", wire.authority())];
    if request.measured {
        headers.push(("content-length", request.body.len().to_string()));
    }
    headers.extend(request.headers);
    let target = if request.query.is_empty() {
        request.path
    } else {
        format!("{}?{}", request.path, request.query)
    };
    let mut raw = RawRequest {
        method: request.method,
        target,
        headers,
        body: request.body,
    };
    signer.sign(&mut raw, &request.signing, &wire.origin(), Timestamp::now())?;
    Ok(wire.send(&raw).await?)
}

/// `prefix=…` of a listing.
pub(super) fn prefix(prefix: &str) -> String {
    format!("prefix={}", escaped(prefix))
}

/// Whether the gate refused. Before a request reaches the gate's rules, its HTTP layer may refuse what is malformed; a store always names
/// its answer.
pub(super) fn is_of_gate(answer: &Answer, through_gate: bool) -> bool {
    through_gate
        && (answer.header(REFUSED_HEADER).is_some()
            || answer.header("x-amz-request-id").is_none() && !answer.is_success())
}

/// What an answer says why.
pub(super) fn code(answer: &Answer) -> &str {
    answer
        .header(REFUSED_HEADER)
        .or_else(|| answer.element("Code"))
        .or_else(|| answer.header("x-minio-error-code"))
        .unwrap_or_default()
}
