//! An activation as tests of several rooms need it.

use dataembassy_crds::EmbassyActivation;
use serde_json::json;

/// Of one registry, in this mode.
pub(super) fn activation(mode: &str) -> EmbassyActivation {
    serde_json::from_value(json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "EmbassyActivation",
        "metadata": {"name": "day", "namespace": "abroad", "uid": "uid-day"},
        "spec": {
            "embassyRef": {"name": "luxembourg"}, "mode": mode, "validUntil": "2026-12-01T12:00:00Z",
            "registries": [{
                "id": "population", "retrievalCredentialsRef": {"name": "r"}, "identityRef": {"name": "i"}, "target": {},
            }],
        }
    }))
    .unwrap()
}
