//! Canaries: everything that nobody may read anywhere, and the places where it would be read if it leaked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hyper::Request;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt as _, api::ListParams};
use rustix::{fs::statfs, io::Errno};
use serde_json::Value;

use super::Product;
use crate::{
    cluster::{
        Cluster, kept_logs,
        kept_secrets::{self, Values},
    },
    command::{command, wait_for},
};

/// The kind of file system that is memory: `TMPFS_MAGIC`.
const MEMORY: i64 = 0x0102_1994;
/// Within this time whoever keeps Secrets has kept what there is.
const KEPT: Duration = Duration::from_mins(1);
/// What is looked at of a cluster: everything that our parts write, and what others write about them. Not the Secrets themselves.
const RESOURCES: &str = "dataembassies,registrymirrors,registrycustodies,recoverypoints,registryrestores,registrydrills,embassyactivations,\
                         pods,jobs,deployments,statefulsets,services,configmaps,networkpolicies,leases,persistentvolumeclaims,\
                         events.events.k8s.io";
/// Containers that are database servers: what a server writes into its own log, rows and all, is the registry's affair.
const SERVERS: [&str; 2] = ["postgresql", "database"];
/// Containers of ours, by what their image's name holds: what they write beside their volumes is looked at as well.
const OURS: [&str; 2] = ["/operator:", "/sidecar:"];
/// The limit of core files, in bytes, at which the kernel leaves no core, neither in a file nor with a program that takes them.
const NO_CORE: &str = "1";
/// What the kernel calls our processes, which is cut after 15 bytes.
const PROCESSES: [&str; 2] = ["dataembassy-ope", "dataembassy-sid"];
/// The bed's own servers, which are told their first password by their environment, as their images want it.
const FIXTURES: [&str; 1] = ["minio"];

/// What nobody may read, and where each has its place.
pub struct Canaries {
    values: Values,
}

/// Where something was read that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What was read.
    pub what: String,
    /// Where.
    pub place: String,
}

impl Canaries {
    /// All that both clusters keep secret or ever did, the identity, and `rows`: values that some registry holds.
    pub async fn of(product: &Product, rows: &[String]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for cluster in [product.bed.home(), product.bed.embassy()] {
            values.extend(ever(cluster).await?);
        }
        let identity = kept_secrets::essence(product.keys.identity.as_bytes());
        values.extend(identity.map(|value| (value, "the identity".to_owned())));
        values.extend(rows.iter().map(|row| (row.clone(), "a row".to_owned())));
        ensure!(values.len() > 20, "there are only {} secrets", values.len());
        Ok(Self { values })
    }

    /// One value that was put somewhere to be found there.
    #[must_use]
    pub fn planted(value: &str) -> Self {
        Self {
            values: BTreeMap::from([(value.to_owned(), "what was planted".to_owned())]),
        }
    }

    /// How many values are looked for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// What of them can be read in something.
    #[must_use]
    pub fn in_text(&self, place: &str, text: &[u8]) -> Vec<Leak> {
        let text = String::from_utf8_lossy(text);
        let found = self
            .values
            .iter()
            .filter(|(value, _)| text.contains(value.as_str()));
        found.map(|(_, what)| Leak::of(what, place)).collect()
    }

    /// What of them can be read in the files below some folders. What vanishes meanwhile is passed over.
    pub async fn in_files(&self, folders: &[PathBuf]) -> Result<BTreeSet<Leak>> {
        let mut wanted = tempfile::NamedTempFile::new()?;
        for value in self.values.keys() {
            writeln!(wanted, "{value}")?;
        }
        let found = command("grep")
            .args(["--recursive", "--text", "--no-messages", "--fixed-strings"])
            .args(["--only-matching", "--with-filename", "--null"])
            .args(SERVERS.map(|name| format!("--exclude-dir={name}")))
            .arg("--file")
            .arg(wanted.path())
            .args(folders)
            .output()
            .await
            .context("cannot run grep")?;
        let text = String::from_utf8_lossy(&found.stdout);
        let leaks = text.lines().filter_map(|line| line.split_once('\0'));
        leaks
            .map(|(path, value)| {
                let what = self.values.get(value);
                Ok(Leak::of(
                    what.context("grep has found what it was not asked for")?,
                    path,
                ))
            })
            .collect()
    }
}

