//! Why a drill ended before its end, and whose fault that is: only what is wrong with the copy itself fails it. Everything else says nothing of
//! it, and another drill is tried.

use dataembassy_archive::KeyError;
use dataembassy_contract::{Reason, drill::Verdict};

use crate::postgresql::{ConnectionError, session::SessionError};
use crate::restore::{
    RestoreError,
    comparison::ComparisonError,
    copy::{CopyError, FindError},
    job::words::of_the_resource,
    load::LoadError,
    pg_restore::ProgramError,
    target::{MarkError, ObjectsLeft},
};
use crate::store::StoreError;

/// Why a drill ended before its end.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Whether it may be over in a moment.
    pub(super) passes: bool,
    /// Whether it must be looked at whether the store gives anything at all, before the copy is blamed.
    pub(super) blames_object: bool,
}

impl Failure {
    /// Nothing can be said of the copy.
    pub(super) fn inconclusive(reason: Reason, message: &(impl ToString + ?Sized)) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            reason,
            message: message.to_string(),
            passes: reason == Reason::StoreUnreachable,
            blames_object: false,
        }
    }

    /// The copy is to blame.
    pub(super) fn of_the_copy(reason: Reason, message: &(impl ToString + ?Sized)) -> Self {
        Self {
            verdict: Verdict::Failed,
            passes: false,
            ..Self::inconclusive(reason, message)
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Object(error) => error.into(),
            FindError::Key(ref key) => Self::of_the_copy(Reason::CopyNotOpened, &not_opened(key, &error)),
            FindError::Manifest(_) | FindError::ManifestDisagrees { .. } => {
                Self::of_the_copy(Reason::ManifestInvalid, &error)
            }
            FindError::Ledger(_)
            | FindError::NoSuchCopy { .. }
            | FindError::EndUnknown(_)
            | FindError::StandingUnknown(_)
            | FindError::BrokenLink { .. } => Self::inconclusive(error.reason(), &error),
        }
    }
}

