//! The product's programs, built by cargo for release.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    command::{output, tail},
    privilege::{self, builder},
    progress::{Progress, Step},
};

/// The repository's root.
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The variable that says where operator and sidecar lie, where they were just built: nobody waits then for what else cargo is building.
pub const BUILT: &str = "DATAEMBASSY_PROGRAMS";

/// Builds operator and sidecar, unless [`BUILT`] says where they are; returns the folder they are in.
pub async fn build_programs(progress: &Progress) -> Result<PathBuf> {
    if let Some(folder) = env::var_os(BUILT) {
        return Ok(folder.into());
    }
    let step = progress.step("operator and sidecar");
    build(builder("cargo"), &step).await?;
    let mut metadata = builder("cargo");
    metadata
        .current_dir(TREE)
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&output(&mut metadata).await?)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target directory")?;
    step.done();
    Ok(Path::new(target).join("release"))
}

/// Builds both and all that they are made of once more, where nothing is built yet: in a folder within `target` that is gone afterwards. How long
/// that took.
pub async fn build_anew(target: &Path, progress: &Progress) -> Result<Duration> {
    let folder = tempfile::Builder::new().prefix("anew-").tempdir_in(target)?;
    privilege::hand_over(folder.path())?;
    let step = progress.step("operator and sidecar, from nothing");
    let mut cargo = builder("cargo");
    // A wrapper may remember what was compiled elsewhere; an empty one is none.
    cargo
        .env("CARGO_TARGET_DIR", folder.path())
        .env("RUSTC_WRAPPER", "");
    let began = Instant::now();
    build(cargo, &step).await?;
    let took = began.elapsed();
    folder.close()?;
    step.done();
    Ok(took)
}

/// Has cargo build both.
async fn build(mut cargo: Command, step: &Step) -> Result<()> {
    cargo.current_dir(TREE).args([
        "build",
        "--release",
        "--locked",
        "-p",
        "dataembassy-operator",
        "-p",
        "dataembassy-sidecar",
    ]);
    let mut child = cargo
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut lines = BufReader::new(child.stderr.take().context("no standard error")?).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        step.at(line.trim());
        step.advance(1);
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().await?;
    if !status.success() {
        bail!("cargo build: {status}\n{}", tail(&said));
    }
    Ok(())
}