impl Leak {
    fn of(what: &str, place: &str) -> Self {
        Self {
            what: what.to_owned(),
            place: place.to_owned(),
        }
    }
}

/// Every value that a Secret of a cluster ever had. A watch tells of changes in turn: who has kept what there is now has kept what was before.
async fn ever(cluster: &Cluster) -> Result<Values> {
    let secrets: Api<Secret> = Api::all(cluster.client().clone());
    let mut now = Values::new();
    for secret in secrets.list(&ListParams::default()).await? {
        now.extend(kept_secrets::of(cluster.site(), &secret));
    }
    let what = format!("what the Secrets of {} hold to be kept", cluster.name());
    wait_for(&what, KEPT, || async {
        let kept = kept_secrets::read(cluster.site())?;
        Ok(now.keys().all(|value| kept.contains_key(value)).then_some(kept))
    })
    .await
}

/// Environment and arguments of every process of this machine, the bed's pods included. What ends meanwhile is passed over.
pub fn processes() -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for (name, folder) in running()? {
        if FIXTURES.contains(&name.as_str()) {
            continue;
        }
        for part in ["environ", "cmdline"] {
            if let Ok(text) = fs::read(folder.join(part)) {
                all.push((format!("{part} of process {name}"), text));
            }
        }
    }
    Ok(all)
}

/// The name of every process of this machine, and its folder in `/proc`.
fn running() -> Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        if is_process && let Ok(name) = fs::read_to_string(entry.path().join("comm")) {
            all.push((name.trim().to_owned(), entry.path()));
        }
    }
    Ok(all)
}

/// Processes of ours that may leave a core file, with the limit that they have; what our programs start has theirs. Fails where not both programs
/// run. What ends meanwhile is passed over.
pub fn core_files() -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut allowed = Vec::new();
    for (name, folder) in running()? {
        let Some(ours) = PROCESSES.into_iter().find(|ours| *ours == name) else {
            continue;
        };
        let Ok(limits) = fs::read_to_string(folder.join("limits")) else {
            continue;
        };
        let mut lines = limits.lines();
        // A process that has ended and is not gone yet has none.
        let Some(limit) = lines.find_map(|line| line.strip_prefix("Max core file size")) else {
            continue;
        };
        seen.insert(ours);
        if limit.split_whitespace().take(2).any(|size| size != NO_CORE) {
            allowed.push(format!("{} of {name}: {}", folder.display(), limit.trim()));
        }
    }
    ensure!(seen.len() == PROCESSES.len(), "of our programs only {seen:?} run");
    Ok(allowed)
}

/// Every resource and event of a cluster but its Secrets, as its API server tells it.
pub async fn resources(cluster: &Cluster) -> Result<String> {
    cluster
        .kubectl([
            "get",
            RESOURCES,
            "--all-namespaces",
            "--output=json",
            "--show-managed-fields",
        ])
        .await
}

/// The metrics of every pod of ours that has some. What ends meanwhile is passed over.
pub async fn metrics(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let pods: Api<Pod> = Api::all(cluster.client().clone());
    let mut all = Vec::new();
    for pod in pods.list(&ListParams::default()).await? {
        let ports = pod.spec.iter().flat_map(|spec| &spec.containers);
        let ports = ports.flat_map(|container| container.ports.clone().unwrap_or_default());
        let port = ports
            .filter(|port| port.name.as_deref() == Some("metrics"))
            .map(|port| port.container_port)
            .next();
        let Some(port) = port.filter(|_| is_running(&pod)) else {
            continue;
        };
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let place = format!("metrics of {}/{namespace}/{name}", cluster.name());
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let request = Request::get(path).body(Vec::new())?;
        match cluster.client().request_text(request).await {
            Ok(text) => all.push((place, text)),
            Err(error) => {
                let one: Api<Pod> = Api::namespaced(cluster.client().clone(), &namespace);
                let has_ended = !one.get_opt(&name).await?.is_some_and(|now| is_running(&now));
                ensure!(has_ended, "{place}: {error}");
            }
        }
    }
    Ok(all)
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running")
}

