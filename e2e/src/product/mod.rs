//! The product on the bed, installed the way its users install it: the store made ready by `store init`, the operator by Helm, mirrors by
//! `kubectl apply`, restores as Jobs. Demo and scenarios share it.

pub mod activation;
pub mod canaries;
pub mod conditions;
pub mod custody;
pub mod drill;
pub mod embassy;
mod job;
mod keys;
pub mod logs;
pub mod mirror;
mod operator;
pub mod red_team;
pub mod registry;
pub mod restore;
pub mod sidecar;
mod store;
mod tls;

use std::path::PathBuf;

use anyhow::Result;

pub use self::{
    keys::{Approver, Keys},
    operator::{OPERATOR, RELEASE, RELEASE_NAMESPACE, Release, chart},
};
use crate::{bed::Bed, progress::Progress};

/// The one `DataEmbassy` of the bed.
pub const EMBASSY: &str = "luxembourg";
/// The repository's root.
pub const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

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
        let step = progress.step("the embassy: its operator by Helm, which runs custodian and gate");
        let store = bed.store().await?;
        embassy::install(&product, &store).await?;
        step.done();
        let step = progress.step("home: its operator by Helm, and the embassy as home reaches it");
        operator::install(bed, bed.home(), "home").await?;
        bed.home().apply(&product.data_embassy().await?).await?;
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

    /// The `DataEmbassy` of home: the docs' sample, filled in.
    pub async fn data_embassy(&self) -> Result<String> {
        let authority = embassy::gate_authority(self).await?;
        self.filled_in(&std::fs::read_to_string(sample(EMBASSY))?, &authority)
    }

    /// The sample of a `DataEmbassy` with what nobody can know beforehand: the authority of what it reaches, the recipient, the custodian's
    /// key, and the approvers'.
    fn filled_in(&self, sample: &str, authority: &str) -> Result<String> {
        let custodian = &self.keys.custodian_public;
        let approvers: Vec<_> = self.keys.approvers.iter().map(Approver::public).collect();
        mirror::filled_in(sample, authority, &self.keys.recipient, custodian, &approvers)
    }
}

/// Where a sample that the docs show lies.
#[must_use]
pub fn sample(name: &str) -> PathBuf {
    PathBuf::from(TREE)
        .join("docs/samples")
        .join(format!("{name}.yaml"))
}
