//! An embassy of a scenario's own: the same store, reached through this process, where requests are held and lost.

use anyhow::Result;
use dataembassy_e2e::bed::detour::{Detour, HOST};
use dataembassy_testkit::{fault_proxy::Fault, minio::BUCKET};
use hyper::Method;
use serde_json::json;

use crate::world::{Subject, World};

/// The way, and the name of the `DataEmbassy` that leads there.
pub(crate) struct ByDetour {
    /// The `DataEmbassy`.
    pub(crate) embassy: String,
    /// What lies on the way.
    pub(crate) detour: Detour,
}

impl ByDetour {
    /// Opens a detour and applies its `DataEmbassy`.
    pub(crate) async fn open(world: &World, stem: &str) -> Result<Self> {
        let detour = Detour::open(&world.product.bed.store().await?)?;
        let embassy = world.unique(stem);
        let keys = &world.product.keys;
        let approvers = keys.approvers.iter().enumerate();
        let approvers: Vec<_> = approvers
            .map(|(number, approver)| json!({"name": format!("approver-{number}"), "publicKey": approver.public()}))
            .collect();
        let manifest = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "DataEmbassy",
            "metadata": {"name": embassy},
            "spec": {
                "store": {"endpoint": detour.endpoint(), "bucket": BUCKET, "caBundle": detour.ca()},
                "immutability": {"mode": "Compliance", "lockOnArrival": "1d"},
                "recipients": [{"name": "ministry", "publicKey": keys.recipient}],
                "custodianKeys": [{"publicKey": keys.custodian_public}],
                "activation": {"required": 2, "approvers": approvers},
                "sovereignty": {"allowedHosts": [HOST]},
            },
        });
        world.home().apply(&manifest.to_string()).await?;
        Ok(Self { embassy, detour })
    }

    /// Applies a mirror that goes this way, with a trigger that its first copy answers.
    pub(crate) async fn apply(&self, subject: &Subject, trigger: &str) -> Result<()> {
        subject
            .apply(|spec| {
                spec["embassyRef"]["name"] = self.embassy.as_str().into();
                spec["trigger"] = trigger.into();
            })
            .await
    }

    /// Does `fault` to the next `times` puts of keys that contain `part`.
    pub(crate) fn inject(&self, times: usize, fault: Fault, part: &'static str) {
        self.detour
            .inject(times, fault, move |method, target| is_put(method, target, part));
    }

    /// How many puts of keys that contain `part` have come by.
    pub(crate) fn puts(&self, part: &str) -> usize {
        let seen = self.detour.seen();
        seen.iter()
            .filter(|seen| is_put(&seen.method, &seen.target, part))
            .count()
    }

    /// Takes away what the scenario put up, once it has succeeded: a mirror without its detour would try for ever.
    pub(crate) async fn close(self, world: &World, subject: &Subject) -> Result<()> {
        let (namespace, embassy) = (subject.namespace.as_str(), self.embassy.as_str());
        let home = world.home();
        home.kubectl(["delete", "namespace", namespace, "--wait=false"])
            .await?;
        home.kubectl(["delete", "dataembassy", embassy, "--wait=false"])
            .await?;
        Ok(())
    }
}

fn is_put(method: &Method, target: &str, part: &str) -> bool {
    method == Method::PUT && target.contains(part)
}
