//! What can go wrong between us and a store, in the words of who must mend it.

use std::error::Error as _;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use dataembassy_contract::Reason;
use dataembassy_contract::endpoint::InvalidEndpoint;
use dataembassy_contract::gate::REFUSED_HEADER;
use dataembassy_contract::sovereignty::NotSovereign;
use dataembassy_ledger::door::Refusal;

/// Why a request to the store did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The endpoint is not one.
    #[error(transparent)]
    InvalidEndpoint(#[from] InvalidEndpoint),
    /// The endpoint, or an address it leads to, is where copies must not go.
    #[error(transparent)]
    NotSovereign(#[from] NotSovereign),
    /// The endpoint's name leads to where copies must not go.
    #[error("the store at {endpoint} leads astray: {refused}")]
    LeadsAstray {
        /// The endpoint.
        endpoint: String,
        /// Why its address is refused.
        refused: NotSovereign,
    },
    /// The CA bundle cannot be read.
    #[error("the store's CA bundle cannot be read: put the certificates of its authority there, in PEM form")]
    CaBundleInvalid,
    /// No connection, or none any more.
    #[error(
        "the store at {endpoint} cannot be reached ({cause}): check endpoint, network policies and the store"
    )]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// What the network said.
        cause: String,
    },
    /// It answered, began to send an object, and ended the connection before the end.
    #[error(
        "the store at {endpoint} is there, and broke {target} off after {received} of {size} bytes ({cause}): if that happens again, it \
         cannot read the rest; look into its log and at its disks, and at proxies on the way"
    )]
    BrokenOff {
        /// The endpoint.
        endpoint: String,
        /// The key.
        target: String,
        /// How many bytes have come.
        received: u64,
        /// How many were announced.
        size: u64,
        /// What the network said.
        cause: String,
    },
    /// No TLS connection that can be trusted.
    #[error(
        "no trusted TLS connection to the store at {endpoint} ({cause}): check its certificate against the caBundle of the DataEmbassy"
    )]
    TlsFailed {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with the certificate or the handshake.
        cause: String,
    },
    /// It accepted the request and did not answer in time: whether it did what it was asked is not known.
    #[error("the store at {endpoint} did not answer to {operation} within {seconds} s")]
    NoAnswer {
        /// The endpoint.
        endpoint: String,
        /// The request.
        operation: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// The access key is unknown or the secret is wrong.
    #[error(
        "the store refused the credentials ({code}): correct accessKeyId and secretAccessKey in the Secret that holds this store user's keys"
    )]
    CredentialsRefused {
        /// The store's own code.
        code: String,
    },
    /// The user exists and may not do this.
    #[error(
        "the store denied {operation} on {target}: compare the user's policy with the template, and check that bucket '{bucket}' exists"
    )]
    AccessDenied {
        /// The request.
        operation: &'static str,
        /// The key or prefix.
        target: String,
        /// The bucket.
        bucket: String,
    },
    /// The gate before the store did not let the request pass.
    #[error("the gate refused {operation} on {target} ({word}): {message}")]
    GateRefused {
        /// The request.
        operation: &'static str,
        /// The key or prefix.
        target: String,
        /// The word of the refusal.
        word: String,
        /// What it means to us.
        kind: GateRefusal,
        /// The gate's own words, cut.
        message: String,
    },
    /// There is no such bucket.
    #[error("the store has no bucket '{bucket}': correct the name, or make the bucket and run `store init`")]
    BucketMissing {
        /// The bucket.
        bucket: String,
    },
    /// The bucket keeps no versions.
    #[error("bucket '{bucket}' has versioning {state}: switch it on; copies must not be overwritten")]
    NoVersioning {
        /// The bucket.
        bucket: String,
        /// What the store says.
        state: String,
    },
    /// The bucket does not lock new objects as the embassy demands.
    #[error(
        "bucket '{bucket}' does not lock new objects as demanded: {found}, but {demanded} is needed as default retention"
    )]
    NoObjectLock {
        /// The bucket.
        bucket: String,
        /// What it has.
        found: String,
        /// What it needs.
        demanded: String,
    },
    /// The object is not there.
    #[error("the store has no object {target}")]
    ObjectMissing {
        /// The key.
        target: String,
    },
    /// The object is larger than it may be.
    #[error("object {target} is larger than the {limit} bytes that it may have")]
    ObjectTooLarge {
        /// The key.
        target: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The store gave no version id although it must.
    #[error("the store gave {target} no version id: versioning must be on, and the store must support it")]
    VersionMissing {
        /// The key.
        target: String,
    },
    /// Our clock and the store's differ too much for signatures or for the ledger's times.
    #[error(
        "our clock and the store's differ by {seconds} s, more than the {limit} s allowed: set the clocks"
    )]
    ClockSkewed {
        /// How much, absolute.
        seconds: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// It takes no more data.
    #[error("the store takes no more data ({code}): add space, or raise the quota")]
    Full {
        /// The store's own code.
        code: String,
    },
    /// Any other answer that is an error.
    #[error("the store answered {status} to {operation} ({code}): {message}")]
    Failed {
        /// The request.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// The store's own code.
        code: String,
        /// The store's own words, cut.
        message: String,
    },
    /// The answer, or the request, is not S3.
    #[error("the store's answer to {operation} cannot be understood ({cause}): is it an S3 endpoint?")]
    NotUnderstood {
        /// The request.
        operation: &'static str,
        /// Why.
        cause: String,
    },
}

