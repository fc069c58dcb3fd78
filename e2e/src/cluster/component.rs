//! What a cluster consists of: its processes and their arguments.

use std::{net::Ipv4Addr, path::PathBuf};

use super::site::Site;

/// The subcommand of this program that is a cluster's network provider until it is stopped.
pub const PROVIDE_NETWORK: &str = "provide-network";

/// The subcommand of this program that keeps what a cluster's pods log, and what its Secrets hold, until it is stopped.
pub const KEEP_LOGS: &str = "keep-logs";

/// One process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The database of the API server.
    Etcd,
    /// The API server.
    ApiServer,
    /// The built-in controllers.
    ControllerManager,
    /// Gives pods to nodes.
    Scheduler,
    /// Runs containers.
    Containerd,
    /// The node's agent.
    Kubelet,
    /// Makes Services reachable, by nftables.
    Proxy,
    /// DNS for pods.
    Dns,
    /// This program itself, which enforces network policies and gives load balancers their address.
    Network,
    /// This program itself, which keeps the logs of pods that are gone, and the values of Secrets that are gone.
    Logs,
}

impl Component {
    /// All, in the order in which they are started.
    pub const ALL: [Self; 10] = [
        Self::Containerd,
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::Proxy,
        Self::Dns,
        Self::Network,
        Self::Logs,
    ];

    /// The name of the program, of its log and of its pid file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Dns => "coredns",
            Self::Network => "network",
            Self::Logs => "logs",
        }
    }

    /// What it is started with.
    pub(super) fn arguments(self, site: Site) -> Vec<String> {
        let folder = Folder(site.folder());
        match self {
            Self::Etcd => etcd(&folder),
            Self::ApiServer => api_server(site, &folder),
            Self::ControllerManager => controller_manager(site, &folder),
            Self::Scheduler => {
                let access = folder.kubeconfig("scheduler");
                flags(&[
                    ("kubeconfig", &access),
                    ("authentication-kubeconfig", &access),
                    ("authorization-kubeconfig", &access),
                    ("leader-elect", "false"),
                    ("bind-address", "127.0.0.1"),
                ])
            }
            Self::Containerd => vec!["--config".into(), folder.of("containerd.toml")],
            Self::Kubelet => flags(&[
                ("config", &folder.of("kubelet.yaml")),
                ("kubeconfig", &folder.kubeconfig("kubelet")),
                ("root-dir", &folder.of("kubelet")),
                ("hostname-override", site.name()),
                ("node-ip", &site.node().to_string()),
            ]),
            Self::Proxy => flags(&[
                ("kubeconfig", &folder.kubeconfig("proxy")),
                ("proxy-mode", "nftables"),
                ("cluster-cidr", &site.pods()),
                ("hostname-override", site.name()),
                // Limits of connection tracking belong to the machine, not to a namespace.
                ("conntrack-max-per-core", "0"),
                ("metrics-bind-address", "127.0.0.1"),
                ("healthz-bind-address", "127.0.0.1"),
            ]),
            Self::Dns => vec!["-conf".into(), folder.of("Corefile")],
            Self::Network => ours(PROVIDE_NETWORK, site, &folder),
            Self::Logs => ours(KEEP_LOGS, site, &folder),
        }
    }
}

/// The paths in a cluster's folder.
struct Folder(PathBuf);

impl Folder {
    fn of(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn certificate(&self, name: &str) -> String {
        self.of(&format!("pki/{name}.crt"))
    }

    fn key(&self, name: &str) -> String {
        self.of(&format!("pki/{name}.key"))
    }

    fn kubeconfig(&self, name: &str) -> String {
        self.of(&format!("{name}.kubeconfig"))
    }
}

/// What this program is given. The folder only tells the process from another bed's.
fn ours(subcommand: &str, site: Site, folder: &Folder) -> Vec<String> {
    vec![
        subcommand.into(),
        site.name().into(),
        folder.0.display().to_string(),
    ]
}

fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn etcd(folder: &Folder) -> Vec<String> {
    let (clients, peers) = (
        format!("http://{LOOPBACK}:2379"),
        format!("http://{LOOPBACK}:2380"),
    );
    flags(&[
        ("data-dir", &folder.of("etcd")),
        ("listen-client-urls", &clients),
        ("advertise-client-urls", &clients),
        ("listen-peer-urls", &peers),
        // The cluster is made anew after the machine was down.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

fn api_server(site: Site, folder: &Folder) -> Vec<String> {
    let node = site.node().to_string();
    flags(&[
        ("etcd-servers", &format!("http://{LOOPBACK}:2379")),
        ("bind-address", &node),
        ("advertise-address", &node),
        ("secure-port", "6443"),
        ("tls-cert-file", &folder.certificate("apiserver")),
        ("tls-private-key-file", &folder.key("apiserver")),
        ("client-ca-file", &folder.certificate("ca")),
        // No proxy stands before this API server. The other components want to read who might, all the same.
        ("requestheader-client-ca-file", &folder.certificate("ca")),
        ("requestheader-allowed-names", "nobody"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("service-cluster-ip-range", &site.services()),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        ),
        ("service-account-key-file", &folder.of("pki/service-accounts.pub")),
        (
            "service-account-signing-key-file",
            &folder.key("service-accounts"),
        ),
        ("kubelet-certificate-authority", &folder.certificate("ca")),
        (
            "kubelet-client-certificate",
            &folder.certificate("apiserver-kubelet"),
        ),
        ("kubelet-client-key", &folder.key("apiserver-kubelet")),
        // The node's name is in no DNS.
        ("kubelet-preferred-address-types", "InternalIP"),
        ("allow-privileged", "true"),
        ("audit-policy-file", &folder.of("audit.yaml")),
        ("audit-log-path", &folder.of("log/audit.log")),
    ])
}

fn controller_manager(site: Site, folder: &Folder) -> Vec<String> {
    let access = folder.kubeconfig("controller-manager");
    flags(&[
        ("kubeconfig", &access),
        ("authentication-kubeconfig", &access),
        ("authorization-kubeconfig", &access),
        (
            "service-account-private-key-file",
            &folder.key("service-accounts"),
        ),
        ("use-service-account-credentials", "true"),
        ("root-ca-file", &folder.certificate("ca")),
        ("cluster-cidr", &site.pods()),
        ("leader-elect", "false"),
        ("bind-address", "127.0.0.1"),
    ])
}
