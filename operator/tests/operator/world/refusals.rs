//! What the API server says of a pod that it does not let in, word for word, and where Kubernetes leaves it.

use serde_json::{Value, json};

/// By a `ResourceQuota`.
pub(crate) const QUOTA: &str = r#"pods "ours-x7k2p" is forbidden: exceeded quota: strict, requested: pods=1, used: pods=0, limited: pods=0"#;
/// By a `LimitRange`.
pub(crate) const LIMITS: &str =
    r#"pods "ours-x7k2p" is forbidden: maximum memory usage per Container is 64Mi, but limit is 192Mi"#;
/// By the Pod Security level of the namespace. Ours keep to the strictest: here somebody's webhook has put a container beside ours.
pub(crate) const POD_SECURITY: &str = r#"pods "ours-x7k2p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "agent" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "agent" must set securityContext.capabilities.drop=["ALL"])"#;
/// All of them.
pub(crate) const ALL: [&str; 3] = [QUOTA, LIMITS, POD_SECURITY];

/// Where a Deployment has it.
pub(crate) fn condition(said: &str) -> Value {
    json!([
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": "Created new replica set"},
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said},
    ])
}

/// Where a Job or a `StatefulSet` has it: the list of events about it.
pub(crate) fn events(uid: &str, note: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "EventList", "metadata": {},
        "items": [{
            "metadata": {"name": "ours.187b", "namespace": "interior"},
            "regarding": {"uid": uid}, "reason": "FailedCreate", "type": "Warning", "note": note,
            "deprecatedLastTimestamp": "2026-11-23T10:00:00Z", "deprecatedCount": 4,
            "deprecatedSource": {"component": "controller-manager"}, "eventTime": null,
        }],
    })
}