/// What a refusal of the gate's means to who was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRefusal {
    /// The registry is fenced.
    Fenced,
    /// Its quota is used up.
    Quota,
    /// It was too much at once, or too slow.
    ForNow,
    /// It may not do this.
    ForGood,
}

impl GateRefusal {
    fn of(word: &str) -> Self {
        match word {
            "Fenced" => Self::Fenced,
            "Quota" => Self::Quota,
            "Rate" | "Commits" | "Busy" | "Slow" | "Incomplete" => Self::ForNow,
            _ => Self::ForGood,
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Fenced => Reason::Fenced,
            Self::Quota => Reason::QuotaExceeded,
            Self::ForNow | Self::ForGood => Reason::GateRefused,
        }
    }
}

impl StoreError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::GateRefused { kind, .. } => kind.reason(),
            Self::InvalidEndpoint(error) => error.reason(),
            Self::NotSovereign(error) | Self::LeadsAstray { refused: error, .. } => error.reason(),
            Self::CaBundleInvalid => Reason::InvalidCaBundle,
            Self::Unreachable { .. } | Self::BrokenOff { .. } | Self::NoAnswer { .. } => {
                Reason::StoreUnreachable
            }
            Self::TlsFailed { .. } => Reason::StoreTlsFailed,
            Self::CredentialsRefused { .. } => Reason::StoreCredentialsRefused,
            Self::AccessDenied { .. } => Reason::StoreAccessDenied,
            Self::BucketMissing { .. } => Reason::BucketMissing,
            Self::NoVersioning { .. } | Self::VersionMissing { .. } => Reason::NoVersioning,
            Self::NoObjectLock { .. } => Reason::NoObjectLock,
            Self::ClockSkewed { .. } => Reason::ClockSkewed,
            Self::Full { .. } => Reason::StoreFull,
            Self::ObjectMissing { .. }
            | Self::ObjectTooLarge { .. }
            | Self::Failed { .. }
            | Self::NotUnderstood { .. } => Reason::StoreFailed,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::GateRefused { kind, .. } => !matches!(kind, GateRefusal::ForNow),
            Self::Unreachable { .. }
            | Self::BrokenOff { .. }
            | Self::NoAnswer { .. }
            | Self::NotUnderstood { .. } => false,
            Self::Failed { status, .. } => !is_transient(*status),
            _ => true,
        }
    }

    /// Whether the line may be too slow for what is sent over it at once.
    #[must_use]
    pub fn may_be_a_slow_line(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::GateRefused { word, .. } => word == Refusal::Slow.word(),
            _ => false,
        }
    }
}

/// A server's own trouble, throttling, and a conflict with a request in flight pass by themselves.
const fn is_transient(status: u16) -> bool {
    status >= 500 || matches!(status, 408 | 409 | 429)
}

