//! What the operator was started with, as far as the objects that it makes depend on it.

/// Settings that go into every mirror's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The operator's own namespace, from which sidecars may be asked for their report.
    pub namespace: String,
    /// The sidecar's image.
    pub sidecar_image: String,
    /// When the kubelet pulls it: `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Secrets with which it is pulled, by name, in each mirror's namespace.
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
