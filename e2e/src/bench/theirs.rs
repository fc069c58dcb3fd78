//! The stock tools: `pg_dump | age | rclone rcat` and its reverse; `pg_dump | restic backup`; and a dump in a folder beside the server.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::process::Command;

use super::group::Group;
use super::rig::{DATABASE, Rig, TARGET};
use crate::command::{command, output};

/// The object that their copy is.
pub(super) const OBJECT: &str = "tpch.dump.age";

/// A shell that is told of both servers.
fn told(rig: &Rig, mut shell: Command, script: &str) -> Command {
    shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(rig.environment())
        .args(["-euo", "pipefail", "-c", script]);
    shell
}

fn pipe(rig: &Rig, script: &str) -> Command {
    told(rig, command("bash"), script)
}

pub(super) async fn copy(rig: &Rig, group: Group) -> Result<Group> {
    let script = format!(
        "\"$PROGRAMS/pg_dump\" --format=custom --compress=zstd:1 --dbname={DATABASE} | age --encrypt --recipient \"$RECIPIENT\" \
         | rclone --ca-cert \"$STORE_CA\" rcat \"store:$BUCKET/{OBJECT}\""
    );
    output(&mut told(rig, group.command("bash"), &script)).await?;
    Ok(group)
}

/// Makes a repository that knows nothing: in one that holds the rows already there would be nothing to store.
pub(super) async fn begin_restic(rig: &Rig) -> Result<()> {
    remove(rig, "restic").await?;
    let script = "restic --cacert \"$STORE_CA\" --no-cache --quiet init";
    output(&mut pipe(rig, script)).await.map(drop)
}

/// Removes a folder of theirs from the store, if there is one.
pub(super) async fn remove(rig: &Rig, folder: &str) -> Result<()> {
    let script =
        format!("rclone --ca-cert \"$STORE_CA\" purge \"store:$BUCKET/{folder}\" 2>/dev/null || true");
    output(&mut pipe(rig, &script)).await.map(drop)
}

pub(super) async fn restic(rig: &Rig, group: Group) -> Result<Group> {
    let script = format!(
        "\"$PROGRAMS/pg_dump\" --format=custom --compress=0 --dbname={DATABASE} \
         | restic --cacert \"$STORE_CA\" --no-cache --quiet backup --stdin --stdin-filename tpch.dump"
    );
    output(&mut told(rig, group.command("bash"), &script)).await?;
    Ok(group)
}

pub(super) async fn restore(rig: &Rig) -> Result<Duration> {
    rig.empty_target().await?;
    let script = format!(
        "rclone --ca-cert \"$STORE_CA\" cat \"store:$BUCKET/{OBJECT}\" | age --decrypt --identity \"$IDENTITY\" \
         | \"$PROGRAMS/pg_restore\" --exit-on-error --no-owner --dbname={TARGET}"
    );
    let began = Instant::now();
    output(&mut pipe(rig, &script)).await?;
    let took = began.elapsed();
    rig.check_target().await?;
    Ok(took)
}

/// Makes a dump in a folder, once, which nobody has to fetch or to open.
pub(super) async fn dump_locally(rig: &Rig) -> Result<()> {
    let folder = rig.path("local-dump");
    let script = format!(
        "\"$PROGRAMS/pg_dump\" --format=directory --compress=zstd:1 --jobs=2 --dbname={DATABASE} --file=\"{}\"",
        folder.display()
    );
    output(&mut pipe(rig, &script)).await.map(drop)
}

/// Restores that dump with two jobs.
pub(super) async fn restore_locally(rig: &Rig) -> Result<Duration> {
    rig.empty_target().await?;
    let folder = rig.path("local-dump");
    let script = format!(
        "\"$PROGRAMS/pg_restore\" --jobs=2 --exit-on-error --no-owner --dbname={TARGET} \"{}\"",
        folder.display()
    );
    let began = Instant::now();
    output(&mut pipe(rig, &script)).await?;
    let took = began.elapsed();
    rig.check_target().await?;
    Ok(took)
}
