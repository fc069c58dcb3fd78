//! The steps of a restore, in their order.

use std::{
    collections::{BTreeMap, HashSet},
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use dataembassy_archive::{FileName, Member};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    Options, RestoreError,
    comparison::{self, Before, EarlyCount, Expected},
    copy::{Contents, CopyError, CopyIdentity, SealedCopy, members, read_file},
    load::{self, Loaded, Sessions, plan_tables},
    outcome::{NotRestored, ObjectsResult, Outcome, PhaseResult, TargetResult},
    pg_restore::PgRestore,
    preflight::Facts,
    progress::{Phase, Progress},
    roles,
    selection::{Selection, describe},
    statistics,
    target::{Doorway, Mark, empty, make_like},
};
use crate::postgresql::{
    Connection, ConnectionError, Source,
    session::{self, TextSettings},
    toc::Toc,
};

/// The database that every server has, from which another one is made.
const MAINTENANCE: &str = "postgres";
/// The advisory lock that a restore holds in its database: `DataEmba`, as a number.
const LOCK: i64 = 0x4461_7461_456d_6261;
/// How long the session of a restore that was killed may still be there.
const LEAVING: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Restores a copy into the target's database. On an error after the first write the database stays marked.
pub async fn restore(
    copy: &Arc<impl SealedCopy>,
    target: &Source,
    options: &Options,
    progress: &Progress,
) -> Result<Outcome, RestoreError> {
    let clock = Clock::start();
    progress.enter(Phase::Checking);
    let read = ReadCopy::read(copy).await?;
    restore_read(copy, read, target, options, progress, clock).await
}

/// A copy's inventory and table of contents.
pub struct ReadCopy {
    /// The inventory.
    pub contents: Contents,
    /// The table of contents.
    pub toc: Toc,
    toc_bytes: Bytes,
}

impl ReadCopy {
    /// Reads and checks both.
    pub async fn read(copy: &Arc<impl SealedCopy>) -> Result<Self, RestoreError> {
        let contents = Contents::read(copy).await?;
        let planner = &contents.header.planner;
        let toc_bytes = read_file(copy, &planner.toc, planner.toc_bytes, planner.toc_sha256).await?;
        let bytes = toc_bytes.clone();
        let toc = tokio::task::spawn_blocking(move || Toc::read(bytes.reader()))
            .await
            .map_err(|_| RestoreError::Interrupted)??;
        Ok(Self {
            contents,
            toc,
            toc_bytes,
        })
    }
}

/// Restores a copy that was read.
pub async fn restore_read(
    copy: &Arc<impl SealedCopy>,
    read: ReadCopy,
    target: &Source,
    options: &Options,
    progress: &Progress,
    clock: Clock,
) -> Result<Outcome, RestoreError> {
    let bytes = read.contents.bytes();
    let restored = Box::pin(bring_back(copy, read, target, options, progress, clock)).await;
    restored.map_err(|error| {
        if error.tells_of_no_room() {
            RestoreError::TargetFull {
                bytes,
                sent: progress.counters.bytes.load(Relaxed),
                error: Box::new(error),
            }
        } else {
            error
        }
    })
}

