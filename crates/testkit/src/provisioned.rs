//! Where the programs and root file systems lie that `cargo e2e provision` has built. This module only reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The path of a provisioned thing, such as `minio` or `rootfs-postgresql-17`.
pub fn path(name: &str) -> Result<PathBuf> {
    let list = cache()?.join("current.json");
    let text = std::fs::read_to_string(&list).with_context(|| {
        format!(
            "{} cannot be read: run `cargo e2e provision` first",
            list.display()
        )
    })?;
    let paths: BTreeMap<String, PathBuf> =
        serde_json::from_str(&text).with_context(|| format!("{} is not a list of paths", list.display()))?;
    let path = paths.get(name).with_context(|| {
        format!(
            "{} does not list {name}: run `cargo e2e provision` first",
            list.display()
        )
    })?;
    anyhow::ensure!(
        path.exists(),
        "{} is listed but absent: run `cargo e2e provision` first",
        path.display()
    );
    Ok(path.clone())
}

/// The version of a provisioned program, as its folder in the cache says it.
pub fn version(name: &str) -> Result<String> {
    let path = path(name)?;
    path.components()
        .rev()
        .find_map(|part| part.as_os_str().to_str()?.strip_prefix(name)?.strip_prefix('-'))
        .map(str::to_owned)
        .with_context(|| format!("{} does not name a version", path.display()))
}

fn cache() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("DATAEMBASSY_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(cache).join("dataembassy"));
    }
    let home = std::env::var_os("HOME").context("neither DATAEMBASSY_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/dataembassy"))
}
