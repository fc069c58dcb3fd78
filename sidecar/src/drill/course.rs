//! The steps of a drill, in their order.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Instant};

use dataembassy_contract::{
    Reason,
    drill::{AssertionKind, AssertionResult, DrillConfig, DrilledCopy, Pick, Verdict},
    restore::IfNotEmpty,
};
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::{
    Environment,
    board::Board,
    cell::{Cell, Guard, Prepared},
    configuration::{self, NAMES},
    failure::Failure,
    pick, question,
    record::Record,
};
use crate::process::{beginning::Beginning, folder::Files};
use crate::restore::{
    Clock, Options, ReadCopy,
    copy::{Choice, DOUBTS, FindError, FoundCopy, SealedCopy as _, StoredCopy},
    job::{self, configuration::Access},
    outcome::Outcome,
    progress::Phase,
    restore_read,
};
use crate::store::{Ledger, LedgerSettings, Store};

/// Drills; what it finds on its way stands in the record, whatever ends it.
pub(super) async fn run(
    environment: &Environment,
    config: &DrillConfig,
    board: &Board,
    record: &mut Record,
) -> Result<(), Failure> {
    let judge = |files: &Files| configuration::judge(files, config, environment);
    let access = job::configured(&environment.job, board.job(), NAMES, judge).await;
    let access = access.map_err(|error| Failure::inconclusive(error.reason(), &error))?;
    let cell = Cell::reach(environment, board, &mut record.tools).await?;
    record.first_look();
    board.job().progress().enter(Phase::Checking);
    let store = access
        .connect()
        .map_err(|error| Failure::inconclusive(error.reason(), &error))?;
    let copy = Arc::new(opened(&store, &access, config, board, record).await?);
    // Nothing is opened any more but what the copy's own key opens.
    let ledger = access.ledger.clone();
    drop(access);
    record.step("finding the copy");
    match in_cell(environment, config, board, record, &cell, &copy).await {
        Err(failure) => Err(judged(failure, &store, &ledger).await),
        Ok(()) => Ok(()),
    }
}

/// Where an object did not come: if the store gives nothing else either, that is not the copy's fault.
async fn judged(failure: Failure, store: &Store, ledger: &LedgerSettings) -> Failure {
    if failure.blames_object && Ledger::read_copies(store, ledger).await.is_err() {
        return Failure::inconclusive(Reason::StoreUnreachable, &failure.message);
    }
    failure
}

/// The copy, picked once and opened.
async fn opened(
    store: &Store,
    access: &Access,
    config: &DrillConfig,
    board: &Board,
    record: &mut Record,
) -> Result<StoredCopy, Failure> {
    let until = Instant::now() + job::PATIENCE;
    let draw = rand::rng().random();
    let beginning = Beginning::now();
    let mut doubts = DOUBTS;
    loop {
        let failure = match find(store, access, config.pick, draw).await {
            Ok(found) => {
                board.job().goes_on();
                board.job().chosen(job::chosen(found.identity()));
                record.copy = Some(drilled(&found));
                match found.open(&access.identities).await {
                    Ok(copy) => return Ok(copy),
                    Err(error) => Failure::from(error),
                }
            }
            Err(error) if doubts > 0 && error.is_by_the_ledger() => {
                doubts -= 1;
                tracing::warn!(%error, "the ledger is read anew before it is believed");
                continue;
            }
            Err(error) => Failure::from(error),
        };
        let failure = judged(failure, store, &access.ledger).await;
        if !failure.passes || Instant::now() >= until {
            return Err(failure);
        }
        beginning.tell(failure.reason, &failure.message, "tried again in a moment");
        board.job().waits(failure.reason, failure.message);
        tokio::time::sleep(job::PAUSE).await;
    }
}

async fn find(store: &Store, access: &Access, pick: Pick, draw: u64) -> Result<FoundCopy, FindError> {
    let registry = &access.ledger.registry;
    let ledger = Ledger::read_copies(store, &access.ledger).await?;
    for alarm in &ledger.alarms {
        tracing::warn!(%alarm, "the ledger holds something that must not be there");
    }
    let none = |why: &str| FindError::NoSuchCopy {
        registry: registry.clone(),
        why: why.to_owned(),
    };
    // One that has expired, or was declared void, is not what a drill judges.
    if let Some(taken) = &ledger.custody_at_next {
        return Err(FindError::StandingUnknown(taken.clone()));
    }
    let head = ledger.head.as_ref().map(|head| head.entry.entry.header.sequence);
    if let Some(taken) = ledger
        .at_next
        .as_ref()
        .filter(|_| pick == Pick::Latest || head.is_none())
    {
        return Err(FindError::EndUnknown(taken.clone()));
    }
    let head = head.ok_or_else(|| none("its ledger is empty"))?;
    // A void copy is known by its id, which only its entry says.
    let mut void = BTreeSet::new();
    loop {
        let chosen = pick::choose(&ledger.view, head, &void, pick, draw);
        let sequence = chosen.ok_or_else(|| none("all of them have expired or are void"))?;
        match FoundCopy::find(store.clone(), &ledger, registry, Choice::Sequence(sequence)).await {
            Err(FindError::NoSuchCopy { .. }) => void.insert(sequence),
            found => return found,
        };
    }
}