async fn bring_back(
    copy: &Arc<impl SealedCopy>,
    read: ReadCopy,
    target: &Source,
    options: &Options,
    progress: &Progress,
    mut clock: Clock,
) -> Result<Outcome, RestoreError> {
    let ReadCopy {
        mut contents,
        toc,
        toc_bytes,
    } = read;
    let mut connection = open_or_create(target, &contents, options).await?;
    alone(&mut connection).await?;
    let facts = Facts::gather(
        &mut connection,
        &target.programs,
        &contents,
        &options.prepared_schemas,
    )
    .await?;
    let selection = Selection::choose(
        &toc,
        options.trusting,
        &facts.installed,
        &options.prepared_schemas,
    );
    let lacks = facts.lacks(&contents, &toc, &selection, options);
    if !lacks.is_empty() {
        return Err(RestoreError::TargetLacks(lacks));
    }
    let tables = plan_tables(&toc, std::mem::take(&mut contents.tables))?;
    let place = Place::prepare(options, &toc_bytes, target).await?;
    drop(toc_bytes);
    clock.note("checking");

    let identity = copy.identity();
    let database = &facts.target.database;
    progress.begin_writing();
    let mark = Mark::set(
        &mut connection,
        database,
        identity.registry.as_str(),
        identity.sequence,
        options.rehearsal.as_deref(),
    )
    .await?;
    if !facts.is_empty() {
        empty(&mut connection).await?;
    }
    let run = Run {
        sessions: sessions(target, &toc, &contents, options),
        pg_restore: place.pg_restore(target, &facts, options),
        selection: &selection,
        toc: &toc,
        progress,
    };
    let roles = if options.trusting {
        roles::restore(&mut connection, &contents).await?
    } else {
        roles::Restored::default()
    };
    // While definitions are made, the first members are fetched and opened.
    let members = members(copy, &progress.counters);
    run.definitions().await?;
    clock.note("definitions");
    let relations = Arc::new(Expected::relations(&tables));
    let before = Before::count(&mut connection).await?;
    let (early, complete) = EarlyCount::begin(&run.sessions, &relations);
    let loaded = run.rows(members, &contents, tables, complete).await?;
    clock.note("rows");
    progress.enter(Phase::Comparing);
    Expected::new(&relations, &loaded, before)
        .compare(&run.sessions, early)
        .await?;
    comparison::compare_objects(&mut connection, loaded.large_objects.objects).await?;
    clock.note("comparison");
    let tried_again = run.constraints().await?;
    clock.note("constraints");
    progress.enter(Phase::Analysing);
    statistics::gather(&mut connection, target, options.jobs).await?;
    clock.note("statistics");
    if options.rehearsal.is_some() {
        mark.rehearsed(&mut connection, database).await?;
    } else {
        let of_the_database = if options.trusting {
            roles::of_the_database(&contents, database)
        } else {
            Vec::new()
        };
        mark.clear(&mut connection, database, of_the_database).await?;
    }
    connection.close().await;
    progress.enter(Phase::Done);
    let not_restored = not_restored(&selection, &contents, options);
    let outcome = outcome(identity, &facts, contents, loaded);
    Ok(Outcome {
        notes: outcome.notes.into_iter().chain(roles.note()).collect(),
        roles_made: roles.made,
        roles_kept: roles.kept,
        tried_again,
        not_restored,
        sealed_bytes: progress.counters.sealed_bytes.load(Relaxed),
        phases: clock.phases,
        ..outcome
    })
}

