//! Processes that outlive the command that started them: found again by pid and start time, so that a number
//! that was given to somebody else is never hit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{network::within, site::Site};
use crate::command::wait_for;

/// What outlives a command must not hold its files: a lock that a caller took around the command would be held as long as the bed is up.
const WITHOUT_INHERITED_FILES: &str = r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@""#;

/// The files of one long-running process of a cluster.
pub(super) struct Process {
    name: String,
    pid: PathBuf,
    /// What it writes.
    pub(super) log: PathBuf,
}

impl Process {
    pub(super) fn of(site: Site, name: &str) -> Self {
        let folder = site.folder();
        Self {
            name: name.to_owned(),
            pid: folder.join("run").join(format!("{name}.pid")),
            log: folder.join("log").join(format!("{name}.log")),
        }
    }

    /// Starts it in the site's network, in a session of its own, unless it runs.
    pub(super) fn start(&self, site: Site, program: &Path, arguments: &[String]) -> Result<()> {
        if self.running().is_some() {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut setsid = std::process::Command::new("setsid");
        // setsid, the shell and nsenter replace themselves, so the child's pid is the program's.
        let inside = within(site, &program.to_string_lossy());
        let child = setsid
            .args(["sh", "-c", WITHOUT_INHERITED_FILES, "sh"])
            .arg(inside.as_std().get_program())
            .args(inside.as_std().get_args())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let pid = child.id();
        let began = start_time(pid)
            .with_context(|| format!("{} ended at once: see {}", self.name, self.log.display()))?;
        fs::write(&self.pid, format!("{pid} {began}"))?;
        Ok(())
    }

    /// The pid, if the very process that was started still runs.
    pub(super) fn running(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.pid).ok()?;
        let (pid, began) = text.split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        (start_time(pid)? == began)
            .then(|| Pid::from_raw(i32::try_from(pid).ok()?))
            .flatten()
    }

    /// Sends it a signal, if it runs.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.running() else { return Ok(()) };
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks it to end, and makes it after `patience`.
    pub(super) async fn stop(&self, patience: Duration) -> Result<()> {
        let what = format!("the end of {}", self.name);
        let ended = || async { Ok(self.running().is_none().then_some(())) };
        for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(10))] {
            let Some(pid) = self.running() else { break };
            let _ = kill_process(pid, signal);
            if wait_for(&what, patience, ended).await.is_ok() {
                break;
            }
        }
        anyhow::ensure!(self.running().is_none(), "{} does not end", self.name);
        match fs::remove_file(&self.pid) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// When a process began, in clock ticks since boot, if it is there and not a zombie.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it are counted from the state.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// Pids of processes that have `word` among the arguments of a program whose name begins with `program`.
pub(super) fn find(program: &str, word: &str) -> Vec<Pid> {
    running_commands()
        .filter(|(_, arguments)| {
            let name = arguments.first().and_then(|path| path.rsplit('/').next());
            name.is_some_and(|name| name.starts_with(program)) && arguments.iter().skip(1).any(|a| a == word)
        })
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

/// Program and arguments of every process; zombies have none.
pub(super) fn command_lines() -> impl Iterator<Item = Vec<String>> {
    running_commands().map(|(_, arguments)| arguments)
}

fn running_commands() -> impl Iterator<Item = (i32, Vec<String>)> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let arguments = line.trim_end_matches('\0').split('\0').map(str::to_owned);
        Some((pid, arguments.collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = start_time(std::process::id()).unwrap();
        assert!(own.parse::<u64>().unwrap() > 0);
        assert!(start_time(u32::MAX).is_none());
    }

    #[test]
    fn a_pid_given_to_somebody_else_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process {
            name: "test".into(),
            pid: folder.path().join("pid"),
            log: folder.path().join("log"),
        };
        let own = std::process::id();
        fs::write(&process.pid, format!("{own} {}", start_time(own).unwrap())).unwrap();
        assert!(process.running().is_some());
        fs::write(&process.pid, format!("{own} 1")).unwrap();
        assert!(process.running().is_none());
    }
}
