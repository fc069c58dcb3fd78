//! Brings the kubelet to refresh a pod's volume at once, which it does when the pod itself changes.

use dataembassy_contract::report::MissingSecret;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::apply::ApplyError;
use crate::labels::CONFIG_DIGEST;
use crate::metrics::Metrics;
use crate::run::Context;

/// The annotation that is moved while a Secret is awaited, so that the kubelet looks for it.
const AWAITED: &str = "dataembassy.io/secrets-awaited-since";
/// How often it is moved, in seconds.
const AWAITED_EVERY: i64 = 30;

/// Why the kubelet is called.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The digest of the newest configuration, where it can change.
    pub config_digest: Option<&'a str>,
    /// Whether the process misses a Secret that may come any time.
    pub awaits_secret: bool,
}

/// Calls the kubelet of a Job's pod while Secrets are missing: one that comes reaches the pod at once. Its configuration never changes.
pub async fn call_for_secrets(
    pod: &Pod,
    missing: &[MissingSecret],
    context: &Context,
    manager: &str,
    now: Timestamp,
) -> Result<(), ApplyError> {
    if missing.is_empty() {
        return Ok(());
    }
    let why = Call {
        config_digest: None,
        awaits_secret: true,
    };
    call(pod, why, &context.client, manager, &context.metrics, now).await
}

/// Calls the kubelet for a new configuration, and every half minute while the process waits for a Secret.
pub async fn call(
    pod: &Pod,
    call: Call<'_>,
    client: &Client,
    manager: &str,
    metrics: &Metrics,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let mut annotations = json!({});
    if let Some(digest) = call.config_digest
        && pod.annotations().get(CONFIG_DIGEST).map(String::as_str) != Some(digest)
    {
        annotations[CONFIG_DIGEST] = digest.into();
    }
    let slot = (now.as_second() / AWAITED_EVERY * AWAITED_EVERY).to_string();
    if call.awaits_secret && pod.annotations().get(AWAITED) != Some(&slot) {
        annotations[AWAITED] = slot.into();
    }
    if annotations == json!({}) {
        return Ok(());
    }
    let name = pod.name_any();
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch: Value = json!({"metadata": {"uid": pod.uid(), "annotations": annotations}});
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    match api.patch(&name, &parameters, &Patch::Merge(patch)).await {
        Ok(_) => {
            metrics.wrote("Pod");
            Ok(())
        }
        // It is gone, or another one has its name by now: the next one starts with the newest configuration.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(ApplyError::Refused {
            kind: "Pod".to_owned(),
            name,
            source: Box::new(source),
        }),
    }
}
