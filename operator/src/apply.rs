//! Server-side apply of what is meant, and only where it is not so already.
//!
//! An object is compared with what the watch says it is: everything that is meant must be there with the same value; what the API
//! server or others added is theirs. A digest of the whole object goes with it as an annotation, because a field that is no longer
//! meant cannot be seen by that comparison.

use std::fmt::Debug;

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::labels::MADE_FOR;
use crate::metrics::Metrics;

/// The annotation that holds the digest of what was meant.
pub const DIGEST: &str = "dataembassy.io/desired-digest";

/// Why an object could not be brought to what is meant.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of that name is not ours.
    #[error(
        "{kind} {name} exists and does not belong to this resource: rename the resource, or remove that object"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server said no.
    #[error("{kind} {name} was not taken by the API server: {source}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    /// Whether trying again without a change cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Foreign { .. } => true,
            Self::Refused { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 422))
            }
        }
    }

    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> dataembassy_contract::Reason {
        match self {
            Self::Foreign { .. } => dataembassy_contract::Reason::ForeignObject,
            Self::Refused { .. } => dataembassy_contract::Reason::ApplyFailed,
        }
    }
}

/// By what an object is known to be ours.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The resource with this UID controls it, and it goes with the resource.
    Resource(&'a str),
    /// It bears these labels, and stays when the resource that it was made for is gone: what runs is not stopped by a resource that
    /// vanished. Only for objects in the operator's own namespace.
    Labels(&'a Value),
    /// It says that it was made for the resource with this UID, and stays when that is gone.
    MadeFor(&'a str),
}

impl Owner<'_> {
    /// Whether the object is ours.
    pub fn owns<K: Resource>(self, object: &K) -> bool {
        match self {
            Self::Resource(uid) => is_owned(object, uid),
            Self::Labels(labels) => labels.as_object().is_some_and(|labels| {
                labels
                    .iter()
                    .all(|(name, value)| object.labels().get(name).map(String::as_str) == value.as_str())
            }),
            Self::MadeFor(uid) => object.annotations().get(MADE_FOR).is_some_and(|of| of == uid),
        }
    }
}

/// Writes objects as one field manager.
#[derive(Clone)]
pub struct Writer<'a> {
    client: Client,
    manager: &'static str,
    metrics: &'a Metrics,
}

impl<'a> Writer<'a> {
    /// A writer that calls itself `manager`.
    #[must_use]
    pub const fn new(client: Client, manager: &'static str, metrics: &'a Metrics) -> Self {
        Self {
            client,
            manager,
            metrics,
        }
    }

    /// Brings an object of a namespace to what `desired` says. `live` is what the watch knows.
    pub async fn apply<K>(
        &self,
        live: Option<&K>,
        desired: &Value,
        owner: Owner<'_>,
    ) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let api = Api::namespaced(self.client.clone(), text(desired, "namespace"));
        self.apply_to(&api, live, desired, owner).await
    }

    /// Brings an object of the cluster to what `desired` says. `live` is what the watch knows.
    pub async fn apply_cluster<K>(
        &self,
        live: Option<&K>,
        desired: &Value,
        owner: Owner<'_>,
    ) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        self.apply_to(&Api::all(self.client.clone()), live, desired, owner)
            .await
    }

    async fn apply_to<K>(
        &self,
        api: &Api<K>,
        live: Option<&K>,
        desired: &Value,
        owner: Owner<'_>,
    ) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = text(desired, "name");
        let refused = |source| ApplyError::Refused {
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        };
        let foreign = || ApplyError::Foreign {
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
        };
        match live {
            Some(live) if !owner.owns(live) => return Err(foreign()),
            Some(live) if serde_json::to_value(live).is_ok_and(|live| is_applied(&live, desired)) => {
                return Ok(());
            }
            Some(_) => {}
            // The watch sees labelled objects only, so a stranger's must be asked for before it is overwritten.
            None => {
                if api
                    .get_opt(name)
                    .await
                    .map_err(refused)?
                    .is_some_and(|found| !owner.owns(&found))
                {
                    return Err(foreign());
                }
            }
        }
        let parameters = PatchParams::apply(self.manager).force();
        api.patch(name, &parameters, &Patch::Apply(desired))
            .await
            .map_err(refused)?;
        self.metrics.wrote(kind_of::<K>());
        Ok(())
    }
}

