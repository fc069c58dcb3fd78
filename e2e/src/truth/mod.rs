//! The truth about a database, found by a session that shares no code with the dump: what is in it, object by
//! object, so that a source and what was restored from its copy can be held side by side.
//!
//! Only ordinary SQL, and a row digest of its own: an error in the product's digest, in its reading of the
//! catalog or in `pg_dump` would show here. A truth is taken on a quiet database, or on an exported snapshot
//! ([`snapshot`]). It needs a superuser's session, because it must see everything.

mod catalog;
mod difference;
mod large_objects;
mod qualifiers;
mod rows;
pub mod schema_text;
pub mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use tokio_postgres::Client;

pub use difference::{Difference, Scope, compare};
pub use rows::{Rows, TableName};

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "PostgreSQL's own words")]
pub enum Kind {
    Database,
    Role,
    Setting,
    Extension,
    Schema,
    Type,
    Function,
    Relation,
    Column,
    Constraint,
    Index,
    Trigger,
    EventTrigger,
    Policy,
    View,
    Sequence,
    /// Where a sequence stands.
    SequenceValue,
    /// Count and digest of a table's rows; of a partitioned table's as a whole.
    Rows,
    /// Count and digest of rows with their generated columns.
    GeneratedRows,
    /// Whether a materialized view is filled, and what its query answers.
    MaterializedView,
    LargeObject,
    Comment,
    Owner,
    Grant,
    DefaultPrivilege,
}

/// What is true of one database at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    facts: BTreeMap<(Kind, String), String>,
    tables: BTreeMap<TableName, Rows>,
    stale: BTreeSet<String>,
    behind: BTreeSet<String>,
}

impl Truth {
    /// Finds the truth. If `client` has a transaction open, the truth is that of its snapshot (sequences,
    /// which know no snapshot, excepted); if not, one is opened and closed again.
    ///
    /// The session's settings are changed and not put back.
    pub async fn of(client: &Client) -> anyhow::Result<Self> {
        // A SAVEPOINT fails outside of a transaction, and is the only way to ask that writes nothing.
        let opened = client.batch_execute("SAVEPOINT truth").await.is_err();
        if opened {
            client
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
        }
        let truth = Self::in_transaction(client).await;
        if opened {
            client.batch_execute("ROLLBACK").await?;
        }
        truth
    }

    async fn in_transaction(client: &Client) -> anyhow::Result<Self> {
        client
            .batch_execute(SETTINGS)
            .await
            .context("the session cannot be set up (is it a superuser's?)")?;
        let mut truth = Self::default();
        catalog::find(client, &mut truth).await?;
        rows::find(client, &mut truth).await?;
        large_objects::find(client, &mut truth).await?;
        Ok(truth)
    }

    /// Count and digest of what `COPY <table> TO STDOUT` gives for one table or leaf partition, in the
    /// encoding of its database: what an inventory should say.
    #[must_use]
    pub fn tables(&self) -> &BTreeMap<TableName, Rows> {
        &self.tables
    }

    /// How many facts there are of a kind: for a test that wants to know that it compares something.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.facts.keys().filter(|(of, _)| *of == kind).count()
    }

    fn state(&mut self, kind: Kind, object: impl Into<String>, value: impl Into<String>) {
        self.facts.insert((kind, object.into()), value.into());
    }
}

/// So that one value has one text, whatever role and database say (rule 5 of the dump).
const SETTINGS: &str = "
    SET LOCAL client_encoding = 'UTF8';
    SET LOCAL row_security = off;
    SET LOCAL search_path = '';
    SET LOCAL DateStyle = 'ISO';
    SET LOCAL IntervalStyle = 'postgres';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL synchronize_seqscans = off;
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL bytea_output = 'hex';
    SET LOCAL xmlbinary = 'base64';
    SET LOCAL lc_monetary = 'C';
    SET LOCAL quote_all_identifiers = off;
    SET LOCAL max_parallel_workers_per_gather = 0;
    SET LOCAL jit = off;
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0;";
