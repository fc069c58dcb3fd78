//! The program `pg_restore` of the target's major version: told by dump id what to restore, never by words.
//!
//! It sees a directory with the table of contents and no rows, and a Unix socket. `--section` is not used: an entry
//! without a section of its own belongs to the section of the entry before it, and a list changes what is before it.

use std::{
    borrow::Cow,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::target::Doorway;
use crate::postgresql::{client_program, connection::withhold_values};

/// What is kept of its words: the first errors explain the later ones.
const STDERR_KEPT: usize = 256 * 1024;
/// What is kept of one line.
const LINE_KEPT: usize = 64 * 1024;

/// Why a phase did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The program cannot be run, or its list cannot be written.
    #[error("{program} cannot be run: {error}")]
    NotRun {
        /// The program.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It failed.
    #[error("pg_restore failed in {phase} ({status}): {words}")]
    Failed {
        /// What was being restored.
        phase: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        words: String,
    },
}

/// How the kernel says, and with it a server that speaks English, that a disk is full. The program passes on no codes.
const NO_ROOM: &str = "No space left on device";

impl ProgramError {
    /// Whether the server told it that there is no room.
    pub(super) fn tells_of_no_room(&self) -> bool {
        matches!(self, Self::Failed { words, .. } if words.contains(NO_ROOM))
    }
}

/// How it is run.
pub struct PgRestore<'a> {
    /// `<programs>/<major>/bin/pg_restore`.
    pub program: PathBuf,
    /// Holds `toc.dat`.
    pub archive: &'a Path,
    /// The way into the target.
    pub doorway: &'a Doorway,
    /// The role that restores.
    pub role: &'a str,
    /// The target database.
    pub database: &'a str,
    /// Whether owners, privileges, labels and tablespaces are restored.
    pub trusting: bool,
}

/// What a run that may fail in parts has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Dump ids of the entries that failed.
    pub dump_ids: Vec<u32>,
    /// What the program said.
    pub words: String,
}

impl PgRestore<'_> {
    /// Where the program of a major version is.
    #[must_use]
    pub fn path(programs: &Path, major: u32) -> PathBuf {
        client_program::path(programs, major, "pg_restore")
    }

    /// Restores these entries in this order, and stops at the first error.
    pub async fn strictly(&self, phase: &'static str, dump_ids: &[u32]) -> Result<(), ProgramError> {
        if dump_ids.is_empty() {
            return Ok(());
        }
        let (status, said) = self.run(dump_ids, "--exit-on-error".into()).await?;
        if status.success() {
            Ok(())
        } else {
            Err(said.failed(phase, status))
        }
    }

    /// Restores these entries with `jobs` sessions, and goes on after an error.
    pub async fn in_parallel(
        &self,
        phase: &'static str,
        dump_ids: &[u32],
        jobs: usize,
    ) -> Result<Failures, ProgramError> {
        if dump_ids.is_empty() {
            return Ok(Failures::default());
        }
        let (status, mut said) = self.run(dump_ids, format!("--jobs={jobs}").into()).await?;
        said.dump_ids.retain(|id| dump_ids.contains(id));
        // It ends with 1 if it ignored errors. Each must be tied to an entry: one that is not cannot be tried again.
        let known = status.code() == Some(1) && said.errors == said.dump_ids.len() && said.errors > 0;
        if status.success() || known {
            Ok(Failures {
                dump_ids: said.dump_ids,
                words: said.words,
            })
        } else {
            Err(said.failed(phase, status))
        }
    }

    async fn run(&self, dump_ids: &[u32], mode: OsString) -> Result<(ExitStatus, Said), ProgramError> {
        let not_run = |error| ProgramError::NotRun {
            program: self.program.clone(),
            error,
        };
        let list = self.archive.join("list");
        let lines: Vec<String> = dump_ids.iter().map(u32::to_string).collect();
        tokio::fs::write(&list, lines.join(";\n") + ";\n")
            .await
            .map_err(not_run)?;
        let mut command = client_program::command(&self.program, self.archive);
        command
            // Only then it names the entry that an error belongs to.
            .args(["--format=directory", "--no-password", "--verbose"])
            .arg("--use-list")
            .arg(&list)
            .arg(mode);
        if !self.trusting {
            command.args([
                "--no-owner",
                "--no-acl",
                "--no-publications",
                "--no-subscriptions",
                "--no-security-labels",
                "--no-tablespaces",
            ]);
        }
        let mut child = command
            .arg("--dbname")
            .arg(self.connection_string())
            .arg(self.archive)
            .spawn()
            .map_err(not_run)?;
        let mut said = Said::default();
        if let Some(stderr) = child.stderr.take() {
            said.listen(stderr).await.map_err(not_run)?;
        }
        let status = child.wait().await.map_err(not_run)?;
        Ok((status, said))
    }

    /// Host, user and database only: there is nothing secret to say.
    fn connection_string(&self) -> String {
        format!(
            "host={} port={} user={} dbname={} sslmode=disable gssencmode=disable",
            quoted(&self.doorway.directory().to_string_lossy()),
            super::target::PORT,
            quoted(self.role),
            quoted(self.database),
        )
    }
}

