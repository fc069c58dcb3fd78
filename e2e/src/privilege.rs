//! Who we are. The bed needs root (namespaces, mounts, cgroups); building programs does not, and files built
//! for a user belong to that user. So the whole command runs as root, through sudo if need be, and builds
//! step back to the user who called it.

use std::{env, os::unix::process::CommandExt as _, process};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{cache::Cache, cluster::BED, command::command};

/// The caller's `PATH` and `HOME`, which sudo replaces.
const PATH: &str = "DATAEMBASSY_CALLER_PATH";
const HOME: &str = "DATAEMBASSY_CALLER_HOME";

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process was started by [`become_root`]: what there was to say was said before.
#[must_use]
pub fn was_raised() -> bool {
    env::var_os(PATH).is_some()
}

/// Replaces this process by the same command under sudo. Returns only if that fails.
pub fn become_root(cache: &Cache) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let this = env::current_exe().context("cannot find this program's own file")?;
    let error = process::Command::new("sudo")
        .arg("env")
        .arg(format!("DATAEMBASSY_CACHE={}", cache.root().display()))
        .arg(format!("{PATH}={}", env::var("PATH").unwrap_or_default()))
        .arg(format!("{HOME}={}", env::var("HOME").unwrap_or_default()))
        .args(env::var(BED).map(|number| format!("{BED}={number}")))
        .arg(this)
        .args(env::args_os().skip(1))
        .exec();
    bail!("this needs root, and sudo cannot be run ({error}): run it again as root")
}

/// A command that builds something: as the user who called sudo, with that user's `PATH` and `HOME`.
#[must_use]
pub fn builder(program: &str) -> Command {
    let mut builder = command(program);
    if let (Ok(path), Ok(home)) = (env::var(PATH), env::var(HOME)) {
        builder.env("PATH", path).env("HOME", home);
        if let Some((user, group)) = caller() {
            builder.uid(user).gid(group);
        }
    }
    builder
}

/// User and group of whoever called sudo.
#[must_use]
pub fn caller() -> Option<(u32, u32)> {
    let number = |name| env::var(name).ok()?.parse().ok();
    Some((number("SUDO_UID")?, number("SUDO_GID")?))
}

/// Gives a file or folder made by root to whoever called sudo, so that builds can write there.
pub fn hand_over(path: &std::path::Path) -> Result<()> {
    if let Some((user, group)) = caller() {
        std::os::unix::fs::chown(path, Some(user), Some(group))
            .with_context(|| format!("cannot hand over {}", path.display()))?;
    }
    Ok(())
}
