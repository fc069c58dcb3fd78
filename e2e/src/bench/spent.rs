//! What a copy takes besides time: the processor time of who copies, of the database and of the store, each by itself, and the memory of who copies.
//!
//! The kernel counts it, in control groups of either version, with everything that the counted programs start.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
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

/// What one run took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// From its beginning to its end, in seconds.
    pub seconds: f64,
    /// Processor time of whoever copied, with all that it started, in seconds.
    pub program: f64,
    /// Processor time of the database's server, in seconds.
    pub database: f64,
    /// Processor time of the store's server, in seconds.
    pub store: f64,
    /// The most memory that whoever copied had, its files in the kernel's cache included, in MiB.
    pub peak: f64,
}

impl Spent {
    /// The run in the middle, by its time; of an even number, the quicker one of the two.
    pub(super) fn median(of: &[Self]) -> Option<Self> {
        let mut sorted = of.to_vec();
        sorted.sort_unstable_by(|one, other| one.seconds.total_cmp(&other.seconds));
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }
}

/// Counts for one rig after the other.
pub(super) struct Meter {
    database: Group,
    store: Group,
}

impl Meter {
    /// Takes in the servers that this process has started.
    pub(super) fn of_servers() -> Result<Self> {
        let started = descendants()?;
        let server = |name: &str| {
            let group = Group::make(name)?;
            let processes: Vec<_> = started.iter().filter(|(_, comm)| comm == name).collect();
            ensure!(!processes.is_empty(), "no {name} runs");
            for (process, _) in processes {
                group.take_in(*process)?;
            }
            anyhow::Ok(group)
        };
        Ok(Self {
            database: server("postgres")?,
            store: server("minio")?,
        })
    }

    /// Runs something in a group of its own, from whose beginning on the time counts.
    pub(super) async fn count<F>(&self, run: impl FnOnce(Group) -> F) -> Result<Spent>
    where
        F: Future<Output = Result<Group>>,
    {
        let group = Group::make("program")?;
        let before = [self.database.seconds()?, self.store.seconds()?];
        let began = Instant::now();
        let group = run(group).await?;
        let elapsed = began.elapsed();
        Ok(Spent {
            seconds: elapsed.as_secs_f64(),
            program: group.seconds()?,
            database: self.database.seconds()? - before[0],
            store: self.store.seconds()? - before[1],
            peak: group.peak()?,
        })
    }
}

/// Processes that are counted together. It goes when it is dropped, and lets go who is in it.
pub(super) struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    fn make(name: &str) -> Result<Self> {
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

    fn take_in(&self, process: u32) -> Result<()> {
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

    fn seconds(&self) -> Result<f64> {
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

    fn peak(&self) -> Result<f64> {
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
fn descendants() -> Result<Vec<(u32, String)>> {
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

    fn took(seconds: f64) -> Spent {
        Spent {
            seconds,
            program: 1.0,
            database: 2.0,
            store: 3.0,
            peak: 4.0,
        }
    }

    #[test]
    fn the_median_run_is_the_one_in_the_middle() {
        let of = |all: &[f64]| {
            let runs: Vec<_> = all.iter().map(|seconds| took(*seconds)).collect();
            Spent::median(&runs).map(|run| run.seconds)
        };
        assert_eq!(of(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(of(&[9.0, 1.0]), Some(1.0));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_this_process_starts_is_found_with_its_name() {
        let mut sleeping = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants().unwrap();
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
        assert!(found.contains(&(sleeping.id(), "sleep".to_owned())), "{found:?}");
    }
}
