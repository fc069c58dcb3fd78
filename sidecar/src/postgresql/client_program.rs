//! PostgreSQL's own client programs: where they are, and the little that they see of us.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

/// Where a client program of a major version is: `<programs>/<major>/bin/<name>`.
pub(crate) fn path(programs: &Path, major: u32, name: &str) -> PathBuf {
    programs.join(major.to_string()).join("bin").join(name)
}

/// Runs a client program with nothing of our environment, where `home` is all it may call its own. It speaks English and UTC, only its
/// standard error is heard, and it is killed when nobody waits for it any more.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