/// Keeps every other restore out of the database for as long as this session lasts: the mark tells of one that has ended, not of one that
/// is at work. The session of one that was killed may live a moment longer than it did.
pub(super) async fn alone(connection: &mut Connection) -> Result<(), RestoreError> {
    let until = Instant::now() + LEAVING;
    let ask = format!("SELECT pg_catalog.pg_try_advisory_lock({LOCK})");
    loop {
        let rows = connection.query(&ask).await?;
        if rows.first().map_or(Ok(false), |row| row.flag(0))? {
            return Ok(());
        }
        if Instant::now() >= until {
            let words = "another restore is at work in this database: wait until it has ended";
            return Err(RestoreError::TargetLacks(vec![words.to_owned()]));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A session of the restoring role for everything but rows.
pub(super) async fn open(target: &Source) -> Result<Connection, RestoreError> {
    let mut connection = Connection::open(target).await?;
    let text = TextSettings {
        client_encoding: "UTF8".into(),
        lc_monetary: "C".into(),
    };
    session::settle(&mut connection, &text).await?;
    connection
        .execute("SET default_transaction_read_only = off")
        .await?;
    Ok(connection)
}

/// The same where the database may be missing: it is made, like the source's. Nothing of the copy is in it yet.
async fn open_or_create(
    target: &Source,
    contents: &Contents,
    options: &Options,
) -> Result<Connection, RestoreError> {
    match open(target).await {
        Err(RestoreError::Target(ConnectionError::DatabaseMissing(_))) if options.create_database => {}
        opened => return opened,
    }
    let server = Source {
        database: MAINTENANCE.to_owned(),
        ..target.clone()
    };
    let mut connection = open(&server).await?;
    let (name, source) = (&target.database, &contents.header.database);
    if let Some(why) = make_like(&mut connection, name, source).await? {
        tracing::warn!(
            database = name,
            collate = source.collate,
            why,
            "the server has no such locale, so text is sorted by C"
        );
    }
    connection.close().await;
    open(target).await
}

fn sessions(target: &Source, toc: &Toc, contents: &Contents, options: &Options) -> Sessions {
    Sessions {
        target: target.clone(),
        text: TextSettings {
            client_encoding: toc.encoding.clone(),
            lc_monetary: contents.setting("lc_monetary").unwrap_or("C").to_owned(),
        },
        jobs: options.jobs,
    }
}

/// Where `pg_restore` finds the table of contents and the way into the target. It is gone when this is dropped.
struct Place {
    directory: TempDir,
    doorway: Doorway,
}

impl Place {
    async fn prepare(options: &Options, toc: &[u8], target: &Source) -> Result<Self, RestoreError> {
        let scratch = |error| RestoreError::Scratch {
            directory: options.scratch.clone(),
            error,
        };
        // Nobody else may enter: whoever reaches the socket in it is logged in. Without this the mode is what the
        // process's umask leaves.
        let directory = tempfile::Builder::new()
            .prefix("restore-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&options.scratch)
            .map_err(scratch)?;
        tokio::fs::write(directory.path().join("toc.dat"), toc)
            .await
            .map_err(scratch)?;
        let doorway = Doorway::open(directory.path(), target.clone())?;
        Ok(Self { directory, doorway })
    }

    fn pg_restore<'a>(&'a self, target: &'a Source, facts: &'a Facts, options: &Options) -> PgRestore<'a> {
        PgRestore {
            program: PgRestore::path(&target.programs, facts.target.major),
            archive: self.directory.path(),
            doorway: &self.doorway,
            role: &facts.target.role,
            database: &facts.target.database,
            trusting: options.trusting,
        }
    }
}

struct Run<'a> {
    sessions: Sessions,
    pg_restore: PgRestore<'a>,
    selection: &'a Selection,
    toc: &'a Toc,
    progress: &'a Progress,
}

impl Run<'_> {
    async fn definitions(&self) -> Result<(), RestoreError> {
        self.progress.enter(Phase::Definitions);
        let selection = self.selection;
        self.pg_restore
            .strictly("definitions", &selection.before_rows)
            .await?;
        self.pg_restore
            .strictly("sequences and large objects", &selection.beside_rows)
            .await?;
        Ok(())
    }

    async fn rows(
        &self,
        members: mpsc::Receiver<Result<Member, CopyError>>,
        contents: &Contents,
        tables: BTreeMap<FileName, load::TableLoad>,
        complete: mpsc::UnboundedSender<load::Complete>,
    ) -> Result<Loaded, RestoreError> {
        let objects = contents.large_objects;
        self.progress.enter(Phase::Rows {
            bytes: contents.bytes(),
            rows: contents.end.rows,
        });
        let counters = &self.progress.counters;
        let toc_file = contents.header.planner.toc.clone();
        let others = move |file: &FileName| *file == toc_file || is_known(file);
        let sessions = self.sessions.clone();
        Ok(load::load(sessions, tables, objects, others, members, counters, complete).await?)
    }

    /// Restores what comes after rows, several at a time. What fails so is tried once more alone, in the order of the
    /// table of contents: two validations may have stood in each other's way.
    async fn constraints(&self) -> Result<Vec<String>, RestoreError> {
        self.progress.enter(Phase::Constraints);
        let jobs = self.sessions.jobs;
        let failures = self
            .pg_restore
            .in_parallel("indexes and constraints", &self.selection.after_rows, jobs)
            .await?;
        let failed: HashSet<u32> = failures.dump_ids.into_iter().collect();
        if !failed.is_empty() {
            // Sessions of ours that make constraints side by side may wait for each other's locks, which is no fault.
            tracing::info!(failed = failed.len(), words = %failures.words, "entries failed and are tried once more, alone");
        }
        let mut tried_again = Vec::new();
        for entry in &self.toc.entries {
            if failed.contains(&entry.dump_id) {
                self.pg_restore
                    .strictly("a second attempt, alone", &[entry.dump_id])
                    .await?;
                tried_again.push(describe(entry));
            }
        }
        self.pg_restore
            .strictly("row security and policies", &self.selection.row_security)
            .await?;
        self.pg_restore
            .strictly("event triggers", &self.selection.at_last)
            .await?;
        Ok(tried_again)
    }
}

