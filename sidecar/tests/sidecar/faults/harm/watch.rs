//! A mirror as its source and its machine see it, looked at again and again while a test goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::mirror::{MirrorBench, Sidecar};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Our sessions; how old the oldest of their snapshots is, in seconds; sessions that wait for one of ours; and our locks that keep anybody from
/// more than dropping or altering a table.
const LOOK: &str = "WITH ours AS (SELECT pid, xact_start, backend_xmin FROM pg_stat_activity \
        WHERE datname = current_database() AND usename = 'dump') \
    SELECT (SELECT count(*) FROM ours), \
        (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM ours WHERE backend_xmin IS NOT NULL), \
        (SELECT count(*) FROM pg_stat_activity AS waiting WHERE waiting.wait_event_type = 'Lock' \
            AND pg_blocking_pids(waiting.pid) && ARRAY(SELECT pid FROM ours)), \
        (SELECT count(*) FROM pg_locks JOIN ours USING (pid) WHERE locktype = 'relation' AND mode <> 'AccessShareLock')";

/// The most that was seen at once.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) sessions: i64,
    /// In seconds.
    pub(crate) snapshot_age: f64,
    /// Sessions that waited for one of ours.
    pub(crate) held_up: i64,
    pub(crate) strong_locks: i64,
    /// In the folder that the sidecar has for configuration, logs and plans.
    pub(crate) bytes: u64,
    /// What it had open to write.
    pub(crate) files: BTreeSet<PathBuf>,
}

pub(crate) struct Watch {
    stop: CancellationToken,
    looking: JoinHandle<Watched>,
}

impl Watch {
    pub(crate) async fn begin(bench: &MirrorBench, sidecar: &Sidecar) -> Self {
        let client = bench.database.client().await.unwrap();
        let look = client.prepare(LOOK).await.unwrap();
        let (folder, process) = (bench.folder.path().to_owned(), sidecar.process_id());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let looking = tokio::spawn(async move {
            let mut most = Watched::default();
            while !stopped.is_cancelled() {
                let row = client.query_one(&look, &[]).await.unwrap();
                most.sessions = most.sessions.max(row.get(0));
                most.snapshot_age = most.snapshot_age.max(row.get(1));
                most.held_up = most.held_up.max(row.get(2));
                most.strong_locks = most.strong_locks.max(row.get(3));
                most.bytes = most.bytes.max(size_of(&folder));
                most.files.extend(written_by(process));
                tokio::time::sleep(PAUSE).await;
            }
            most
        });
        Self { stop, looking }
    }

    /// What was seen until now.
    pub(crate) async fn end(self) -> Watched {
        self.stop.cancel();
        self.looking.await.unwrap()
    }
}

impl Watched {
    /// Nobody waited for us, nothing was locked that anybody works with, and nothing came onto a disk but logs and a plan.
    pub(crate) fn assert_harmless(&self, what: &str, bench: &MirrorBench) {
        const MOST_BYTES: u64 = 1024 * 1024;
        let connections = bench.config.source.postgresql.as_ref().unwrap().max_connections;
        assert!(self.sessions <= i64::from(connections), "{what}: {self:#?}");
        assert_eq!((self.held_up, self.strong_locks), (0, 0), "{what}: {self:#?}");
        assert!(self.bytes < MOST_BYTES, "{what}: {self:#?}");
        let is_ours = |file: &PathBuf| file.starts_with(bench.folder.path());
        // Its log at least.
        assert!(
            !self.files.is_empty(),
            "{what}: no look found what it writes. Only root may look into a process of ours, which lets nobody else at its memory: are these \
             tests run by root?"
        );
        assert!(self.files.iter().all(is_ours), "{what}: {self:#?}");
    }
}

/// The bytes of all files in a folder and below, of which some may go away meanwhile.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// The files that a process has open to write, those without a name included. None where this is not root's: a process that may leave no core shows
/// its open files to nobody else.
fn written_by(process: u32) -> Vec<PathBuf> {
    let process = Path::new("/proc").join(process.to_string());
    let Ok(open) = fs::read_dir(process.join("fd")) else {
        return Vec::new();
    };
    let written = open.flatten().filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        let said = fs::read_to_string(process.join("fdinfo").join(file.file_name())).ok()?;
        let flags = said.lines().find_map(|line| line.strip_prefix("flags:"))?;
        // The last two bits: 0 for reading, 1 for writing, 2 for both.
        let is_written = u32::from_str_radix(flags.trim(), 8).ok()? & 3 != 0;
        // Sockets and the like have no path.
        let is_file = target.is_absolute() && !target.starts_with("/dev");
        (is_written && is_file).then_some(target)
    });
    written.collect()
}
