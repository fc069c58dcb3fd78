//! Conditions, waited for in whatever kind has them.

use std::{fmt::Debug, time::Duration};

use anyhow::Result;
use dataembassy_crds::{Condition, ConditionStatus};
use kube::{Api, Resource};
use serde::{Serialize, de::DeserializeOwned};

use crate::command::wait_for;

/// A kind with conditions in its status.
pub trait Conditioned:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The conditions, none before a status was written.
    fn conditions(&self) -> &[Condition];
}

macro_rules! conditioned {
    ($($kind:ty),+) => {
        $(impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        })+
    };
}

conditioned!(
    dataembassy_crds::RegistryMirror,
    dataembassy_crds::RegistryCustody,
    dataembassy_crds::RegistryRestore,
    dataembassy_crds::RegistryDrill,
    dataembassy_crds::DataEmbassy,
    dataembassy_crds::EmbassyActivation
);

/// Waits until a condition of the newest generation has a status (and a reason, if one is given); returns its message. Fails with the
/// whole resource as it is then.
pub async fn wait<K: Conditioned>(
    api: &Api<K>,
    name: &str,
    kind: &str,
    status: ConditionStatus,
    reason: Option<&str>,
    deadline: Duration,
) -> Result<String> {
    let what = format!(
        "{kind} of {} {name} to be {status:?} {}",
        K::kind(&()),
        reason.unwrap_or_default()
    );
    let found = wait_for(&what, deadline, || async {
        let resource = api.get(name).await?;
        let generation = resource.meta().generation;
        Ok(resource
            .conditions()
            .iter()
            .find(|condition| {
                condition.type_ == kind
                    && condition.status == status
                    && Some(condition.observed_generation) == generation
                    && reason.is_none_or(|reason| condition.reason == reason)
            })
            .cloned())
    })
    .await;
    match found {
        Ok(condition) => Ok(condition.message),
        Err(error) => Err(error.context(told(api, name).await)),
    }
}

/// A resource's whole status, for somebody who wonders why it is not as it should be.
pub async fn told<K: Conditioned>(api: &Api<K>, name: &str) -> String {
    match api.get(name).await {
        Ok(resource) => serde_json::to_value(&resource)
            .and_then(|value| serde_json::to_string_pretty(&value["status"]))
            .unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}
