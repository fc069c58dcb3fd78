//! The product on the bed, installed the way its users install it: the store made ready by `store init`, the operator by Helm, mirrors by
//! `kubectl apply`, restores as Jobs. Demo and scenarios share it.

mod job;
mod keys;
pub mod mirror;
mod operator;
pub mod registry;
pub mod restore;
pub mod sidecar;
mod store;

use std::path::PathBuf;

use anyhow::Result;

pub use self::{
    keys::Keys,
    operator::{OPERATOR, RELEASE_NAMESPACE, Release, chart},
};
use crate::{
    bed::{Bed, Store},
    progress::Progress,
};

/// The one `DataEmbassy` of the bed.
pub const EMBASSY: &str = "luxembourg";
/// The repository's root.
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The product, installed.
#[derive(Clone)]
pub struct Product {
    /// The clusters it is installed on.
    pub bed: Bed,
    /// The keys that are on neither cluster, and the custodian's.
    pub keys: Keys,
}

impl Product {
    /// Installs what is not there yet: keys, the store's document, the operator, the `DataEmbassy`.
    pub async fn install(bed: &Bed, progress: &Progress) -> Result<Self> {
        let keys = Keys::make().await?;
        let product = Self {
            bed: bed.clone(),
            keys,
        };
        let step = progress.step("the store's document, written by `store init`");
        store::init(&product).await?;
        step.done();
        let step = progress.step("the operator, installed by Helm");
        operator::install(bed).await?;
        bed.home()
            .apply(&product.data_embassy(&bed.store().await?)?)
            .await?;
        step.done();
        Ok(product)
    }

    /// The product on a bed that is up with it.
    pub async fn running(bed: &Bed) -> Result<Self> {
        Ok(Self {
            bed: bed.clone(),
            keys: Keys::make().await?,
        })
    }

    /// The sample's `DataEmbassy` with the two values that nobody can know beforehand: the store's authority and the recipient.
    pub fn data_embassy(&self, store: &Store) -> Result<String> {
        mirror::filled_in(
            &std::fs::read_to_string(sample(EMBASSY))?,
            store.ca(),
            &self.keys.recipient,
        )
    }
}

/// Where a sample that the docs show lies.
#[must_use]
pub fn sample(name: &str) -> PathBuf {
    PathBuf::from(TREE)
        .join("docs/samples")
        .join(format!("{name}.yaml"))
}