/// The name of a kind, for metrics.
#[must_use]
pub fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "Other",
    }
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether `owner` is the object's controller.
pub fn is_owned<K: Resource>(object: &K, owner: &str) -> bool {
    object
        .owner_references()
        .iter()
        .any(|reference| reference.uid == owner && reference.controller == Some(true))
}

/// Adds the digest of the object to the object.
#[must_use]
pub fn with_digest(mut object: Value) -> Value {
    let digest = hex::encode(Sha256::digest(object.to_string()));
    object["metadata"]["annotations"][DIGEST] = Value::String(digest);
    object
}

/// Whether everything that `desired` says is so in `live`.
#[must_use]
pub fn is_applied(live: &Value, desired: &Value) -> bool {
    matches("", live, desired)
}

fn matches(field: &str, live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let quantities = matches!(field, "limits" | "requests");
            desired.iter().all(|(key, desired)| {
                let live = live.get(key).unwrap_or(&Value::Null);
                let field = if quantities || key == "sizeLimit" {
                    QUANTITY
                } else {
                    key
                };
                matches(field, live, desired)
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live
                    .iter()
                    .zip(desired)
                    .all(|(live, desired)| matches("", live, desired))
        }
        // The API server leaves out what is empty.
        (Value::Null, desired) => is_empty(desired),
        (Value::String(live), Value::String(desired)) if field == QUANTITY => {
            live == desired || quantity(live).is_some_and(|amount| Some(amount) == quantity(desired))
        }
        (live, desired) => live == desired,
    }
}

/// The name under which amounts are compared: the API server rewrites `1024Mi` to `1Gi`.
const QUANTITY: &str = "quantity";

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(flag) => !flag,
        Value::Number(_) | Value::String(_) => false,
    }
}

/// An amount in thousandths.
pub(crate) fn quantity(text: &str) -> Option<u128> {
    let digits = text
        .find(|sign: char| !sign.is_ascii_digit() && sign != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let scale = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let mut amount = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    let mut step = scale;
    for digit in part.chars() {
        step /= 10;
        amount = amount.checked_add(u128::from(digit.to_digit(10)?) * step)?;
    }
    Some(amount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_added_is_theirs() {
        let desired = json!({"spec": {"replicas": 1, "template": {"containers": [{"name": "sidecar"}]}}});
        let live = json!({"spec": {"replicas": 1, "paused": false, "template": {"containers": [{"name": "sidecar", "ports": [1]}]}}});
        assert!(is_applied(&live, &desired));
    }

    #[test]
    fn a_changed_value_and_a_surplus_list_item_are_seen() {
        let desired = json!({"replicas": 1, "env": [{"name": "A"}]});
        assert!(!is_applied(
            &json!({"replicas": 2, "env": [{"name": "A"}]}),
            &desired
        ));
        assert!(!is_applied(
            &json!({"replicas": 1, "env": [{"name": "A"}, {"name": "B"}]}),
            &desired
        ));
        assert!(!is_applied(&json!({"replicas": 1}), &desired));
    }

    #[test]
    fn what_is_empty_may_be_left_out() {
        assert!(is_applied(
            &json!({}),
            &json!({"ingress": [], "emptyDir": {}, "optional": false})
        ));
    }

    #[test]
    fn amounts_are_compared_by_value() {
        let desired =
            json!({"resources": {"limits": {"memory": "1024Mi", "cpu": "1000m"}}, "sizeLimit": "0.5Gi"});
        let live = json!({"resources": {"limits": {"memory": "1Gi", "cpu": "1"}}, "sizeLimit": "512Mi"});
        assert!(is_applied(&live, &desired));
        let other = json!({"resources": {"limits": {"memory": "2Gi", "cpu": "1"}}, "sizeLimit": "512Mi"});
        assert!(!is_applied(&other, &desired));
    }

    #[test]
    fn a_field_that_is_no_longer_meant_changes_the_digest() {
        let with =
            with_digest(json!({"metadata": {"name": "a"}, "spec": {"nodeSelector": {"disk": "fast"}}}));
        let without = with_digest(json!({"metadata": {"name": "a"}, "spec": {}}));
        assert!(!is_applied(&with, &without));
    }
}
