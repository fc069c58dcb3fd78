//! A running container as the node's kernel sees it: its processes and its memory, past Kubernetes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, cgroup};

/// One container. It is gone when it ends, and its successor is another.
#[derive(Debug)]
pub struct Container {
    id: String,
    folders: Vec<PathBuf>,
}

/// What a container's memory limit has had to do, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The limit.
    pub limit: u64,
    /// The most that was ever counted against it, with files in the page cache, which are given up when memory is short.
    pub peak: u64,
    /// What its processes hold now, without the page cache.
    pub held: u64,
    /// How many of its processes were killed for lack of memory.
    pub kills: u64,
}

impl Cluster {
    /// The container with this id, as a pod's status names it (`containerd://…`).
    pub fn container(&self, id: &str) -> Result<Container> {
        let id = id.rsplit('/').next().unwrap_or_default().to_owned();
        ensure!(!id.is_empty(), "the container has no id yet");
        let folders = cgroup::of_container(&self.site().cgroup(), &id)?;
        ensure!(!folders.is_empty(), "container {id} does not run");
        Ok(Container { id, folders })
    }
}

impl Container {
    /// Kills its first process, and with it, as the kernel has it, every other; nobody is asked.
    pub fn kill(&self) -> Result<()> {
        let first = self
            .processes()?
            .into_iter()
            .find(|process| is_first(*process))
            .with_context(|| format!("container {} has no process", self.id))?;
        Ok(kill_process(first, Signal::KILL)?)
    }

    /// Stops all its processes where they are; they keep what they hold, and do nothing until [`Self::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let processes = self.processes()?;
        ensure!(!processes.is_empty(), "container {} has no process", self.id);
        for process in processes {
            kill_process(process, signal)?;
        }
        Ok(())
    }

    /// Its memory, while it runs.
    pub fn memory(&self) -> Result<Memory> {
        let has = |file: &str| self.folders.iter().find(|folder| folder.join(file).exists());
        if let Some(folder) = has("memory.max_usage_in_bytes") {
            return Ok(Memory {
                limit: number(folder, "memory.limit_in_bytes")?,
                peak: number(folder, "memory.max_usage_in_bytes")?,
                held: field(folder, "memory.stat", "total_rss")?,
                kills: field(folder, "memory.oom_control", "oom_kill")?,
            });
        }
        let folder = has("memory.peak").with_context(|| format!("container {} has no memory", self.id))?;
        Ok(Memory {
            limit: number(folder, "memory.max")?,
            peak: number(folder, "memory.peak")?,
            held: field(folder, "memory.stat", "anon")?,
            kills: field(folder, "memory.events", "oom_kill")?,
        })
    }

    fn processes(&self) -> Result<Vec<Pid>> {
        let folder = self.folders.first().context("there is no cgroup")?;
        let listed = fs::read_to_string(folder.join("cgroup.procs"))?;
        Ok(listed
            .lines()
            .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
            .collect())
    }
}

/// Whether a process is number 1 of its own namespace.
fn is_first(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
    status.is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
    })
}

fn number(folder: &Path, file: &str) -> Result<u64> {
    let text = fs::read_to_string(folder.join(file))?;
    text.trim()
        .parse()
        .with_context(|| format!("{file} says {}", text.trim()))
}

fn field(folder: &Path, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(folder.join(file))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("{file} says nothing of {name}"))
}
