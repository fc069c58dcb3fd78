//! Bringing a cluster up, and leaving nothing of it.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::{Cluster, Component, cgroup, configuration, network, pki, process::Process, runtime, site::Site};
use crate::{cache::Cache, command::wait_for, images::Image, progress::Progress};

/// How many volumes a cluster has to give.
const VOLUMES: usize = 32;
/// On a machine with two busy cores an API server takes its time.
const READY: Duration = Duration::from_mins(2);

/// Whether every process of the cluster runs.
#[must_use]
pub fn is_up(site: Site) -> bool {
    network::exists(site) && Component::ALL.into_iter().all(|component| runs(site, component))
}

/// Whether one process of the cluster runs.
#[must_use]
pub fn runs(site: Site, component: Component) -> bool {
    Process::of(site, component.name()).running().is_some()
}

/// Brings a cluster up in its network, which must be there.
pub async fn up(site: Site, cache: &Cache, images: &[Image], progress: &Progress) -> Result<Cluster> {
    let step = progress.step(format!("the {site} cluster"));
    let folder = site.folder();
    for inner in ["run", "log", "pki", "cni", "volumes"] {
        fs::create_dir_all(folder.join(inner))?;
    }
    // A cluster that comes back from its old disk has them already, and its clients know them.
    if !folder.join("pki/ca.crt").exists() {
        pki::make(site, &folder.join("pki"))?;
    }
    configuration::write(site)?;
    cgroup::make(&site.cgroup())?;

    step.length(5);
    step.at("containerd, etcd, API server");
    for component in [Component::Containerd, Component::Etcd, Component::ApiServer] {
        start(site, cache, component)?;
    }
    let cluster = Cluster::connect(site, cache).await?;
    let runtime = async {
        runtime::ready(site).await?;
        let has = runtime::images(site).await?;
        // Nothing runs without the sandbox's image; the others can come while the API server starts.
        for image in images {
            step.at(&image.name);
            runtime::import(site, image, &has).await?;
        }
        step.advance(1);
        anyhow::Ok(())
    };
    let control = async {
        wait_for("the API server", READY, || async {
            Ok(cluster.answers().await.then_some(()))
        })
        .await?;
        step.advance(1);
        for component in [Component::ControllerManager, Component::Scheduler] {
            start(site, cache, component)?;
        }
        cluster
            .apply(include_str!("../../manifests/cluster.yaml"))
            .await?;
        cluster.apply(&volumes(site)?).await?;
        step.advance(1);
        anyhow::Ok(())
    };
    tokio::try_join!(runtime, control)?;
    for component in [
        Component::Proxy,
        Component::Dns,
        Component::Network,
        Component::Logs,
    ] {
        start(site, cache, component)?;
    }
    step.at("node");
    wait_for("the node", READY, || async {
        // The kubelets of one machine share the place of a socket, which cannot be chosen: one that finds another just there has ended.
        start(site, cache, Component::Kubelet)?;
        let ready = [
            "wait",
            "--for=condition=Ready",
            "node",
            site.name(),
            "--timeout=5s",
        ];
        cluster.kubectl(ready).await.map(Some)
    })
    .await?;
    step.advance(1);
    // Pods are refused until their namespace's service account has been made.
    wait_for("the default service account", READY, || async {
        cluster
            .kubectl(["get", "serviceaccount", "default"])
            .await
            .map(Some)
    })
    .await?;
    step.done();
    Ok(cluster)
}

/// Starts one process of a cluster, unless it runs.
pub(super) fn start(site: Site, cache: &Cache, component: Component) -> Result<()> {
    let program = match component {
        Component::Containerd => PathBuf::from("containerd"),
        Component::Network | Component::Logs => this_program()?,
        _ => cache.path(component.name())?,
    };
    Process::of(site, component.name()).start(site, &program, &component.arguments(site))
}

/// The command-line program, which a test, being another program of the same build, finds one folder above its own.
fn this_program() -> Result<PathBuf> {
    const NAME: &str = "dataembassy-e2e";
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    if own.file_name().is_some_and(|name| name == NAME) {
        return Ok(own);
    }
    let folders = own.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join(NAME))
        .find(|path| path.exists())
        .context("build the program dataembassy-e2e first")
}