fn not_opened(key: &KeyError, error: &FindError) -> String {
    match key {
        KeyError::NoMatchingIdentity => format!(
            "{error}: either the identity is not one of a recipient that the DataEmbassy names, or home seals to somebody else"
        ),
        _ => error.to_string(),
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        match &error {
            CopyError::Ended => Self::inconclusive(Reason::Interrupted, &error),
            CopyError::Unreadable { error: store, .. } => match store {
                StoreError::ObjectMissing { .. } | StoreError::ObjectTooLarge { .. } => {
                    Self::of_the_copy(Reason::CopyDamaged, &error)
                }
                // It was asked several times. If it gives other objects, this one is lost: a store that finds out in the middle of an
                // object that it cannot read the rest ends the connection.
                StoreError::Failed { .. }
                | StoreError::NotUnderstood { .. }
                | StoreError::Unreachable { .. }
                | StoreError::BrokenOff { .. }
                | StoreError::NoAnswer { .. } => Self {
                    blames_object: true,
                    ..Self::of_the_copy(Reason::CopyDamaged, &error)
                },
                _ => Self::inconclusive(error.reason(), &error),
            },
            CopyError::NotTheOneNamed { .. }
            | CopyError::Segment { .. }
            | CopyError::WrongEnd { .. }
            | CopyError::Inventory(_)
            | CopyError::Disagreement(_)
            | CopyError::WrongFile { .. } => Self::of_the_copy(Reason::CopyDamaged, &error),
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        let Some(server) = error.server() else {
            let words = format!("the throw-away server was lost: {error}");
            return Self::inconclusive(Reason::CellLost, &words);
        };
        match server.code.get(..2).unwrap_or_default() {
            // Out of disk, memory or sessions; a limit of ours.
            "53" if matches!(server.code.as_str(), "53100" | "53400") => {
                Self::inconclusive(Reason::CellFull, &with_remedy(&server.to_string()))
            }
            // Ended by somebody, crashed, going down; its disk or files.
            "53" | "57" | "58" | "08" => Self::inconclusive(Reason::CellLost, &server.to_string()),
            _ => Self::of_the_copy(Reason::RestoreFailed, &server.to_string()),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Connection(error) => error.into(),
            SessionError::SettingRefused { .. }
            | SessionError::Pooler { .. }
            | SessionError::NotOneServer { .. } => Self::inconclusive(Reason::InternalError, &error),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let refused = |what: String, source: ConnectionError| {
            let failure = Self::from(source);
            Self {
                message: format!("{what}: {}", failure.message),
                ..failure
            }
        };
        match error {
            LoadError::Copy(error) => error.into(),
            LoadError::Session(error) => error.into(),
            LoadError::RowsRefused { table, source } => {
                refused(format!("the rows of {table} were refused"), source)
            }
            LoadError::ObjectRefused { oid, source } => refused(
                format!("large object {oid}, or one just before it, was refused"),
                source,
            ),
            LoadError::Interrupted => Self::inconclusive(Reason::Interrupted, &error),
            LoadError::WrongRows { .. }
            | LoadError::WrongObjects(_)
            | LoadError::OutOfPlace { .. }
            | LoadError::Unknown(_)
            | LoadError::Disagreement(_) => Self::of_the_copy(Reason::CopyDamaged, &error),
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Copy(error) => error.into(),
            RestoreError::Toc(_) => Self::of_the_copy(Reason::CopyDamaged, &error),
            RestoreError::Target(error)
            | RestoreError::Mark(MarkError::Connection(error))
            | RestoreError::NotEmptied(ObjectsLeft::Connection(error)) => error.into(),
            RestoreError::Session(error) => error.into(),
            // The cell's own words on room follow from what failed.
            RestoreError::TargetFull { error, .. } => (*error).into(),
            RestoreError::Load(error) => error.into(),
            RestoreError::TargetLacks(_) => {
                let words = of_the_resource(&error.to_string());
                Self::inconclusive(
                    Reason::TargetLacks,
                    &words.replace("the target", "the throw-away database"),
                )
            }
            RestoreError::Scratch { .. } => Self::inconclusive(
                Reason::ScratchSpaceExhausted,
                &of_the_resource(&error.to_string()),
            ),
            RestoreError::Comparison(error) => match error {
                ComparisonError::Session(error) => error.into(),
                ComparisonError::Connection(error) => error.into(),
                ComparisonError::Interrupted => Self::inconclusive(Reason::Interrupted, &error),
                ComparisonError::OtherRows { .. } | ComparisonError::OtherObjects { .. } => {
                    Self::of_the_copy(Reason::AnswerWrong, &error)
                }
            },
            RestoreError::Program(error) => of_the_program(&error),
            RestoreError::Interrupted => Self::inconclusive(Reason::Interrupted, &error),
            RestoreError::Doorway(_)
            | RestoreError::Mark(MarkError::Unwritable(_))
            | RestoreError::NotEmptied(ObjectsLeft::Stays(_)) => {
                Self::inconclusive(Reason::InternalError, &error)
            }
        }
    }
}

/// Words of a server that has no more room, as its programs pass them on. A copy that says them itself is not drilled, and so helps nobody.
const FULL: [&str; 2] = [
    "No space left on device",
    "temporary file size exceeds temp_file_limit",
];
/// Words of a server that is gone.
const GONE: [&str; 3] = [
    "server closed the connection unexpectedly",
    "terminating connection",
    "out of memory",
];

fn of_the_program(error: &ProgramError) -> Failure {
    let ProgramError::Failed { phase, status, words } = &error else {
        return Failure::inconclusive(Reason::InternalError, error);
    };
    let said = format!("pg_restore failed in {phase} ({status}): {}", essence(words));
    let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if status.code().is_none() {
        Failure::inconclusive(Reason::Interrupted, &said)
    } else if has(&FULL) {
        Failure::inconclusive(Reason::CellFull, &with_remedy(&said))
    } else if has(&GONE) {
        Failure::inconclusive(Reason::CellLost, &said)
    } else {
        Failure::of_the_copy(Reason::RestoreFailed, &said)
    }
}

/// What a server without room said, and what to do about it.
fn with_remedy(said: &str) -> String {
    format!(
        "the throw-away database has no room: {said}; raise spec.server.volumeSize, or find out what in the copy grows"
    )
}

/// Of a program's words those that say what went wrong, without details, contexts and the statement.
fn essence(words: &str) -> String {
    let is_error = |line: &&str| line.starts_with("pg_restore: error: ");
    let errors: Vec<&str> = words.lines().filter(is_error).take(5).collect();
    if errors.is_empty() {
        return words.lines().next().unwrap_or_default().to_owned();
    }
    errors.join("; ").replace("pg_restore: error: ", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgresql::connection::ServerError;

    fn server(code: &str) -> ConnectionError {
        ConnectionError::Server(Box::new(ServerError {
            severity: "ERROR".into(),
            code: code.into(),
            message: "duplicate key value".into(),
            detail: Some("Key (person)=(Jane Doe) already exists.".into()),
            hint: None,
        }))
    }

    #[test]
    fn only_what_the_copy_holds_fails_it() {
        let judged = |error: RestoreError| {
            let failure = Failure::from(error);
            (failure.verdict, failure.reason)
        };
        let loaded = |error| {
            RestoreError::Load(LoadError::RowsRefused {
                table: "person".into(),
                source: error,
            })
        };
        let lost = ConnectionError::Lost(std::io::ErrorKind::UnexpectedEof.into());
        assert_eq!(
            judged(loaded(server("23505"))),
            (Verdict::Failed, Reason::RestoreFailed)
        );
        assert_eq!(
            judged(loaded(server("53100"))),
            (Verdict::Inconclusive, Reason::CellFull)
        );
        assert_eq!(
            judged(loaded(server("57P02"))),
            (Verdict::Inconclusive, Reason::CellLost)
        );
        assert_eq!(judged(loaded(lost)), (Verdict::Inconclusive, Reason::CellLost));
        let missing = StoreError::ObjectMissing {
            target: "segment".into(),
        };
        let denied = StoreError::AccessDenied {
            operation: "GetObject",
            target: "segment".into(),
            bucket: "registries".into(),
        };
        for (error, judgement) in [
            (missing, (Verdict::Failed, Reason::CopyDamaged)),
            (denied, (Verdict::Inconclusive, Reason::StoreAccessDenied)),
        ] {
            let object = "segment".to_owned();
            assert_eq!(
                judged(RestoreError::Copy(CopyError::Unreadable { object, error })),
                judgement
            );
        }
        assert_eq!(
            judged(RestoreError::TargetLacks(vec!["postgis".into()])),
            (Verdict::Inconclusive, Reason::TargetLacks)
        );
    }

    #[test]
    fn an_object_that_does_not_come_is_the_copys_fault_only_if_others_do() {
        let silent = StoreError::NoAnswer {
            endpoint: "store".into(),
            operation: "GetObject",
            seconds: 1,
        };
        let failure = Failure::from(CopyError::Unreadable {
            object: "segment".into(),
            error: silent,
        });
        assert!(failure.blames_object && failure.reason == Reason::CopyDamaged);
    }

    #[test]
    fn no_row_of_the_registry_reaches_a_report_as_a_detail() {
        let message = Failure::from(server("23505")).message;
        assert!(
            message.contains("duplicate key") && !message.contains("Jane"),
            "{message}"
        );
        let words = "pg_restore: error: could not execute query: ERROR:  duplicate key value\nDETAIL:  Key (person)=(Jane Doe)\n\
            Command was: ALTER TABLE person …\npg_restore: warning: errors ignored on restore: 1\n";
        assert_eq!(
            essence(words),
            "could not execute query: ERROR:  duplicate key value"
        );
    }
}
