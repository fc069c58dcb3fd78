//! The test bed: two clusters, the link between them, and what runs in them for every test.

mod catastrophe;
pub mod detour;
pub mod disk;
pub mod link;
pub mod postgresql;
pub mod secrets;
pub mod store;

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    cache::Cache,
    cluster::{self, Cluster, Site, network, state},
    images::{self, Image},
    progress::Progress,
};

pub use self::{
    detour::Detour,
    postgresql::{Database, Options},
    store::Store,
};

/// How long a server may take to start. Usually it is seconds; a busy machine takes its time.
const STARTS: Duration = Duration::from_mins(3);

/// The running bed.
#[derive(Clone)]
pub struct Bed {
    home: Cluster,
    embassy: Cluster,
    images: Vec<Image>,
}

impl Bed {
    /// Brings the bed up, or takes the one that is. Whatever is broken of an earlier one is cleared away first.
    pub async fn up(cache: &Cache, progress: &Progress) -> Result<Self> {
        let _lock = lock()?;
        // The product takes the longest to build, and nothing but its own images waits for it.
        let (mut bed, product) = tokio::try_join!(
            Self::without_product(cache, progress),
            images::product(cache, progress)
        )?;
        bed.bring(&product, progress).await?;
        bed.images.extend(product);
        Ok(bed)
    }

    /// The bed that is up, with what was brought into it; nothing is built.
    pub async fn running(cache: &Cache) -> Result<Self> {
        let (home, embassy) = tokio::try_join!(
            Cluster::connect(Site::Home, cache),
            Cluster::connect(Site::Embassy, cache)
        )?;
        Ok(Self {
            home,
            embassy,
            images: Vec::new(),
        })
    }

    async fn without_product(cache: &Cache, progress: &Progress) -> Result<Self> {
        let images = images::surroundings(cache, progress).await?;
        let (home, embassy) = Self::clusters(cache, &images, progress).await?;
        let bed = Self {
            home,
            embassy,
            images,
        };
        bed.bring(&bed.images, progress).await?;
        let step = progress.step("the store in the embassy");
        Store::deploy(&bed.embassy).await?;
        step.done();
        Ok(bed)
    }

    /// The clusters that run, or new ones.
    async fn clusters(cache: &Cache, images: &[Image], progress: &Progress) -> Result<(Cluster, Cluster)> {
        if Site::BOTH.into_iter().all(cluster::is_up) {
            // Who brought it up may not have had the same.
            for site in Site::BOTH {
                network::fence(site).await?;
            }
            return tokio::try_join!(
                Cluster::connect(Site::Home, cache),
                Cluster::connect(Site::Embassy, cache)
            );
        }
        clear().await?;
        network::make().await?;
        tokio::try_join!(
            cluster::up(Site::Home, cache, images, progress),
            cluster::up(Site::Embassy, cache, images, progress),
        )
    }

    /// Brings images into both clusters, those that they do not have.
    async fn bring(&self, images: &[Image], progress: &Progress) -> Result<()> {
        let step = progress.step("images in both clusters");
        for image in images {
            step.at(&image.name);
            tokio::try_join!(self.home.import_image(image), self.embassy.import_image(image))?;
        }
        step.done();
        Ok(())
    }

    /// The embassy's object store.
    pub async fn store(&self) -> Result<Store> {
        Store::connect(&self.embassy).await
    }

    /// Starts a PostgreSQL server (15 or 17) in a namespace of one of the clusters; see [`Database`].
    pub async fn postgresql(
        &self,
        site: Site,
        namespace: &str,
        name: &str,
        major: u32,
        options: &Options,
    ) -> Result<Database> {
        postgresql::deploy(self.cluster(site), namespace, name, major, options).await
    }

    /// The cluster where registries run.
    #[must_use]
    pub const fn home(&self) -> &Cluster {
        &self.home
    }

    /// The cluster abroad.
    #[must_use]
    pub const fn embassy(&self) -> &Cluster {
        &self.embassy
    }

    /// One of the two.
    #[must_use]
    pub const fn cluster(&self, site: Site) -> &Cluster {
        match site {
            Site::Home => &self.home,
            Site::Embassy => &self.embassy,
        }
    }

    /// An image by its short name, such as `sidecar:dev`.
    pub fn image(&self, name: &str) -> Result<&Image> {
        let full = format!("dataembassy.local/{name}");
        self.images
            .iter()
            .find(|image| image.name == full)
            .with_context(|| format!("there is no image {full}"))
    }
}

/// Takes everything down: processes, namespaces, mounts, cgroups and state. Images stay in the clusters' stores
/// for the next time, unless they are to be purged too. Fails if it finds that anything is left.
pub async fn down(purge: bool) -> Result<()> {
    if !state().exists() {
        return Ok(());
    }
    let lock = lock()?;
    clear().await?;
    let left = [cluster::remains(Site::Home)?, cluster::remains(Site::Embassy)?].concat();
    ensure!(
        left.is_empty(),
        "the bed is down, and this is left of it: {}",
        left.join("; ")
    );
    if purge {
        fs::remove_dir_all(state()).with_context(|| format!("cannot remove {}", state().display()))?;
    }
    drop(lock);
    Ok(())
}

async fn clear() -> Result<()> {
    let (home, embassy) = tokio::join!(cluster::down(Site::Home), cluster::down(Site::Embassy));
    network::delete().await?;
    home.context("cannot clear the home cluster away")?;
    embassy.context("cannot clear the embassy cluster away")?;
    catastrophe::forget()
}

/// Two commands must not build and tear down at once.
fn lock() -> Result<fs::File> {
    fs::create_dir_all(state())?;
    let file = fs::File::create(state().join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another command is bringing the bed up or down: wait for it")
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("cannot lock the bed"),
    }
}
