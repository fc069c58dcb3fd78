//! The stock tools: `pg_dump | age | rclone rcat` and its reverse; and a dump in a folder beside the server.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::process::Command;

use super::rig::{DATABASE, Rig, TARGET};
use crate::command::{command, output};

/// The object that their copy is.
pub(super) const OBJECT: &str = "tpch.dump.age";

fn pipe(rig: &Rig, script: &str) -> Command {
    let mut shell = command("bash");
    shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(rig.environment())
        .args(["-euo", "pipefail", "-c", script]);
    shell
}

pub(super) async fn copy(rig: &Rig) -> Result<Duration> {
    let script = format!(
        "\"$PROGRAMS/pg_dump\" --format=custom --compress=zstd:1 --dbname={DATABASE} | age --encrypt --recipient \"$RECIPIENT\" \
         | rclone --ca-cert \"$STORE_CA\" rcat \"store:$BUCKET/{OBJECT}\""
    );
    let began = Instant::now();
    output(&mut pipe(rig, &script)).await?;
    Ok(began.elapsed())
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
