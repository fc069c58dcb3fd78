//! The `pg_dump` process: a clean environment, its standard error kept, never longer than it may live.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
};

use crate::postgresql::{client_program, source::Source};

/// What is kept of standard error; the rest is read and dropped, so that the process never blocks on it.
const STDERR_KEPT: usize = 64 * 1024;
/// Letters of a line, and lines, that an error repeats.
const LINE_SHOWN: usize = 300;
const LINES_SHOWN: usize = 6;

/// What one `pg_dump` is to do.
pub(super) struct Assignment<'a> {
    pub(super) source: &'a Source,
    pub(super) major: u32,
    /// Where the proxy listens.
    pub(super) socket_directory: &'a Path,
    pub(super) port: u16,
    /// Where the plan is written to; must not exist.
    pub(super) target: &'a Path,
    /// The leader's exported snapshot.
    pub(super) snapshot: &'a str,
    /// How long it may wait for one lock, in milliseconds.
    pub(super) lock_timeout: u128,
}

/// Where a major version's `pg_dump` is.
pub(crate) fn path(programs: &Path, major: u32) -> PathBuf {
    client_program::path(programs, major, "pg_dump")
}

pub(super) fn spawn(assignment: &Assignment<'_>) -> std::io::Result<Child> {
    // Until 15 `--compress` is a number.
    let compress = if assignment.major >= 16 {
        "--compress=none"
    } else {
        "--compress=0"
    };
    let program = path(&assignment.source.programs, assignment.major);
    client_program::command(&program, assignment.socket_directory)
        .args(["--format=directory", compress, "--no-password", "--no-sync"])
        .arg(format!("--snapshot={}", assignment.snapshot))
        .arg(format!("--lock-wait-timeout={}", assignment.lock_timeout))
        .arg("--file")
        .arg(assignment.target)
        // Its own name would replace ours, by which the registry's people know the session.
        .env("PGAPPNAME", "dataembassy plan and locks")
        // Names go through the environment: as arguments, one with `=` in it would be read as a connection string.
        .env("PGHOST", assignment.socket_directory)
        .env("PGPORT", assignment.port.to_string())
        .env("PGUSER", &assignment.source.user)
        .env("PGDATABASE", &assignment.source.database)
        .spawn()
}

/// Waits for the end, and what was said on the way.
pub(super) async fn outcome(child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
    let stderr = child.stderr.take();
    let said = async {
        match stderr {
            Some(stderr) => keep(stderr).await,
            None => Ok(String::new()),
        }
    };
    let (status, said) = tokio::join!(child.wait(), said);
    Ok((status?, said?))
}

async fn keep(mut stderr: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stderr.read(&mut buffer).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        let room = STDERR_KEPT.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
    }
}

/// Warnings that say nothing against a copy.
const HARMLESS: [&str; 2] = [
    // Data is loaded before constraints here, so their order does not matter.
    "pg_dump: warning: there are circular foreign-key constraints",
    // A dump role is none, and the inventory names each of them as not carried.
    "pg_dump: warning: subscriptions not dumped because current user is not a superuser",
];

/// The warnings in what `pg_dump` said that are not known to be harmless. Anything but silence after a success counts.
pub(super) fn unknown_warnings(said: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut known = false;
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let belongs_to_last = line.starts_with("pg_dump: detail:") || line.starts_with("pg_dump: hint:");
        if !belongs_to_last {
            known = HARMLESS.iter().any(|harmless| line.starts_with(harmless));
        }
        if !known {
            unknown.push(line.to_owned());
        }
    }
    unknown
}

/// The end of what `pg_dump` said, for people. It repeats the statement that failed, which may name every table there is: each line is cut,
/// so that the server's own words are not lost behind it.
pub(super) fn shortened(said: &str) -> String {
    let mut lines: Vec<String> = said
        .lines()
        .map(|line| match line.char_indices().nth(LINE_SHOWN) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        })
        .collect();
    let last = lines.split_off(lines.len().saturating_sub(LINES_SHOWN));
    last.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_not_lost_behind_a_long_statement() {
        let said = format!(
            "pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  You might need to increase \"max_locks_per_transaction\".\n\
             pg_dump: detail: Query was: LOCK TABLE {}\n",
            "public.tabel, ".repeat(10_000)
        );
        let shortened = shortened(&said);
        assert!(
            shortened.contains("out of shared memory") && shortened.contains("max_locks_per_transaction"),
            "{shortened}"
        );
        assert!(shortened.ends_with('…') && shortened.len() < 1000, "{shortened}");
    }

    #[test]
    fn only_unknown_warnings_are_reported() {
        let said = "pg_dump: warning: there are circular foreign-key constraints on this table:\n\
                    pg_dump: detail: person\n\
                    pg_dump: hint: You might not be able to restore the dump\n\
                    pg_dump: warning: subscriptions not dumped because current user is not a superuser\n\
                    pg_dump: warning: could not find where to insert IF EXISTS\n\
                    pg_dump: detail: more of it\n\n";
        assert_eq!(
            unknown_warnings(said),
            [
                "pg_dump: warning: could not find where to insert IF EXISTS",
                "pg_dump: detail: more of it"
            ]
        );
    }
}
