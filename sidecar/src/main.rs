//! The sidecar: mirrors, restores and keeps the ledger; knows nothing of Kubernetes.

fn main() {}
