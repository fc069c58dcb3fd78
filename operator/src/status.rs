//! Writing a status: compared with what it was, applied as one field manager, counted, and told in events.

use std::fmt::Debug;

use dataembassy_crds::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::Event;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::apply::kind_of;
use crate::event;
use crate::run::{Context, ReconcileError};

/// A kind whose status says in conditions how it is.
pub trait Observed: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    /// What is written.
    type Status: Clone + Default + PartialEq + Serialize;

    /// What was written last.
    fn status(&self) -> Option<&Self::Status>;

    /// The conditions in a status.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// Since when an identity that the resource names has lain in the cluster, where that is known.
    fn identity_since(_status: &Self::Status) -> Option<&str> {
        None
    }

    /// Events that a change is worth, beside those of its conditions.
    fn further_events(&self, _before: &Self::Status, _after: &Self::Status) -> Vec<Event> {
        Vec::new()
    }
}

/// Writes the status and tells of it, if it changed. `api` is where the resource is.
pub async fn write<K: Observed>(
    api: &Api<K>,
    resource: &K,
    status: &K::Status,
    manager: &str,
    context: &Context,
) -> Result<(), ReconcileError> {
    let before = resource.status().cloned().unwrap_or_default();
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let kind = kind_of::<K>();
    context
        .metrics
        .judged(kind, &namespace, &name, K::conditions(status));
    let since = K::identity_since(status).and_then(|since| since.parse().ok());
    context.metrics.keeps_identity(kind, &namespace, &name, since);
    if *status == before {
        return Ok(());
    }
    let mut patch = json!({"apiVersion": K::api_version(&()), "kind": kind, "status": status});
    // It is written to what was judged and to nothing else: one that has changed meanwhile, or was made again under the same name, is judged
    // anew. The API server does not look at a UID here, only at this.
    if let Some(version) = resource.resource_version() {
        patch["metadata"] = json!({"resourceVersion": version});
    }
    let parameters = PatchParams::apply(manager).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(patch)).await {
        Ok(_) => {}
        // Deleted meanwhile: there is nobody left to tell. Changed meanwhile: the watch brings what it is now.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(()),
        Err(source) => {
            return Err(ReconcileError::StatusNotWritten {
                source: Box::new(source),
            });
        }
    }
    context.metrics.wrote(kind);
    let mut events = event::of_change(K::conditions(&before), K::conditions(status));
    events.extend(resource.further_events(&before, status));
    event::publish(&context.recorder, &resource.object_ref(&()), events).await;
    Ok(())
}