/// The folders on disk with what a cluster's pods and components have written: logs, those too of pods that are gone, temporary files, core
/// files. What is in memory only, as Secrets are, is not among them. What ends meanwhile is passed over.
pub fn folders(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let folder = cluster.site().folder();
    let mut folders = vec![folder.join("log"), kept_logs::look(cluster.site())?];
    let layers = layers(&folder)?;
    ensure!(
        !layers.is_empty(),
        "no container of ours runs in {}",
        cluster.name()
    );
    folders.extend(layers);
    for pod in fs::read_dir(folder.join("kubelet/pods"))? {
        let pod = pod?.path();
        for inner in ["volumes/kubernetes.io~empty-dir", "containers"] {
            let Ok(entries) = fs::read_dir(pod.join(inner)) else {
                continue;
            };
            for entry in entries {
                let folder = entry?.path();
                let kind = match statfs(&folder) {
                    Err(Errno::NOENT) => continue,
                    of => of?.f_type,
                };
                if kind != MEMORY {
                    folders.push(folder);
                }
            }
        }
    }
    Ok(folders)
}

/// Where running containers of ours write whatever is on no volume.
fn layers(cluster: &Path) -> Result<Vec<PathBuf>> {
    let bundles = cluster.join("run/containerd/io.containerd.runtime.v2.task/k8s.io");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let all = mounts.lines().filter_map(|line| layer(line, &bundles));
    let ours = all.filter(|(container, _)| {
        let described = fs::read(bundles.join(container).join("config.json")).unwrap_or_default();
        let described: Value = serde_json::from_slice(&described).unwrap_or_default();
        let image = described["annotations"]["io.kubernetes.cri.image-name"].as_str();
        image.is_some_and(|image| OURS.iter().any(|ours| image.contains(ours)))
    });
    Ok(ours.map(|(_, folder)| folder).collect())
}

/// A container's id and the writable layer of its files, if this line of the kernel's list of mounts is about one of these bundles.
fn layer(line: &str, bundles: &Path) -> Option<(String, PathBuf)> {
    let point = Path::new(line.split(' ').nth(4)?).strip_prefix(bundles).ok()?;
    let container = point.parent().filter(|_| point.ends_with("rootfs"))?;
    let mut options = line.rsplit(' ').next()?.split(',');
    let folder = options.find_map(|option| option.strip_prefix("upperdir="))?;
    Some((container.to_str()?.to_owned(), folder.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writable_layer_of_a_container_is_read_from_the_list_of_mounts() {
        let bundles = Path::new("/bed/home/run/k8s.io");
        let line = "53 27 0:41 / /bed/home/run/k8s.io/f9fa/rootfs rw,relatime - overlay overlay \
                    rw,lowerdir=/bed/home/1/fs:/bed/home/2/fs,upperdir=/bed/home/628/fs,workdir=/bed/home/628/work,uuid=on";
        let found = ("f9fa".to_owned(), PathBuf::from("/bed/home/628/fs"));
        assert_eq!(layer(line, bundles), Some(found));
        assert_eq!(layer(line, Path::new("/bed/embassy/run/k8s.io")), None);
        let volume = "54 27 0:42 / /bed/home/run/k8s.io/f9fa/shm rw - tmpfs shm rw,size=64k";
        assert_eq!(layer(volume, bundles), None);
    }

    #[tokio::test]
    async fn a_canary_is_found_wherever_it_stands() {
        let values = [("canary-password", "a password"), ("canary-row", "a row")];
        let canaries = Canaries {
            values: values
                .map(|(value, what)| (value.to_owned(), what.to_owned()))
                .into(),
        };
        let text = format!("{}canary-row, canary-row\0\u{fffd}", "x".repeat(100_000));
        assert_eq!(
            canaries.in_text("a log", text.as_bytes()),
            [Leak::of("a row", "a log")]
        );
        assert_eq!(canaries.in_text("a log", b"canary"), []);
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("clean"), "nothing").unwrap();
        fs::write(deep.join("core"), &text).unwrap();
        fs::create_dir_all(folder.path().join("database")).unwrap();
        fs::write(folder.path().join("database/0.log"), &text).unwrap();
        let found = canaries.in_files(&[folder.path().to_owned()]).await.unwrap();
        let place = deep.join("core").display().to_string();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [Leak::of("a row", &place)]);
    }
}
