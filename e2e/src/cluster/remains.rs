//! What a cluster that was taken down may have left: nothing, or `down` has failed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{
    cgroup,
    component::{Component, KEEP_LOGS, PROVIDE_NETWORK},
    lifecycle::mount_points,
    process,
    site::Site,
};

/// Everything of a cluster that still runs, is mounted or is in the machine's network, each in a few words.
pub fn remains(site: Site) -> Result<Vec<String>> {
    let folder = site.folder();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut left: Vec<String> = mount_points(&mounts, &folder)
        .iter()
        .map(|point| format!("the mount {}", point.display()))
        .collect();
    let places: [PathBuf; 3] = [
        Path::new("/run/netns").join(site.namespace()),
        // Routes to the cluster go with it.
        Path::new("/sys/class/net").join(site.wire_name()),
        folder.join("run"),
    ];
    let cgroups = cgroup::places(&site.cgroup())?;
    left.extend(
        places
            .into_iter()
            .chain(cgroups)
            .filter(|place| place.exists())
            .map(|place| place.display().to_string()),
    );
    left.extend(
        process::command_lines()
            .filter(|arguments| belongs(&folder, arguments))
            .map(|arguments| format!("the process {}", arguments.join(" "))),
    );
    Ok(left)
}

/// Whether a process is the cluster's. A pager that a person has open on one of its logs is not.
fn belongs(folder: &Path, arguments: &[String]) -> bool {
    let Some((program, arguments)) = arguments.split_first() else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or_default();
    let ours = program.starts_with("containerd-shim")
        || Component::ALL.iter().any(|component| component.name() == program)
        || arguments
            .first()
            .is_some_and(|first| [PROVIDE_NETWORK, KEEP_LOGS].contains(&first.as_str()));
    let folder = folder.to_string_lossy();
    ours && arguments.iter().any(|argument| argument.contains(&*folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beds_own_processes_are_called_remains() {
        let home = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            belongs(&Site::Home.folder(), &arguments)
        };
        assert!(home(
            "/cache/kubelet --config=/var/lib/dataembassy-e2e/home/kubelet.yaml"
        ));
        assert!(home(
            "/usr/bin/containerd-shim-runc-v2 -address /var/lib/dataembassy-e2e/home/run/c.sock"
        ));
        assert!(home(
            "/target/debug/dataembassy-e2e keep-logs home /var/lib/dataembassy-e2e/home"
        ));
        let network = "/target/debug/dataembassy-e2e provide-network";
        assert!(home(&format!("{network} home /var/lib/dataembassy-e2e/home")));
        assert!(!home(&format!(
            "{network} embassy /var/lib/dataembassy-e2e/embassy"
        )));
        assert!(!home(&format!("{network} home /var/lib/dataembassy-e2e-1/home")));
        assert!(!home("less /var/lib/dataembassy-e2e/home/log/kubelet.log"));
        assert!(!home("/usr/bin/containerd --config /etc/containerd/config.toml"));
        assert!(!home(""));
    }
}
