//! PostgreSQL's client programs without a chroot: scripts that run them through the loader of their own root file
//! system, laid out as the sidecar expects them.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use super::write_script;
use crate::provisioned;

const MAJORS: [&str; 2] = ["15", "17"];

/// A directory with `<major>/bin/<program>` for 15 and 17: what `--postgresql-programs` takes. It is made once per
/// provisioned state and shared by all test binaries.
pub fn programs() -> Result<&'static Path> {
    static PROGRAMS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAMS
        .get_or_init(|| lay_out().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

/// As [`programs`], for one major version only, with a script in `pg_dump`'s place. In the script `$real` is the real
/// `pg_dump`.
pub fn scripted_pg_dump(major: u32, script: &str) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let bin = directory.path().join(major.to_string()).join("bin");
    fs::create_dir_all(&bin)?;
    let real = programs()?.join(major.to_string()).join("bin/pg_dump");
    let text = format!("#!/bin/sh\nreal='{}'\n{script}\n", real.display());
    write_script(&bin.join("pg_dump"), &text)?;
    Ok(directory)
}

fn lay_out() -> Result<PathBuf> {
    let roots = MAJORS
        .map(|major| provisioned::path(&format!("rootfs-postgresql-{major}")).map(|root| (major, root)));
    let roots: Vec<_> = roots.into_iter().collect::<Result<_>>()?;
    let mut hasher = DefaultHasher::new();
    roots.hash(&mut hasher);
    let home = env::temp_dir().join("dataembassy-tests");
    let finished = home.join(format!("programs-{:016x}", hasher.finish()));
    if finished.is_dir() {
        return Ok(finished);
    }
    fs::create_dir_all(&home)?;
    let directory = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&home)?;
    for (major, root) in roots {
        write_scripts(&directory.path().join(major).join("bin"), major, &root)?;
    }
    let unfinished = directory.keep();
    // Whoever comes second finds the first one's directory, which holds the same.
    if fs::rename(&unfinished, &finished).is_err() {
        fs::remove_dir_all(&unfinished)?;
    }
    Ok(finished)
}

fn write_scripts(scripts: &Path, major: &str, root: &Path) -> Result<()> {
    let real = root.join("usr/lib/postgresql").join(major).join("bin");
    fs::create_dir_all(scripts)?;
    let (loader, libraries) = loader(root)?;
    for entry in fs::read_dir(&real).with_context(|| format!("reading {}", real.display()))? {
        let name = entry?.file_name();
        let text = format!(
            "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
            loader.display(),
            libraries.display(),
            real.join(&name).display()
        );
        write_script(&scripts.join(&name), &text)?;
    }
    Ok(())
}

/// The root file system's dynamic loader and its libraries.
fn loader(root: &Path) -> Result<(PathBuf, PathBuf)> {
    let (triplet, loader) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
        other => return Err(anyhow!("no loader is known for {other}")),
    };
    let libraries = root.join("usr/lib").join(triplet);
    Ok((libraries.join(loader), libraries))
}