fn drilled(found: &FoundCopy) -> DrilledCopy {
    let identity = found.identity();
    DrilledCopy {
        sequence: identity.sequence,
        digest: found.digest().to_string(),
        copy_id: identity.copy_id.to_string(),
        taken_at: identity.taken_at.as_jiff(),
        sealed_bytes: identity.sealed_bytes,
        source_version: found.body().source.version.to_string(),
    }
}

/// Restores into the cell and asks, while somebody watches over the cell.
async fn in_cell(
    environment: &Environment,
    config: &DrillConfig,
    board: &Board,
    record: &mut Record,
    cell: &Cell,
    copy: &Arc<StoredCopy>,
) -> Result<(), Failure> {
    let read = ReadCopy::read(copy).await?;
    record.schema_digest = Some(read.toc.schema_digest.to_string());
    record.step("reading its inventory");
    let prepared = cell.prepare(&read, config).await?;
    record.notes.extend(prepared.notes.iter().cloned());
    record.step("making the database");
    let guard = Guard::open(cell, &prepared, config.database_limit_bytes).await?;
    let over = CancellationToken::new();
    let mut watching = pin!(guard.watch(over.clone()));
    let done = tokio::select! {
        done = restore_and_ask(environment, config, board, record, &prepared, copy, read) => done,
        Some(failure) = &mut watching => return Err(failure),
    };
    over.cancel();
    match done {
        // What a lost or full cell breaks looks like a fault of the copy, and so does a question that it left without an answer.
        Err(failure) => Err(watching.await.unwrap_or(failure)),
        Ok(()) if record.has_failed() => watching.await.map_or(Ok(()), Err),
        Ok(()) => Ok(()),
    }
}

async fn restore_and_ask(
    environment: &Environment,
    config: &DrillConfig,
    board: &Board,
    record: &mut Record,
    prepared: &Prepared,
    copy: &Arc<StoredCopy>,
    read: ReadCopy,
) -> Result<(), Failure> {
    let options = Options {
        rehearsal: None,
        if_not_empty: IfNotEmpty::Refuse,
        trusting: false,
        allowed_extensions: config.allowed_extensions.clone(),
        accept_collation: prepared.has_other_collation,
        create_database: false,
        jobs: usize::from(config.jobs.clamp(1, 64)),
        scratch: environment.job.scratch.clone(),
        prepared_schemas: prepared.schemas.clone(),
    };
    let unvalidated = question::constraints::unvalidated(&read.toc);
    let encoding = read.toc.encoding.clone();
    let progress = board.job().progress();
    let target = prepared.restored();
    let restored = restore_read(copy, read, target, &options, progress, Clock::start()).await;
    let outcome = restored.map_err(|error| {
        let failure = Failure::from(error);
        if failure.verdict == Verdict::Failed {
            record.assertions.push(not_whole(&failure));
        }
        failure
    })?;
    record.restored(&outcome);
    progress.enter(Phase::Questioning);
    record.assertions.extend(whole(&outcome));
    record
        .assertions
        .extend(question::schema(config, record.schema_digest.as_deref()));
    let constraints = question::constraints::ask(target, &encoding, &unvalidated).await;
    record.assertions.push(constraints);
    let taken_at = copy.identity().taken_at.as_jiff();
    for assertion in &config.assertions {
        let longest = environment.job.longest_question;
        let answered = question::statement(target, assertion, taken_at, longest).await;
        record.assertions.push(answered);
    }
    record
        .assertions
        .extend(question::recovery_time(config, record.recovery_seconds));
    record.step("questions");
    progress.enter(Phase::Done);
    Ok(())
}

/// Everything was compared while it was restored; this says with what.
fn whole(outcome: &Outcome) -> [AssertionResult; 2] {
    let contents = format!(
        "{} tables with {} rows, and the digest of each",
        outcome.tables.len(),
        outcome.rows
    );
    let objects = format!(
        "{} large objects with {} bytes, and their digest",
        outcome.large_objects.objects, outcome.large_objects.bytes
    );
    [
        (AssertionKind::Contents, "contents", contents),
        (AssertionKind::LargeObjects, "large-objects", objects),
    ]
    .map(|(kind, name, said)| AssertionResult {
        name: name.to_owned(),
        kind,
        passed: true,
        expected: format!("{said}, as in the inventory"),
        found: said,
    })
}

fn not_whole(failure: &Failure) -> AssertionResult {
    AssertionResult {
        name: "contents".to_owned(),
        kind: AssertionKind::Contents,
        passed: false,
        expected: "tables, rows, large objects and digests as in the inventory".to_owned(),
        found: failure.message.clone(),
    }
}
