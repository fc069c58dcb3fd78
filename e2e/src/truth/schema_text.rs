//! A database's schema as `pg_dump --schema-only` prints it, to be compared as text.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};

/// What `pg_dump` (a path; the same program for both sides) prints of a database, without what differs by
/// nature: the versions it names, the key of its `\restrict` line, and the name of the database.
///
/// `connection` is a libpq connection string; a password belongs into a file that it names (`passfile`), for
/// arguments can be read by everybody. With a `snapshot` (as of [`super::snapshot`]) the schema is that of its
/// moment, as far as `pg_dump` can see one.
pub fn schema_text(pg_dump: &Path, connection: &str, snapshot: Option<&str>) -> anyhow::Result<String> {
    let mut command = Command::new(pg_dump);
    command
        .arg("--schema-only")
        .arg("--dbname")
        .arg(connection)
        .env_clear();
    if let Some(snapshot) = snapshot {
        command.arg(format!("--snapshot={snapshot}"));
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("{} cannot be run", pg_dump.display()))?;
    ensure!(
        status.success(),
        "{} ended with {status}: {}",
        pg_dump.display(),
        String::from_utf8_lossy(&stderr)
    );
    let text = String::from_utf8_lossy(&stdout);
    let kept = text.lines().filter(|line| {
        ![
            "-- Dumped from database version ",
            "-- Dumped by pg_dump version ",
            "\\restrict ",
            "\\unrestrict ",
        ]
        .iter()
        .any(|varying| line.starts_with(varying))
    });
    Ok(kept.fold(String::with_capacity(text.len()), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    }))
}

/// The first line in which two texts part, with its number and both versions; nothing if they are the same.
#[must_use]
pub fn first_difference(source: &str, restored: &str) -> Option<String> {
    let (mut left, mut right) = (source.lines(), restored.lines());
    for number in 1_u32.. {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => {
                let [a, b] = [a, b].map(|line| line.unwrap_or("(end)"));
                return Some(format!("line {number}:\n  source:   {a}\n  restored: {b}"));
            }
        }
    }
    None
}
