//! A running container as the node's kernel sees it: its processes, its memory, its processor time and its network, past Kubernetes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, cgroup, network};

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

/// What a container's first process is resident with, its program and its libraries included, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Now.
    pub now: u64,
    /// The most since it began.
    pub most: u64,
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
        Ok(kill_process(self.first()?, Signal::KILL)?)
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
        if let Some(folder) = self.folder_with("memory.max_usage_in_bytes") {
            return Ok(Memory {
                limit: number(folder, "memory.limit_in_bytes")?,
                peak: number(folder, "memory.max_usage_in_bytes")?,
                held: field(folder, "memory.stat", "total_rss")?,
                kills: field(folder, "memory.oom_control", "oom_kill")?,
            });
        }
        let folder = self
            .folder_with("memory.peak")
            .with_context(|| format!("container {} has no memory", self.id))?;
        Ok(Memory {
            limit: number(folder, "memory.max")?,
            peak: number(folder, "memory.peak")?,
            held: field(folder, "memory.stat", "anon")?,
            kills: field(folder, "memory.events", "oom_kill")?,
        })
    }

    /// What its first process is resident with, while it runs.
    pub fn resident(&self) -> Result<Resident> {
        let status = format!("/proc/{}/status", self.first()?.as_raw_nonzero());
        resident(&fs::read_to_string(status)?)
    }

    /// How long its processes have been on a processor so far, all together.
    pub fn processor_time(&self) -> Result<Duration> {
        if let Some(folder) = self.folder_with("cpuacct.usage") {
            return Ok(Duration::from_nanos(number(folder, "cpuacct.usage")?));
        }
        let folder = self
            .folder_with("cpu.stat")
            .with_context(|| format!("container {} has no processor time", self.id))?;
        Ok(Duration::from_micros(field(folder, "cpu.stat", "usage_usec")?))
    }

    /// Whether a connection of its pod to an address is taken; it is not where it is refused. This machine makes it from within the pod's own
    /// network, so that policies judge it as the pod's, whatever programs the container has.
    pub async fn connects(&self, address: SocketAddr) -> Result<bool> {
        let path = format!("/proc/{}/ns/net", self.first()?.as_raw_nonzero());
        let own = fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
        network::connects(own, address).await
    }

    /// Its folder in the hierarchy that has this file.
    fn folder_with(&self, file: &str) -> Option<&Path> {
        let mut folders = self.folders.iter().map(PathBuf::as_path);
        folders.find(|folder| folder.join(file).exists())
    }

    fn first(&self) -> Result<Pid> {
        let first = self.processes()?.into_iter().find(|process| is_first(*process));
        first.with_context(|| format!("container {} has no process", self.id))
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

/// Reads `/proc/<pid>/status`.
fn resident(status: &str) -> Result<Resident> {
    let bytes = |name: &str| {
        let mut lines = status.lines();
        let told = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = told.and_then(|told| told.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let kibibytes = kibibytes.with_context(|| format!("the kernel tells no {name}"))?;
        anyhow::Ok(kibibytes << 10)
    };
    Ok(Resident {
        now: bytes("VmRSS")?,
        most: bytes("VmHWM")?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_about_a_process_are_understood() {
        let told = "Name:\toperator\nVmPeak:\t  90000 kB\nVmHWM:\t   40000 kB\nVmRSS:\t   31000 kB\nRssAnon:\t   9000 kB\n";
        let read = resident(told).unwrap();
        assert_eq!((read.now, read.most), (31_000 << 10, 40_000 << 10));
        let zombie = resident("Name:\toperator\nState:\tZ (zombie)\n").unwrap_err();
        assert!(zombie.to_string().contains("VmRSS"), "{zombie}");
    }
}
