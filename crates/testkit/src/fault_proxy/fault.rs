//! What can be done to a request, and the named toxics that are made of it at a seeded place.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use jiff::Timestamp;

use crate::seed::Dice;

type Hook = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the proxy does to a request.
#[derive(Clone)]
pub enum Fault {
    /// Passes the request on and cuts the connection instead of answering: the store has done what it was asked.
    LoseReply,
    /// Passes the request on and keeps the answer to itself, until the client is gone: the store has done what it was asked.
    WithholdReply,
    /// Passes the request on, and cuts the connection in the middle of the answer's body.
    BreakOff,
    /// Passes half of the body on, and then nothing until the client is gone.
    StallMidway,
    /// Answers with this status without passing the request on.
    Answer(StatusCode),
    /// Cuts the connection without passing the request on.
    Refuse,
    /// Passes nothing on and never answers.
    Stall,
    /// Passes the request on, and moves the date of the answer by so many seconds: a store whose clock is ahead, or behind.
    ShiftClock(i64),
    /// Does something first, such as another writer's put, and then passes the request on.
    Before(Hook),
    /// Passes the request on after this time.
    Delay(Duration),
    /// Passes bodies on at so many bytes a second.
    Pace(u64),
    /// Passes so many bytes of the request's body and of the answer's on, and then nothing until the client is gone.
    StallAfter(u64),
    /// Passes so many bytes of the request's body and of the answer's on, and then cuts both connections.
    ResetAfter(u64),
    /// Answers with a status and the store's own words for it, without passing the request on.
    Say {
        /// The status.
        status: StatusCode,
        /// The code of the `<Error>`.
        code: &'static str,
        /// What `Retry-After` says, in seconds.
        retry_after: Option<u64>,
    },
    /// Answers `200` with these words, without passing the request on.
    Retell(&'static str),
    /// Answers with this status and these words, without passing the request on.
    Tell(StatusCode, Bytes),
    /// Reads the body of a put and says that it is stored, without passing the request on: a store that keeps nothing.
    Swallow,
    /// Passes the request on, and tells of another checksum than that of the answer; what is put is said not to fit its own.
    WrongChecksum,
    /// Passes the request on, and an answer without the end of its body, as if that were all.
    Truncate(u64),
    /// Passes the request on, and an answer with one bit of its body turned round.
    Flip(u64),
    /// Lists what there was at a moment.
    ListAsOf(Timestamp),
    /// Leaves the last key out of each listing, and has no object under any key.
    Hide,
    /// Answers with what another object of the same folder was, where one was read before.
    Older,
    /// Passes the request on, and an answer that never ends.
    Endless,
    /// Lists, and says each time that there is more: the same once again.
    EndlessList,
}

impl Fault {
    /// What a MinIO says that has no room left. Only puts are to meet it.
    #[must_use]
    pub const fn full() -> Self {
        Self::Say {
            status: StatusCode::INSUFFICIENT_STORAGE,
            code: "XMinioStorageFull",
            retry_after: None,
        }
    }

    /// A fault that does `action` first and then passes the request on.
    pub fn before<F>(action: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::Before(Arc::new(move || Box::pin(action())))
    }
}

/// What can be wrong with a store, or with the way to it, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Toxic {
    /// Each request takes a while.
    Latency,
    /// Bodies pass slowly.
    Bandwidth,
    /// After some bytes nothing comes any more.
    StallAfterBytes,
    /// After some bytes the connection is cut.
    ResetAfterBytes,
    /// The store does what it was asked, and its answer is lost.
    CommitThenLoseReply,
    /// `503` with `Retry-After`.
    SlowDown,
    /// `500`.
    InternalError,
    /// `403`.
    Forbidden,
    /// The store finds our clock wrong.
    ClockSkewError,
    /// `200` with an `<Error>` as its body.
    ErrorInOk,
    /// A checksum that does not fit.
    WrongChecksum,
    /// A body without its end.
    TruncatedBody,
    /// One bit of a body.
    FlippedBit,
    /// Listings of the past.
    StaleList,
    /// A key that is there and not shown.
    HiddenKey,
    /// Another object's bytes, older ones.
    OlderVersion,
    /// A body without an end.
    EndlessBody,
    /// Listings without an end.
    EndlessList,
    /// A `Date` of another hour.
    RewrittenDate,
    /// The store has no room left: it is read as ever, and takes nothing.
    StoreFull,
}

impl Toxic {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Latency,
        Self::Bandwidth,
        Self::StallAfterBytes,
        Self::ResetAfterBytes,
        Self::CommitThenLoseReply,
        Self::SlowDown,
        Self::InternalError,
        Self::Forbidden,
        Self::ClockSkewError,
        Self::ErrorInOk,
        Self::WrongChecksum,
        Self::TruncatedBody,
        Self::FlippedBit,
        Self::StaleList,
        Self::HiddenKey,
        Self::OlderVersion,
        Self::EndlessBody,
        Self::EndlessList,
        Self::RewrittenDate,
        Self::StoreFull,
    ];

    /// Whether what is asked comes right all the same, only later or beside something odd.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Latency | Self::Bandwidth)
    }

    /// Whether it meets requests of this method.
    #[must_use]
    pub fn meets(self, method: &Method) -> bool {
        self != Self::StoreFull || *method == Method::PUT
    }

    /// Whether it lies of what there is for as long as it lasts, and not once.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::Latency
                | Self::Bandwidth
                | Self::StaleList
                | Self::HiddenKey
                | Self::OlderVersion
                | Self::EndlessList
                | Self::RewrittenDate
        )
    }

    /// The toxic, as strong as the dice say. A stale list is one of now.
    #[must_use]
    pub fn fault(self, dice: &mut Dice) -> Fault {
        let say = |status, code, retry_after| Fault::Say {
            status,
            code,
            retry_after,
        };
        match self {
            Self::Latency => Fault::Delay(Duration::from_millis(20 + dice.below(200))),
            Self::Bandwidth => Fault::Pace(32 * 1024 + dice.below(512 * 1024)),
            Self::StallAfterBytes => Fault::StallAfter(dice.below(4_000)),
            Self::ResetAfterBytes => Fault::ResetAfter(dice.below(4_000)),
            Self::CommitThenLoseReply => Fault::LoseReply,
            Self::SlowDown => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                Some(1 + dice.below(3_600)),
            ),
            Self::InternalError => say(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", None),
            Self::Forbidden => say(StatusCode::FORBIDDEN, "AccessDenied", None),
            Self::ClockSkewError => say(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", None),
            Self::ErrorInOk => say(StatusCode::OK, "InternalError", None),
            Self::WrongChecksum => Fault::WrongChecksum,
            Self::TruncatedBody => Fault::Truncate(1 + dice.below(600)),
            Self::FlippedBit => Fault::Flip(dice.throw()),
            Self::StaleList => Fault::ListAsOf(Timestamp::now()),
            Self::HiddenKey => Fault::Hide,
            Self::OlderVersion => Fault::Older,
            Self::EndlessBody => Fault::Endless,
            Self::EndlessList => Fault::EndlessList,
            Self::StoreFull => Fault::full(),
            Self::RewrittenDate => {
                let seconds = i64::try_from(600 + dice.below(86_400)).unwrap_or_default();
                Fault::ShiftClock(if dice.below(2) == 0 { seconds } else { -seconds })
            }
        }
    }
}
