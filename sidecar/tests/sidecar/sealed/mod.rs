//! A copy sealed in memory from a real dump, for what a restore does with it once the ledger has named it.
use std::sync::Arc;

use bytes::Bytes;
use dataembassy_archive::{
    CompressionLevel, CopyKey, Member, SegmentPosition, SegmentWriter,
    inventory::{self, InventoryWriter, Line},
};
use dataembassy_contract::restore::IfNotEmpty;
use dataembassy_ledger::value::CopyId;
use dataembassy_sidecar::{
    postgresql::{
        Source,
        dump::{self, Dump},
    },
    restore::{
        Options, RestoreError,
        copy::{CopyError, CopyIdentity, SealedCopy, SealedSegment},
        outcome::Outcome,
        progress::Progress,
        restore,
    },
};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::source_as;

/// A copy whose objects are in memory.
pub(crate) struct MemoryCopy {
    pub(crate) identity: CopyIdentity,
    pub(crate) key: CopyKey,
    pub(crate) inventory: Vec<Bytes>,
    pub(crate) segments: Vec<Bytes>,
    /// What the sender does at the end instead of ending.
    pub(crate) hangs: bool,
}

impl SealedCopy for MemoryCopy {
    fn identity(&self) -> &CopyIdentity {
        &self.identity
    }

    fn key(&self) -> &CopyKey {
        &self.key
    }

    async fn inventory(&self) -> Result<Vec<Bytes>, CopyError> {
        Ok(self.inventory.clone())
    }

    async fn segments(&self, into: mpsc::Sender<Result<SealedSegment, CopyError>>) {
        for (place, bytes) in self.segments.iter().enumerate() {
            let segment = SealedSegment {
                name: format!("{place:08}"),
                bytes: bytes.clone(),
                is_last: place + 1 == self.segments.len(),
            };
            if self.hangs && segment.is_last && place > 0 {
                into.closed().await;
                return;
            }
            if into.send(Ok(segment)).await.is_err() {
                return;
            }
        }
    }
}

/// How a copy is made, to make it wrong.
pub(crate) struct Making {
    /// Members in a segment.
    pub(crate) cut: usize,
    /// Sessions of the dump.
    pub(crate) connections: u32,
    /// Changes a member.
    pub(crate) member: fn(Member) -> Vec<Member>,
    /// Each byte of the copy's id.
    pub(crate) copy: u8,
    /// Changes the inventory's header.
    pub(crate) header: fn(&mut inventory::Header),
    /// Changes an inventory line.
    pub(crate) line: fn(Line) -> Line,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            cut: 7,
            connections: 6,
            member: |member| vec![member],
            copy: 7,
            header: |_| (),
            line: |line| line,
        }
    }
}

/// A table and a large object, of which [`miscounted`] changes something.
pub(crate) const COUNTED: &str =
    "CREATE TABLE t (a text); INSERT INTO t SELECT 'row ' || n FROM generate_series(1, 200) n;
    SELECT lo_from_bytea(4711, 'a map')";

