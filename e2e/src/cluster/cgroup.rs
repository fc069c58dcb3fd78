//! The cgroups that pods run in: one per cluster, made by hand, for the kubelet only looks for it. Version 1 has
//! a hierarchy per controller, version 2 has one for all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

const ROOT: &str = "/sys/fs/cgroup";

/// Where cgroups of this machine hang: one folder per hierarchy.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(root).context("this machine has no cgroups")? {
        let entry = entry?;
        // Names of joint controllers (`cpu,cpuacct`) are also links to each other.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            all.push(entry.path());
        }
    }
    Ok(all)
}

/// Where the cgroup is, or would be: one folder per hierarchy.
pub(super) fn places(name: &str) -> Result<Vec<PathBuf>> {
    Ok(hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .collect())
}

/// Makes the cgroup in every hierarchy.
pub(super) fn make(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let version_2 = hierarchy.join("cgroup.controllers").exists();
        if version_2 {
            delegate(&hierarchy)?;
        }
        let cgroup = hierarchy.join(name);
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        if version_2 {
            delegate(&cgroup)?;
        } else {
            // A version 1 cpuset begins empty, and nothing can run in an empty one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read(hierarchy.join(file)) {
                    fs::write(cgroup.join(file), value)?;
                }
            }
        }
    }
    Ok(())
}

/// Lets the children of a version 2 cgroup use all its controllers.
fn delegate(cgroup: &Path) -> Result<()> {
    let controllers = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}"))
            .with_context(|| format!("cannot enable {controller} below {}", cgroup.display()))?;
    }
    Ok(())
}

/// The cgroup of a container below a cgroup, one folder for each hierarchy that has it.
pub(super) fn of_container(name: &str, container: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        visit(&hierarchy.join(name), &mut |cgroup| {
            let folder = cgroup.file_name().unwrap_or_default().to_string_lossy();
            if folder.contains(container) {
                found.push(cgroup.to_owned());
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Ends every process in the cgroup and below, and returns how many there were.
pub(super) fn kill(name: &str) -> Result<usize> {
    let mut killed = 0;
    for hierarchy in hierarchies()? {
        visit(&hierarchy.join(name), &mut |cgroup| {
            for pid in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines() {
                if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                    killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
                }
            }
            Ok(())
        })?;
    }
    Ok(killed)
}

/// Removes the cgroup and all below; false while something still runs there.
pub(super) fn remove(name: &str) -> Result<bool> {
    let mut gone = true;
    for hierarchy in hierarchies()? {
        visit(
            &hierarchy.join(name),
            &mut |cgroup| match fs::remove_dir(cgroup) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    gone = false;
                    Ok(())
                }
                other => other,
            },
        )?;
    }
    Ok(gone)
}

/// Children first. What vanishes meanwhile is as good as visited.
fn visit(cgroup: &Path, act: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let children = match fs::read_dir(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for child in children {
        let child = child?;
        if child.file_type()?.is_dir() {
            visit(&child.path(), act)?;
        }
    }
    absent_is_fine(act(cgroup))
}
