//! Why a run has no copy to show.

use dataembassy_archive::{KeyError, SealError};
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::Fence;
use dataembassy_ledger::entry::WriteError;
use dataembassy_ledger::manifest::ManifestError;
use dataembassy_ledger::value::{InvalidValue, Term};

use crate::mirror::pipeline::PipelineError;
use crate::mirror::upload::UploadError;
use crate::postgresql::dump::DumpError;
use crate::store::{CommitError, LedgerError, StoreError};

/// Why a run has no copy to show.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store is not fit, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be read or must not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another party holds the registry.
    #[error(transparent)]
    Fenced(#[from] Fence),
    /// The dump failed.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// Sealing or uploading failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A manifest or inventory part could not be put.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The entry is not in the ledger.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The copy's key cannot be sealed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The inventory cannot be sealed.
    #[error("the inventory cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// The entry cannot be written.
    #[error("the entry cannot be written: {0}")]
    Entry(#[from] WriteError),
    /// The manifest cannot be written.
    #[error("the manifest cannot be written: {0}")]
    Manifest(#[from] ManifestError),
    /// A value has no form in the ledger.
    #[error("a value cannot be written into the ledger: {0}")]
    Value(#[from] InvalidValue),
    /// Somebody else committed while we copied.
    #[error(
        "another writer has committed entry {sequence} meanwhile: this copy does not exist; the next run goes on from there"
    )]
    Superseded {
        /// The head that was found.
        sequence: u64,
    },
    /// The registry came into another term while we copied.
    #[error(
        "the registry came into term {now} while it was copied in term {before}: this copy does not exist; the next run makes one"
    )]
    OtherTerm {
        /// The term in which the copy was begun.
        before: Term,
        /// The term now.
        now: Term,
    },
    /// It took too long.
    #[error("the run took longer than its deadline of {seconds} s")]
    DeadlineExceeded {
        /// The deadline.
        seconds: u64,
    },
    /// The process is asked to end.
    #[error("the run was stopped with its process; the next one makes up for it")]
    Interrupted,
    /// The mirror was pointed at another store while it copied.
    #[error("the mirror's store or registry was changed while it copied: this copy does not exist")]
    Elsewhere,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl RunError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Ledger(error) => error.reason(),
            Self::Fenced(Fence::NotASigner { .. }) => Reason::ForeignSignature,
            Self::Fenced(_) => Reason::Fenced,
            Self::Dump(error) => error.reason(),
            Self::Pipeline(PipelineError::Upload(error)) | Self::Upload(error) => error.reason(),
            Self::Commit(error) => error.reason(),
            Self::Key(_) => Reason::InvalidRecipient,
            Self::Superseded { .. } | Self::OtherTerm { .. } => Reason::Superseded,
            Self::DeadlineExceeded { .. } => Reason::DeadlineExceeded,
            Self::Interrupted | Self::Elsewhere => Reason::Interrupted,
            Self::Pipeline(_)
            | Self::Seal(_)
            | Self::Entry(_)
            | Self::Manifest(_)
            | Self::Value(_)
            | Self::NoRandomness => Reason::InternalError,
        }
    }

    /// Whether the fault lies with the source rather than with the store.
    #[must_use]
    pub const fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Dump(_))
    }

    /// Whether the source cannot be copied until somebody changes it. A look at it, which only connects, finds nothing wrong.
    #[must_use]
    pub fn is_unfit_source(&self) -> bool {
        let Self::Dump(error) = self else {
            return false;
        };
        // What a connection meets each look finds out, and when it is over.
        let is_met_by_looks = matches!(
            error.reason(),
            Reason::NotSovereign
                | Reason::SourceTlsFailed
                | Reason::SecretInvalid
                | Reason::SecretKeyMissing
                | Reason::SourceAuthenticationRefused
                | Reason::SourceAuthenticationFailed
                | Reason::DatabaseMissing
        );
        error.is_permanent() && !is_met_by_looks
    }

    /// Whether the fault lies with the store, the way to it, or its ledger.
    #[must_use]
    pub const fn is_of_the_store(&self) -> bool {
        matches!(
            self,
            Self::Store(_)
                | Self::Ledger(_)
                | Self::Upload(_)
                | Self::Pipeline(PipelineError::Upload(_))
                | Self::Commit(CommitError::Store(_))
        )
    }

    /// Whether the store takes nothing until somebody makes room or gives a right. A look at it, which only reads, finds nothing wrong.
    #[must_use]
    pub const fn is_refused_put(&self) -> bool {
        let (Self::Pipeline(PipelineError::Upload(UploadError::Store(error)))
        | Self::Upload(UploadError::Store(error))
        | Self::Commit(CommitError::Store(error))) = self
        else {
            return false;
        };
        matches!(
            error.reason(),
            Reason::StoreFull | Reason::QuotaExceeded | Reason::StoreAccessDenied
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgresql::ConnectionError;
    use crate::postgresql::planner::PlannerError;

    #[test]
    fn only_what_somebody_must_change_at_the_source_and_no_look_finds_out_makes_it_unfit() {
        let tables = || vec!["public.person".to_owned()];
        let unsupported = PlannerError::VersionUnsupported {
            major: 99,
            path: "/programs".into(),
        };
        let unfit = [
            DumpError::NotReadable { tables: tables() },
            DumpError::RowSecurity { tables: tables() },
            DumpError::VersionTooOld { major: 9 },
            DumpError::Planner(unsupported),
            DumpError::SourceChanged {
                system_identifier: "1".into(),
                database_oid: 1,
            },
            DumpError::ValueTooLarge {
                table: "public.person".into(),
                column: None,
                error: ConnectionError::Abandoned,
            },
        ];
        for error in unfit {
            let error = RunError::Dump(error);
            assert!(error.is_unfit_source(), "{error}");
        }
        let others = [
            // It may come right by itself.
            DumpError::YieldedToDdl {
                process: 1,
                seconds: 30,
            },
            DumpError::BegunAnew { tables: tables() },
            DumpError::Inconsistent("one row is missing".into()),
            // Each look meets it as well.
            DumpError::from(ConnectionError::TlsRefused),
            DumpError::from(ConnectionError::PasswordMissing),
        ];
        for error in others {
            let error = RunError::Dump(error);
            assert!(!error.is_unfit_source(), "{error}");
        }
        assert!(!RunError::DeadlineExceeded { seconds: 1 }.is_unfit_source());
    }
}