/// Files of the archive that hold neither rows nor large objects: lists of large objects, and roles for people who
/// have only stock tools.
fn is_known(file: &FileName) -> bool {
    let list =
        |name: &str| name.starts_with("blobs") && Path::new(name).extension().is_some_and(|end| end == "toc");
    file.as_str() == "roles.sql" || list(file.as_str())
}

fn not_restored(selection: &Selection, contents: &Contents, options: &Options) -> Vec<NotRestored> {
    let mut list: Vec<NotRestored> = selection
        .left_out
        .iter()
        .map(|left_out| NotRestored {
            kind: left_out.kind.clone(),
            name: left_out.name.clone(),
            reason: left_out.reason.clone(),
        })
        .collect();
    if !options.trusting {
        let reason = "restored with --trust-source only";
        list.extend(contents.roles.iter().map(|role| NotRestored {
            kind: "ROLE".into(),
            name: role.name.clone(),
            reason: reason.into(),
        }));
        list.extend(contents.settings.iter().map(|settings| NotRestored {
            kind: "SETTINGS".into(),
            name: settings.role.clone().unwrap_or_else(|| "of the database".into()),
            reason: reason.into(),
        }));
    }
    list
}

/// Versions of extensions are the target's: the archive does not carry them.
fn notes(facts: &Facts, contents: &Contents) -> Vec<String> {
    let mut notes: Vec<String> = contents
        .warnings
        .iter()
        .map(|warning| warning.text.clone())
        .collect();
    let (source, target) = (&contents.header.database, &facts.target);
    if source.encoding != target.encoding {
        notes.push(format!(
            "text was converted from {} to {}",
            source.encoding, target.encoding
        ));
    }
    notes.extend(sorting(facts, contents));
    notes
}

/// How text is sorted where that is another way than at the source.
fn sorting(facts: &Facts, contents: &Contents) -> Option<String> {
    let (source, target) = (&contents.header.database, &facts.target);
    facts.sorts_otherwise(source).then(|| {
        format!(
            "text is sorted by {}, not by {} as at the source",
            target.collate, source.collate
        )
    })
}

fn outcome(identity: &CopyIdentity, facts: &Facts, contents: Contents, loaded: Loaded) -> Outcome {
    let mut tables = loaded.tables;
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    let notes = notes(facts, &contents);
    let sorted_otherwise = sorting(facts, &contents);
    let carried = contents.not_carried.into_iter().map(|one| NotRestored {
        kind: one.what,
        name: one.name,
        reason: one.reason,
    });
    Outcome {
        registry: identity.registry.clone(),
        sequence: identity.sequence,
        copy_id: identity.copy_id,
        taken_at: identity.taken_at,
        target: TargetResult {
            version: facts.target.version.clone(),
            database: facts.target.database.clone(),
        },
        phases: Vec::new(),
        sealed_bytes: 0,
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        tables,
        large_objects: ObjectsResult {
            objects: loaded.large_objects.objects,
            bytes: loaded.large_objects.bytes,
        },
        roles_made: Vec::new(),
        roles_kept: Vec::new(),
        tried_again: Vec::new(),
        not_restored: Vec::new(),
        not_carried: carried.collect(),
        sorted_otherwise,
        notes,
    }
}

/// Stops the time of each step.
pub struct Clock {
    since: Instant,
    phases: Vec<PhaseResult>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

impl Clock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self {
            since: Instant::now(),
            phases: Vec::new(),
        }
    }

    fn note(&mut self, name: &'static str) {
        self.phases.push(PhaseResult {
            name,
            seconds: self.since.elapsed().as_secs_f64(),
        });
        self.since = Instant::now();
    }
}

/// The directory for temporary files unless told otherwise.
#[must_use]
pub fn default_scratch() -> PathBuf {
    std::env::temp_dir()
}
