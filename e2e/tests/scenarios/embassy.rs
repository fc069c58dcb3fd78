//! A `DataEmbassy` that a scenario has to itself: it may be wrong, or gone, without harm to others.

use anyhow::Result;
use dataembassy_e2e::bed::Detour;
use dataembassy_testkit::minio::BUCKET;
use serde_json::{Value, json};

use crate::world::World;

/// A `DataEmbassy` of a scenario's own. It leads to the store past the gate, which serves one bucket and refuses in words of its own: what is
/// wrong with a store is to be seen as it is.
pub(crate) struct Embassy {
    world: &'static World,
    /// Its name.
    pub(crate) name: String,
    /// As it should be.
    sound: Value,
    way: Detour,
}

impl Embassy {
    /// One that is as it should be, not applied yet.
    pub(crate) async fn new(world: &'static World, stem: &str) -> Result<Self> {
        let name = world.unique(stem);
        let way = Detour::open(&world.product.bed.store().await?)?;
        let sound = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "DataEmbassy",
            "metadata": {"name": name},
            "spec": {
                "store": {"endpoint": way.endpoint(), "bucket": BUCKET, "caBundle": way.ca()},
                "immutability": {"lockOnArrival": "1d"},
                "recipients": [{"name": "ministry", "publicKey": world.product.keys.recipient}],
            },
        });
        Ok(Self {
            world,
            name,
            sound,
            way,
        })
    }

    /// Where it leads.
    pub(crate) fn endpoint(&self) -> String {
        self.way.endpoint()
    }

    /// The resource with a change.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut manifest = self.sound.clone();
        change(&mut manifest["spec"]);
        manifest
    }

    /// Applies it with a change.
    pub(crate) async fn apply(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        self.world
            .home()
            .apply(&self.with(change).to_string())
            .await
            .map(drop)
    }

    /// Deletes it; its mirrors go on.
    pub(crate) async fn delete(&self) -> Result<()> {
        let arguments = ["delete", "dataembassy", &self.name, "--ignore-not-found"];
        self.world.home().kubectl(arguments).await.map(drop)
    }
}