/// Folders of the node as volumes. They need no permissions of their own: fsGroup gives each to its pod.
fn volumes(site: Site) -> Result<String> {
    let mut yaml = String::new();
    for number in 0..VOLUMES {
        let path = site.folder().join(format!("volumes/{number:02}"));
        fs::create_dir_all(&path)?;
        write!(
            yaml,
            "---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: local-{number:02}}}
spec:
  storageClassName: local
  capacity: {{storage: 20Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local: {{path: {path}}}
  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{site}]}}]}}]}}}}
",
            path = path.display()
        )?;
    }
    Ok(yaml)
}

/// Ends a cluster and removes what it left in the machine: processes, mounts, cgroups, files. Images stay, so
/// that the next one comes up soon. What is not there is no error, so this also clears a broken one away.
pub async fn down(site: Site) -> Result<()> {
    let clean = end(site).await?;
    // A store of gigabytes is deleted for a while.
    tokio::task::spawn_blocking(move || remove_state(&site.folder(), clean)).await?
}

/// Ends a cluster and takes its disk out of the machine: what is left of it is what somebody carried away.
pub async fn destroy(site: Site) -> Result<()> {
    end(site).await?;
    let folder = site.folder();
    let run = folder.join("run");
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    fs::rename(&folder, carried_away(site)).context("cannot take the disk out")
}

/// Puts the disk of a cluster that was [destroyed](destroy) back: [`up`] brings it up as it was then.
pub fn put_disk_back(site: Site) -> Result<()> {
    fs::rename(carried_away(site), site.folder()).context("cannot put the disk back")
}

fn carried_away(site: Site) -> PathBuf {
    site.folder().with_extension("carried-away")
}

/// Ends every process of a cluster, and removes its mounts and cgroups; says whether it was an orderly end, that leaves only images in the
/// containers' store.
async fn end(site: Site) -> Result<bool> {
    let patience = Duration::from_secs(5);
    let stop = |component: Component| async move { Process::of(site, component.name()).stop(patience).await };
    // First those who would start something again.
    tokio::try_join!(
        stop(Component::Kubelet),
        stop(Component::ControllerManager),
        stop(Component::Scheduler)
    )?;
    tokio::try_join!(
        stop(Component::Proxy),
        stop(Component::Dns),
        stop(Component::Network),
        stop(Component::Logs),
        stop(Component::ApiServer)
    )?;
    stop(Component::Etcd).await?;
    wait_for("the end of all pods", Duration::from_secs(20), || async {
        Ok((cgroup::kill(&site.cgroup())? == 0).then_some(()))
    })
    .await?;
    // A containerd that died cannot be asked to forget its containers; then its store goes too. After an orderly end
    // there is no `run` folder, and only images are in the store.
    let clean = if runs(site, Component::Containerd) {
        runtime::forget_containers(site).await.is_ok()
    } else {
        !site.folder().join("run").exists()
    };
    stop(Component::Containerd).await?;
    runtime::end_shims(site).await?;
    unmount_below(&site.folder())?;
    wait_for("the end of cgroups", Duration::from_secs(20), || async {
        Ok(cgroup::remove(&site.cgroup())?.then_some(()))
    })
    .await?;
    Ok(clean)
}

/// Removes a cluster's files; containerd's store stays if nothing but images is in it.
fn remove_state(folder: &Path, keep_images: bool) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if keep_images && entry.file_name() == "containerd" {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Unmounts everything below a folder, the last mounted first.
fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for point in mount_points(&mounts, folder).into_iter().rev() {
        unmount(&point, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", point.display()))?;
    }
    Ok(())
}

/// The fifth field is the mount point, with spaces as `\040`: the bed makes none with spaces.
pub(super) fn mount_points(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_the_bed_are_unmounted() {
        let mountinfo = "36 35 98:0 / /var rw - ext4 /dev/root rw\n\
                         37 36 0:4 / /var/lib/bed/home/a rw - tmpfs tmpfs rw\n\
                         38 36 0:5 / /var/lib/bed/homely rw - tmpfs tmpfs rw\n";
        let points = mount_points(mountinfo, Path::new("/var/lib/bed/home"));
        assert_eq!(points, [Path::new("/var/lib/bed/home/a")]);
    }
}
