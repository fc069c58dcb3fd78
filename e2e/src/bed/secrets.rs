//! Secrets of what runs in the bed: made once, read again by the next command.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;

use crate::cluster::Cluster;

/// A password nobody has to type: 32 hex digits.
#[must_use]
pub fn password() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// Makes a Secret, or replaces it.
pub async fn write(cluster: &Cluster, namespace: &str, name: &str, data: &[(&str, &str)]) -> Result<()> {
    let data: BTreeMap<_, _> = data.iter().copied().collect();
    let manifest = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    });
    cluster
        .apply(&manifest.to_string())
        .await
        .map(drop)
        .with_context(|| format!("cannot make the Secret {namespace}/{name}"))
}

/// The values of a Secret, if it is there.
pub async fn read(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client().clone(), namespace);
    let Some(secret) = secrets.get_opt(name).await? else {
        return Ok(None);
    };
    let text = |(key, ByteString(value))| Ok((key, String::from_utf8(value)?));
    secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(text)
        .collect::<Result<_>>()
        .map(Some)
        .with_context(|| format!("Secret {namespace}/{name} is not text"))
}
