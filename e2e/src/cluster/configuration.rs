//! The configuration files of a cluster's components.

use std::{fs, path::Path};

use anyhow::Result;

use super::{pki::CLIENTS, site::Site};

/// The image every pod's sandbox runs.
pub(super) const PAUSE: &str = "dataembassy.local/pause:1";

/// Names that pods of both clusters can look up although no Service of theirs has it: the doors of the embassy,
/// at its node's address.
pub const EMBASSY_NAMES: [&str; 2] = ["store.embassy.example", "gate.embassy.example"];

/// A name that leads to a link-local address, as a poisoned resolver would answer.
pub const ASTRAY_NAME: &str = "astray.embassy.example";

/// Writes them all.
pub(super) fn write(site: Site) -> Result<()> {
    let folder = site.folder();
    let write = |name: &str, text: String| fs::write(folder.join(name), text);
    for client in CLIENTS.iter().map(|(name, ..)| *name).chain(["kubelet"]) {
        write(&format!("{client}.kubeconfig"), kubeconfig(site, &folder, client))?;
    }
    write("containerd.toml", containerd(&folder))?;
    write("cni/10-pods.conflist", network(site, &folder))?;
    write("kubelet.yaml", kubelet(site, &folder))?;
    write("Corefile", corefile(site, &folder))?;
    write("audit.yaml", AUDIT.to_owned())?;
    Ok(())
}

/// What pods ask of the API server is written down, one line of JSON for each request; the cluster's own parts talk too much.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: [\"system:serviceaccounts:kube-system\"]}
- {level: Metadata, userGroups: [\"system:serviceaccounts\"]}
- {level: None}
";

fn kubeconfig(site: Site, folder: &Path, client: &str) -> String {
    let (pki, node) = (folder.join("pki"), site.node());
    let pki = pki.display();
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {site}
  cluster: {{server: \"https://{node}:6443\", certificate-authority: {pki}/ca.crt}}
users:
- name: {client}
  user: {{client-certificate: {pki}/{client}.crt, client-key: {pki}/{client}.key}}
contexts:
- name: {site}
  context: {{cluster: {site}, user: {client}}}
current-context: {site}
"
    )
}

fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/run/containerd"
[grpc]
  address = "{folder}/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody may lower a process's score below his own.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

fn network(site: Site, folder: &Path) -> String {
    // With ptp every packet of a pod is routed, so the node's nftables see it, also between two pods.
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": true, "ipam": {
                "type": "host-local",
                "dataDir": folder.join("run/addresses"),
                "ranges": [[{"subnet": site.pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

fn kubelet(site: Site, folder: &Path) -> String {
    let (cgroup, node, folder) = (site.cgroup(), site.node(), folder.display());
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {node}
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {folder}/pki/ca.crt}}
authorization: {{mode: Webhook}}
tlsCertFile: {folder}/pki/kubelet-server.crt
tlsPrivateKeyFile: {folder}/pki/kubelet-server.key
containerRuntimeEndpoint: unix://{folder}/run/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
cgroupsPerQOS: true
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: [{node}]
clusterDomain: cluster.local
resolvConf: \"\"
podLogsDir: {folder}/pod-logs
volumePluginDir: {folder}/volume-plugins
# A full disk of a developer's machine is not the bed's business.
evictionHard: {{}}
imageGCHighThresholdPercent: 100
# Pods of tests come in bursts, and each wants to see its new configuration soon.
registryPullQPS: 0
serializeImagePulls: false
syncFrequency: 10s
"
    )
}

fn corefile(site: Site, folder: &Path) -> String {
    let embassy = Site::Embassy.node();
    let names = EMBASSY_NAMES.join(" ");
    let (node, kubeconfig) = (site.node(), folder.join("dns.kubeconfig"));
    let kubeconfig = kubeconfig.display();
    format!(
        "cluster.local:53 {{
  bind {node}
  errors
  kubernetes {{
    kubeconfig {kubeconfig} {site}
  }}
}}
embassy.example:53 {{
  bind {node}
  errors
  hosts {{
    {embassy} {names}
    169.254.169.254 {ASTRAY_NAME}
  }}
}}
# Nothing else exists: a name of the outside is unknown at once, not after a timeout.
.:53 {{
  bind {node}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"
    )
}
