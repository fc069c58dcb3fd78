//! What the operator was started with, as far as the objects that it makes depend on it.

/// Which half of `DataEmbassy` a cluster runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// Registries are mirrored from here.
    #[default]
    Home,
    /// Copies are taken in, proven and kept here.
    Embassy,
}

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which half of `DataEmbassy` this cluster runs.
    pub side: Side,
    /// The operator's own namespace, from which sidecars may be asked for their report.
    pub namespace: String,
    /// The sidecar's image.
    pub sidecar_image: String,
    /// When the kubelet pulls it: `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Secrets with which it is pulled, by name, in the namespace of each pod that is made.
    pub pull_secrets: Vec<String>,
    /// Namespaces that may read the sidecars' metrics.
    pub metrics_namespaces: Vec<String>,
    /// Where sidecars send traces; nowhere if absent.
    pub otlp_endpoint: Option<String>,
    /// The authorities that an https collector is checked against, in PEM.
    pub otlp_ca: Option<String>,
    /// The port on which a sidecar answers for its state; another one in tests.
    pub status_port: u16,
}
