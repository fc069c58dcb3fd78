//! Processes that are counted together, with everything that they start: their processor time and their memory.
//!
//! The kernel counts, in control groups of either version.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::command::command;

const VERSION_1: [&str; 2] = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory"];
const VERSION_2: &str = "/sys/fs/cgroup";
/// Goes into the groups that are named first, and becomes the rest.
const ENTER: &str = r#"
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done
shift
exec "$@"
"#;

/// Processes that are counted together. It goes when it is dropped, and lets go who is in it.
pub(super) struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    pub(super) fn make(name: &str) -> Result<Self> {
        let is_version_1 = Path::new(VERSION_1[0]).is_dir();
        let hierarchies = if is_version_1 {
            &VERSION_1[..]
        } else {
            &[VERSION_2]
        };
        let name = format!("bench-{}-{name}", std::process::id());
        let mut group = Self { folders: Vec::new() };
        for hierarchy in hierarchies {
            let folder = Path::new(hierarchy).join(&name);
            fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            group.folders.push(folder);
        }
        Ok(group)
    }

    /// Lets it have so many MiB at most, as a pod's limit does: who needs more is killed.
    pub(super) fn limit(&self, mebibytes: u32) -> Result<()> {
        let limits = ["memory.limit_in_bytes", "memory.max"];
        let mut files = self
            .folders
            .iter()
            .flat_map(|folder| limits.map(|limit| folder.join(limit)));
        let file = files
            .find(|file| file.exists())
            .context("the kernel limits no memory")?;
        let bytes = u64::from(mebibytes) << 20;
        fs::write(&file, bytes.to_string()).with_context(|| format!("{} cannot be written", file.display()))
    }

    pub(super) fn take_in(&self, process: u32) -> Result<()> {
        for folder in &self.folders {
            let moved = fs::write(folder.join("cgroup.procs"), process.to_string());
            // What ends meanwhile is passed over.
            if Path::new("/proc").join(process.to_string()).exists() {
                moved.with_context(|| format!("process {process} does not go into {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// A program that will run in it; arguments are still to come.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut shell = command("sh");
        shell.args(["-ceu", ENTER, "enter"]).args(&self.folders);
        shell.arg("--").arg(program.as_ref());
        shell
    }

    /// Processor time so far.
    pub(super) fn seconds(&self) -> Result<f64> {
        if let Some(nanoseconds) = self.number("cpuacct.usage") {
            return Ok(Duration::from_nanos(nanoseconds).as_secs_f64());
        }
        let told = self
            .read("cpu.stat")
            .context("the kernel counts no processor time")?;
        let microseconds = told.lines().find_map(|line| line.strip_prefix("usage_usec "));
        let microseconds = microseconds
            .context("the kernel tells no usage")?
            .trim()
            .parse()?;
        Ok(Duration::from_micros(microseconds).as_secs_f64())
    }

    /// The most memory so far, in MiB.
    pub(super) fn peak(&self) -> Result<f64> {
        let bytes = self
            .number("memory.max_usage_in_bytes")
            .or_else(|| self.number("memory.peak"));
        let mebibytes = bytes.context("the kernel counts no memory")?.div_ceil(1 << 20);
        Ok(f64::from(u32::try_from(mebibytes)?))
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Option<String> {
        self.folders
            .iter()
            .find_map(|folder| fs::read_to_string(folder.join(file)).ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Servers outlive their measurement. Whoever cannot be moved keeps the group, and is seen by that.
            let inside = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for process in inside.lines() {
                let _ = fs::write(folder.with_file_name("cgroup.procs"), process);
            }
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Every process that came of this one, with its name.
pub(super) fn descendants() -> Result<Vec<(u32, String)>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_string_lossy().parse::<u32>().ok() else {
            continue;
        };
        // What ends meanwhile is passed over.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        let (before, after) = stat.rsplit_once(')').context("the kernel tells no name")?;
        let name = before.split_once('(').map_or("", |(_, name)| name).to_owned();
        let parent: u32 = after
            .split_whitespace()
            .nth(1)
            .context("the kernel tells no parent")?
            .parse()?;
        all.insert(process, (parent, name));
    }
    let us = std::process::id();
    let is_ours = |mut process: u32| {
        while let Some((parent, _)) = all.get(&process) {
            if *parent == us {
                return true;
            }
            process = *parent;
        }
        false
    };
    let ours = all.iter().filter(|(process, _)| is_ours(**process));
    Ok(ours
        .map(|(process, (_, name))| (*process, name.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_starts_is_found_with_its_name() {
        let mut sleeping = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants().unwrap();
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
        assert!(found.contains(&(sleeping.id(), "sleep".to_owned())), "{found:?}");
    }
}