/// Ways to make a copy of [`COUNTED`] that opens and holds something else than its inventory says, each with what is said of it.
pub(crate) fn miscounted() -> [(Making, &'static str); 3] {
    [
        (
            Making {
                line: with_another_object,
                ..Making::default()
            },
            "1 objects of 5 bytes instead of 2 of 5",
        ),
        (
            Making {
                member: with_another_value,
                ..Making::default()
            },
            "digest or size differs",
        ),
        (
            Making {
                line: with_another_row,
                ..Making::default()
            },
            "200 rows instead of 201",
        ),
    ]
}

fn with_another_value(member: Member) -> Vec<Member> {
    let text = member.body.windows(6).position(|window| window == b"row 77");
    let Some(place) = text.filter(|_| member.name.file().as_str() != "toc.dat") else {
        return vec![member];
    };
    let mut body = member.body.to_vec();
    body[place] = b'R';
    vec![Member::new(member.name, Bytes::from(body)).unwrap()]
}

fn with_another_row(line: Line) -> Line {
    match line {
        Line::Table(mut table) => {
            table.rows += 1;
            Line::Table(table)
        }
        line => line,
    }
}

fn with_another_object(line: Line) -> Line {
    match line {
        Line::LargeObjects(mut objects) => {
            objects.objects += 1;
            Line::LargeObjects(objects)
        }
        line => line,
    }
}

/// Dumps a database and seals what comes.
pub(crate) async fn seal(source: &Source) -> MemoryCopy {
    seal_with(source, Making::default()).await
}

pub(crate) async fn seal_with(source: &Source, making: Making) -> MemoryCopy {
    let scratch = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
    let mut options = dump::Options::new(scratch.path().join("scratch"));
    options.max_connections = making.connections;
    let (sender, receiver) = mpsc::channel(8);
    let (progress, _) = watch::channel(dump::Progress::default());
    let key = CopyKey::generate();
    let sealing = {
        let key = key.clone();
        tokio::task::spawn_blocking(move || seal_members(receiver, &key, making.cut, making.member))
    };
    let dumped = Dump::new(source, &options)
        .run(sender, progress, CancellationToken::new())
        .await
        .unwrap();
    let segments = sealing.await.unwrap();
    let copy_id = CopyId::from_bytes([making.copy; 16]);
    let mut header = inventory::Header {
        format: String::new(),
        registry: "population".parse().unwrap(),
        copy_id,
        taken_at: dumped.taken_at,
        server: dumped.server,
        database: dumped.database,
        planner: dumped.planner,
    };
    (making.header)(&mut header);
    let level = CompressionLevel::new(1).unwrap();
    let mut writer = InventoryWriter::new(&key.recipient(), level, header).unwrap();
    let mut inventory = Vec::new();
    for line in &dumped.lines {
        inventory.extend(
            writer
                .push(&(making.line)(line.clone()))
                .unwrap()
                .map(|part| part.bytes),
        );
    }
    inventory.push(writer.finish().unwrap().bytes);
    MemoryCopy {
        identity: CopyIdentity {
            registry: "population".parse().unwrap(),
            sequence: 12,
            copy_id,
            taken_at: dumped.taken_at,
            sealed_bytes: segments.iter().map(|segment| segment.len() as u64).sum(),
        },
        key,
        inventory,
        segments,
        hangs: false,
    }
}

fn seal_members(
    mut members: mpsc::Receiver<Member>,
    key: &CopyKey,
    cut: usize,
    change: fn(Member) -> Vec<Member>,
) -> Vec<Bytes> {
    let level = CompressionLevel::new(1).unwrap();
    let begin = || SegmentWriter::new(&key.recipient(), level).unwrap();
    let (mut segments, mut writer) = (Vec::new(), begin());
    while let Some(member) = members.blocking_recv() {
        for member in change(member) {
            if writer.members() == cut || writer.is_full() {
                let full = std::mem::replace(&mut writer, begin());
                segments.push(full.finish(SegmentPosition::Inner).unwrap().bytes);
            }
            writer.add(&member).unwrap();
        }
    }
    segments.push(writer.finish(SegmentPosition::Last).unwrap().bytes);
    segments
}

/// How the tests restore.
pub(crate) fn options() -> Options {
    Options {
        rehearsal: None,
        if_not_empty: IfNotEmpty::Refuse,
        trusting: false,
        allowed_extensions: Vec::new(),
        accept_collation: false,
        create_database: false,
        jobs: 3,
        scratch: std::env::temp_dir(),
        prepared_schemas: Vec::new(),
    }
}

/// The role that owns the targets and is no superuser.
pub(crate) const OWNER: &str = "target_owner";
/// A superuser that has a password.
pub(crate) const ADMINISTRATOR: &str = "administrator";

/// An empty database that [`OWNER`] owns.
pub(crate) async fn target(server: &'static Server) -> Database {
    target_with(server, "").await
}

pub(crate) async fn target_with(server: &'static Server, create: &str) -> Database {
    static ROLES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let database = server.database_with(create).await.unwrap();
    let _one_at_a_time = ROLES.lock().await;
    database
        .execute(&format!(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}') THEN
                     CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}';
                     CREATE ROLE {ADMINISTRATOR} LOGIN SUPERUSER PASSWORD '{PASSWORD}';
                 END IF;
             END $$;
             ALTER DATABASE {} OWNER TO {OWNER}",
            database.name
        ))
        .await
        .unwrap();
    database
}

/// Restores as the target's owner.
pub(crate) async fn restore_into(
    target: &Database,
    copy: MemoryCopy,
    options: &Options,
) -> Result<Outcome, RestoreError> {
    restore_as(OWNER, target, copy, options).await
}

/// Restores as some role.
pub(crate) async fn restore_as(
    role: &str,
    target: &Database,
    copy: MemoryCopy,
    options: &Options,
) -> Result<Outcome, RestoreError> {
    let source = source_as(target.server, &target.name, role);
    restore(&Arc::new(copy), &source, options, &Progress::default()).await
}
