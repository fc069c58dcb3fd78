//! Why a gate does not let a request through.

/// Why a request may not pass. The [`word`](Refusal::word) is what metrics and reports count it under.
///
/// The last six are not of the grammar: a gate finds them by what else it is busy with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// It has no signature in an `Authorization` header: presigned requests and anonymous ones do not pass.
    #[error("the request is not signed by an Authorization header")]
    NotSigned,
    /// No registry of the gate's has a user of this name.
    #[error("the gate knows no registry of this user")]
    UnknownUser,
    /// The retrieval user may not read now.
    #[error("copies of this registry may not be retrieved through the gate")]
    RetrievalClosed,
    /// The method is not one that passes.
    #[error("the method does not pass")]
    Method,
    /// The path names neither the bucket nor an object that the format knows.
    #[error("the path is neither the bucket nor the key of an object of the format")]
    Target,
    /// The query asks for something that does not pass.
    #[error("the query does not pass")]
    Query,
    /// A header does not pass, comes twice, or is malformed.
    #[error("a header does not pass")]
    Header,
    /// A request that reads has a body.
    #[error("a request that reads has no body")]
    Body,
    /// The place is another registry's, or not this user's.
    #[error("this user has no business there")]
    OtherPlace,
    /// The registry is fenced: nothing may be put.
    #[error("the registry is fenced")]
    Fenced,
    /// The entry is of another term than the current one.
    #[error("the entry is not of the current term")]
    OtherTerm,
    /// It would replace what is there.
    #[error("a put needs If-None-Match: *")]
    Unconditional,
    /// Its body is not bound by the signature.
    #[error("a put needs the SHA-256 of its body in x-amz-content-sha256")]
    NoDigest,
    /// It does not say how long its body is.
    #[error("a put needs a Content-Length")]
    NoLength,
    /// Its body is empty or too long.
    #[error("the body must have 1 to {limit} bytes")]
    Length {
        /// The most bytes of such an object.
        limit: u64,
    },
    /// It is not HTTP/1.1, or not as the standard has it.
    #[error("the request is not a well-formed one of HTTP/1.1")]
    Malformed,
    /// The registry would have more bytes in the store than it may.
    #[error("the registry would exceed its quota of {limit} bytes")]
    Quota {
        /// The most bytes that it may have.
        limit: u64,
    },
    /// The registry puts more than it may in the time.
    #[error("the registry may put {limit} bytes a second, and more is under way: try again later")]
    Rate {
        /// The most bytes a second.
        limit: u64,
    },
    /// The registry commits copies faster than any schedule does.
    #[error("the registry has committed copies faster than any schedule does: try again later")]
    Commits,
    /// Too many requests at once.
    #[error("too many requests are under way: try again later")]
    Busy,
    /// The body comes too slowly.
    #[error("the body came too slowly")]
    Slow,
    /// The body ended before its length was reached.
    #[error("the body ended before its Content-Length")]
    Incomplete,
}

impl Refusal {
    /// Every word and what it says, in the order of the reference.
    pub const MEANINGS: [(&'static str, &'static str); 22] = [
        (
            "NotSigned",
            "It has no signature in an `Authorization` header: presigned and anonymous requests do not pass.",
        ),
        (
            "UnknownUser",
            "No registry of the gate's has a user of this name.",
        ),
        (
            "RetrievalClosed",
            "Copies of the registry may not be read back through the gate.",
        ),
        ("Method", "The method does not pass."),
        (
            "Target",
            "The path is neither the bucket nor the key of an object of the format.",
        ),
        ("Query", "The query asks for something that does not pass."),
        ("Header", "A header does not pass, comes twice, or is malformed."),
        ("Body", "A request that reads has a body."),
        (
            "OtherPlace",
            "The place is another registry's, or not this user's.",
        ),
        ("Fenced", "The registry is fenced: nothing may be put."),
        ("OtherTerm", "The entry is of another term than the current one."),
        (
            "Unconditional",
            "A put would replace what is there: it lacks `If-None-Match: *`.",
        ),
        (
            "NoDigest",
            "The signature does not cover the SHA-256 of the body.",
        ),
        ("NoLength", "A put does not say how long its body is."),
        (
            "Length",
            "The body is empty, or longer than such an object may be.",
        ),
        ("Malformed", "It is not a well-formed request of HTTP/1.1."),
        ("Quota", "The registry would exceed its quota."),
        ("Rate", "The registry puts more than it may in the time."),
        (
            "Commits",
            "The registry commits copies faster than any schedule does.",
        ),
        ("Busy", "Too many requests are under way."),
        ("Slow", "The body came too slowly."),
        ("Incomplete", "The body ended before its `Content-Length`."),
    ];

    /// Every word, in the order of the reference.
    pub const WORDS: [&'static str; 22] = {
        let mut words = [""; 22];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::MEANINGS[at].0;
            at += 1;
        }
        words
    };

    /// Words that a sidecar of ours may meet while it does what it should. Every other one says that somebody tried a door.
    pub const IN_GOOD_FAITH: [&'static str; 7] = [
        "Fenced",
        "OtherTerm",
        "Quota",
        "Rate",
        "Busy",
        "Slow",
        "Incomplete",
    ];

    /// What it is counted under.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotSigned => "NotSigned",
            Self::UnknownUser => "UnknownUser",
            Self::RetrievalClosed => "RetrievalClosed",
            Self::Method => "Method",
            Self::Target => "Target",
            Self::Query => "Query",
            Self::Header => "Header",
            Self::Body => "Body",
            Self::OtherPlace => "OtherPlace",
            Self::Fenced => "Fenced",
            Self::OtherTerm => "OtherTerm",
            Self::Unconditional => "Unconditional",
            Self::NoDigest => "NoDigest",
            Self::NoLength => "NoLength",
            Self::Length { .. } => "Length",
            Self::Malformed => "Malformed",
            Self::Quota { .. } => "Quota",
            Self::Rate { .. } => "Rate",
            Self::Commits => "Commits",
            Self::Busy => "Busy",
            Self::Slow => "Slow",
            Self::Incomplete => "Incomplete",
        }
    }
}