/// A server's words without what could fool a terminal, cut.
pub(super) fn plain(message: &str) -> String {
    message
        .chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect()
}

/// What a failed request was about, for its message.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) operation: &'static str,
    pub(super) target: &'a str,
    pub(super) bucket: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) patience: std::time::Duration,
}

impl Attempt<'_> {
    pub(super) fn no_answer(&self) -> StoreError {
        StoreError::NoAnswer {
            endpoint: self.endpoint.to_owned(),
            operation: self.operation,
            seconds: self.patience.as_secs(),
        }
    }

    /// Says what the S3 client's error means.
    pub(super) fn explain<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if let Some(answer) = error.raw_response()
            && let Some(word) = answer.headers().get(REFUSED_HEADER)
        {
            return self.refused(word, error.message().unwrap_or_default());
        }
        match error {
            SdkError::ServiceError(answer) => self.explain_answer(
                answer.raw().status().as_u16(),
                answer.err().code().unwrap_or_default(),
                answer.err().message().unwrap_or_default(),
            ),
            SdkError::ResponseError(answer) if answer.raw().status().as_u16() >= 400 => {
                self.explain_answer(answer.raw().status().as_u16(), "", "")
            }
            SdkError::TimeoutError(_) => self.no_answer(),
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(cause) => self.explain_connection(cause),
                None => self.unreachable("the request could not be sent".into()),
            },
            other => {
                let cause = other
                    .source()
                    .map_or_else(|| other.to_string(), ToString::to_string);
                StoreError::NotUnderstood {
                    operation: self.operation,
                    cause: plain(&cause),
                }
            }
        }
    }

    /// A refusal of the gate's, which any server could claim: its words are kept short.
    fn refused(&self, word: &str, message: &str) -> StoreError {
        StoreError::GateRefused {
            operation: self.operation,
            target: self.target.to_owned(),
            kind: GateRefusal::of(word),
            word: word
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(32)
                .collect(),
            message: plain(message),
        }
    }

    fn explain_connection(&self, error: &(dyn std::error::Error + 'static)) -> StoreError {
        let mut innermost = error.to_string();
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(refused) = cause.downcast_ref::<NotSovereign>() {
                return StoreError::LeadsAstray {
                    endpoint: self.endpoint.to_owned(),
                    refused: refused.clone(),
                };
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return StoreError::TlsFailed {
                    endpoint: self.endpoint.to_owned(),
                    cause: tls.to_string(),
                };
            }
            innermost = cause.to_string();
            // An io::Error hides what it wraps from `source`.
            next = match cause
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref)
            {
                Some(inner) => Some(inner),
                None => cause.source(),
            };
        }
        self.unreachable(innermost)
    }

    fn unreachable(&self, cause: String) -> StoreError {
        StoreError::Unreachable {
            endpoint: self.endpoint.to_owned(),
            cause,
        }
    }

    fn explain_answer(&self, status: u16, code: &str, message: &str) -> StoreError {
        let bucket = self.bucket.to_owned();
        let told = plain(code);
        match (code, status) {
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken", _) => {
                StoreError::CredentialsRefused { code: told }
            }
            ("RequestTimeTooSkewed", _) => StoreError::ClockSkewed {
                seconds: 900,
                limit: 900,
            },
            ("NoSuchBucket", _) => StoreError::BucketMissing { bucket },
            ("NoSuchKey" | "NoSuchVersion", _) => StoreError::ObjectMissing {
                target: self.target.to_owned(),
            },
            ("ObjectLockConfigurationNotFoundError", _) => StoreError::NoObjectLock {
                bucket,
                found: "it has no Object Lock".into(),
                demanded: "Object Lock".into(),
            },
            ("XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => {
                StoreError::Full { code: told }
            }
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | ("", 401 | 403) => {
                StoreError::AccessDenied {
                    operation: self.operation,
                    target: self.target.to_owned(),
                    bucket,
                }
            }
            _ => StoreError::Failed {
                operation: self.operation,
                status,
                code: told,
                message: plain(message),
            },
        }
    }
}