/// A value of a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What a server's error has behind its message, and what functions say beside: it may quote a row.
const MAY_QUOTE: [&str; 5] = ["DETAIL:", "CONTEXT:", "NOTICE:", "WARNING:", "INFO:"];
/// What the program says itself behind a server's error.
const OWN: &str = "Command was:";
/// How a server begins its messages about a value.
const ABOUT_A_VALUE: [&str; 4] = [
    "invalid input",
    "invalid byte sequence",
    "value \"",
    "date/time field value",
];
/// What a function of the registry raised has this in its context.
const RAISED: &str = " at RAISE";
/// Stands for that.
const OF_A_FUNCTION: &str = "pg_restore: error: a function of the registry raised an error; its words may quote rows, so only the server's own log \
                             has them\n";

/// What the program said, without its remarks on progress, and without what may quote a row: its words are told in places where no row may be
/// read.
#[derive(Debug, Default)]
struct Said {
    words: String,
    /// Where the latest error begins in them.
    latest: usize,
    /// Whether what comes belongs to what is left out: a value may hold line breaks.
    is_quoting: bool,
    /// Entries that it names as the source of an error, in the order of their failing.
    dump_ids: Vec<u32>,
    errors: usize,
}

impl Said {
    async fn listen(&mut self, stderr: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            // A definition may be one line of any length; what tells what a line is stands at its beginning.
            let piece = lines.fill_buf().await?;
            if piece.is_empty() {
                if !line.is_empty() {
                    self.take(&String::from_utf8_lossy(&line));
                }
                return Ok(());
            }
            let end = piece
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|place| place + 1);
            let taken = end.unwrap_or(piece.len());
            let room = LINE_KEPT.saturating_sub(line.len());
            line.extend_from_slice(&piece[..taken.min(room)]);
            lines.consume(taken);
            if end.is_some() {
                if !line.ends_with(b"\n") {
                    line.push(b'\n');
                }
                self.take(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }

    fn take(&mut self, line: &str) {
        if let Some(remark) = line.strip_prefix("pg_restore: ") {
            self.is_quoting = false;
            if let Some(entry) = remark.strip_prefix("from TOC entry ") {
                self.dump_ids
                    .extend(entry.split(';').next().and_then(|id| id.parse::<u32>().ok()));
                self.keep(line);
            } else if remark.starts_with("error: ") {
                self.errors += 1;
                self.latest = self.words.len();
                self.keep(&without_value(line));
            } else if remark.starts_with("warning: ") {
                self.keep(line);
            }
        } else if line.starts_with(OWN) {
            self.is_quoting = false;
            self.keep(line);
        } else {
            self.is_quoting |= MAY_QUOTE.iter().any(|field| line.starts_with(field));
            if !self.is_quoting {
                self.keep(line);
            } else if line.contains(RAISED) && self.errors > 0 {
                self.words.truncate(self.latest);
                self.keep(OF_A_FUNCTION);
            }
        }
    }

    fn keep(&mut self, line: &str) {
        let room = STDERR_KEPT.saturating_sub(self.words.len());
        self.words.extend(line.chars().take(room));
    }

    fn failed(self, phase: &'static str, status: ExitStatus) -> ProgramError {
        let words = self.words.trim_end().to_owned();
        ProgramError::Failed { phase, status, words }
    }
}

/// A line without the value that the server's message is about.
fn without_value(line: &str) -> Cow<'_, str> {
    let about = ABOUT_A_VALUE
        .iter()
        .filter_map(|beginning| line.find(&format!("ERROR:  {beginning}")))
        .min();
    match about {
        Some(at) => Cow::Owned(format!("{}{}", &line[..at], withhold_values(&line[at..]))),
        None => Cow::Borrowed(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_entries_are_known_by_their_dump_ids_and_progress_is_not_kept() {
        let mut said = Said::default();
        for line in [
            "pg_restore: launching item 17 INDEX a\n",
            "pg_restore: while PROCESSING TOC:\n",
            "pg_restore: from TOC entry 3356; 2606 16574 FK CONSTRAINT child child_a_fkey postgres\n",
            "pg_restore: error: could not execute query: ERROR:  deadlock detected\n",
            "Command was: ALTER TABLE …\n",
            "pg_restore: warning: errors ignored on restore: 2\n",
        ] {
            said.take(line);
        }
        assert_eq!((said.dump_ids.as_slice(), said.errors), (&[3356][..], 1));
        assert_eq!(said.words.lines().count(), 4);
    }

    #[test]
    fn what_a_server_quotes_of_a_row_is_left_out() {
        let mut said = Said::default();
        for line in [
            "pg_restore: error: could not execute query: ERROR:  could not create unique index \"person_name\"\n",
            "DETAIL:  Key (name)=(Secret\n",
            "Secret) is duplicated.\n",
            "Command was: CREATE UNIQUE INDEX person_name ON public.person (name);\n",
            "NOTICE:  Secret\n",
            "pg_restore: error: could not execute query: ERROR:  invalid input syntax for type integer: \"Secret\"\n",
            "Command was: CREATE INDEX number ON public.person ((name::integer));\n",
            "pg_restore: error: could not execute query: ERROR:  Secret is not\n",
            "Secret\n",
            "CONTEXT:  PL/pgSQL function public.ok(text) line 3 at RAISE\n",
            "Command was: ALTER TABLE public.person VALIDATE CONSTRAINT ok;\n",
        ] {
            said.take(line);
        }
        assert!(!said.words.contains("Secret"), "{}", said.words);
        assert_eq!(said.errors, 3);
        for kept in [
            "person_name\"\nCommand was: CREATE UNIQUE",
            "type integer: \"…\"\nCommand was: CREATE INDEX",
            "a function of the registry raised",
            "VALIDATE CONSTRAINT",
        ] {
            assert!(said.words.contains(kept), "{kept}: {}", said.words);
        }
    }

    #[tokio::test]
    async fn a_line_of_any_length_is_heard_and_kept_only_at_its_beginning() {
        let long = format!(
            "pg_restore: error: {}\npg_restore: error: short\nlast",
            "x".repeat(10_000_000)
        );
        let mut said = Said::default();
        said.listen(long.as_bytes()).await.unwrap();
        assert_eq!(said.errors, 2);
        assert!(said.words.len() < LINE_KEPT + 100, "{}", said.words.len());
        assert!(said.words.ends_with("pg_restore: error: short\nlast"));
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_connection_string() {
        assert_eq!(quoted(r"a' host='\"), r"'a\' host=\'\\'");
    }
}
