//! Pods that the operator's Deployments made: which they are, what keeps them from running, and how the kubelet is called.

mod descent;
mod kubelet;
mod refusal;
mod relapse;
mod trouble;

pub use descent::{newest, pods_of};
pub use kubelet::{Call, call, call_for_secrets};
pub use refusal::{none_made, refusal};
pub use relapse::{ends_often, relapse};
pub use trouble::{Trouble, Words, has_ended, is_down, out_of_memory_at, trouble, trouble_beside};

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

/// Where a pod can be asked, while it runs.
#[must_use]
pub fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    status.pod_ip.as_deref()?.parse().ok()
}
