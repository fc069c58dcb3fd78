//! What home's administrator can order in home's own cluster.

use std::time::Duration;

use anyhow::Result;
use dataembassy_crds::{ConditionStatus, EmbassyActivation};
use dataembassy_ledger::Role;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use serde_json::json;

use super::RedTeam;
use crate::{
    cluster::Cluster,
    product::{EMBASSY, conditions, drill::IMAGE},
};

/// The resource's name.
const NAME: &str = "uprising";

impl RedTeam {
    /// Activates the registry at home, by a statement of home's own that home's key has signed twice; waits until that is refused, and returns
    /// what home is told.
    pub async fn rise(&self, home: &Cluster, namespace: &str, deadline: Duration) -> Result<String> {
        let statement = format!("dataembassy-activation/1\nactivate {}\n", self.registry);
        let approval = self.signer.sign(Role::Activation, statement.as_bytes())?;
        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        let manifest = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "EmbassyActivation",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "embassyRef": {"name": EMBASSY},
                "mode": "Activate",
                "validUntil": tomorrow.to_string(),
                "registries": [{
                    "id": self.registry.as_str(),
                    "retrievalCredentialsRef": {"name": "retrieval"},
                    "identityRef": {"name": "identity"},
                    "target": {"managed": {"image": IMAGE, "imagePullPolicy": "Never", "storage": "1Gi"}},
                }],
                "approvals": [{"signature": approval}, {"signature": approval}],
            },
        });
        home.apply(&manifest.to_string()).await?;
        let api = Api::<EmbassyActivation>::namespaced(home.client().clone(), namespace);
        let (refused, why) = (ConditionStatus::True, Some("WrongSide"));
        let told = conditions::wait(&api, NAME, "Stalled", refused, why, deadline).await?;
        home.kubectl(["delete", "embassyactivation", NAME, "--namespace", namespace])
            .await?;
        Ok(told)
    }
}
