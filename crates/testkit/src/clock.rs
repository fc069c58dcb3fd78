//! The calendar of a single process, which is set while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// What Debian calls the library that comes between a process and its clock, and the part of it for processes of many threads.
const PACKAGE: &str = "libfaketime";
const LIBRARY: &str = "libfaketimeMT.so.1";

/// Where the library looks for what it adds.
const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

/// A calendar that goes as the machine's does, ahead of it or behind. The clock that only goes on is left alone, as when somebody sets a machine's
/// time. It reaches programs that ask the C library, such as ours, and not static ones, such as Go's.
#[derive(Debug)]
pub struct Calendar {
    folder: TempDir,
    library: PathBuf,
}

impl Calendar {
    /// One that is right.
    pub fn new() -> Result<Self> {
        let calendar = Self {
            folder: tempfile::Builder::new().prefix("calendar-").tempdir()?,
            library: library()?,
        };
        calendar.set(0)?;
        Ok(calendar)
    }

    /// Sets it so many seconds ahead of the machine's, for every process that has it from now on or had it before.
    pub fn set(&self, ahead: i64) -> Result<()> {
        set(&self.file(), ahead)
    }

    /// What a process has in its environment that goes by it.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let (library, file) = (self.library.display(), self.file());
        vec![
            ("LD_PRELOAD", library.to_string()),
            (FILE, file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}

/// Sets the calendar that this process goes by itself, which whoever has begun it has given it.
pub fn set_own(ahead: i64) -> Result<()> {
    let file = env::var_os(FILE).context("this process goes by the machine's clock")?;
    set(Path::new(&file), ahead)
}

fn set(file: &Path, ahead: i64) -> Result<()> {
    let draft = file.with_extension("draft");
    fs::write(&draft, format!("{ahead:+}"))?;
    Ok(fs::rename(draft, file)?)
}

fn library() -> Result<PathBuf> {
    let listed = Command::new("dpkg-query")
        .args(["--listfiles", PACKAGE])
        .output()
        .context("dpkg-query cannot be started")?;
    ensure!(
        listed.status.success(),
        "{PACKAGE} is not installed: run `cargo e2e provision` first"
    );
    let files = String::from_utf8(listed.stdout)?;
    let library = files.lines().find(|file| file.ends_with(LIBRARY));
    library
        .map(PathBuf::from)
        .with_context(|| format!("{PACKAGE} holds no {LIBRARY}"))
}
