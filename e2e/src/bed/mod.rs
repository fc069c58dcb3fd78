//! The test bed: two clusters, the link between them, and what runs in them for every test.

pub mod link;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{
    cache::Cache,
    cluster::{self, Cluster, STATE, Site, network},
    images::{self, Image},
    progress::Progress,
};

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
        let clusters = async {
            if Site::BOTH.into_iter().all(cluster::is_up) {
                return tokio::try_join!(
                    Cluster::connect(Site::Home, cache),
                    Cluster::connect(Site::Embassy, cache)
                );
            }
            clear().await?;
            network::make().await?;
            // A node needs one image to be ready; the others come when they are built.
            let pause = images::pause(cache).await?;
            tokio::try_join!(
                cluster::up(Site::Home, cache, &pause, progress),
                cluster::up(Site::Embassy, cache, &pause, progress),
            )
        };
        let (images, (home, embassy)) = tokio::try_join!(images::build(cache, progress), clusters)?;
        let bed = Self {
            home,
            embassy,
            images,
        };
        bed.bring_images(progress).await?;
        Ok(bed)
    }

    async fn bring_images(&self, progress: &Progress) -> Result<()> {
        let step = progress.step("images of both clusters");
        for image in &self.images {
            step.at(&image.name);
            tokio::try_join!(self.home.import_image(image), self.embassy.import_image(image))?;
        }
        step.done();
        Ok(())
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
/// for the next time, unless they are to be purged too.
pub async fn down(purge: bool) -> Result<()> {
    if !Path::new(STATE).exists() {
        return Ok(());
    }
    let lock = lock()?;
    clear().await?;
    if purge {
        fs::remove_dir_all(STATE).with_context(|| format!("cannot remove {STATE}"))?;
    }
    drop(lock);
    Ok(())
}

async fn clear() -> Result<()> {
    let (home, embassy) = tokio::join!(cluster::down(Site::Home), cluster::down(Site::Embassy));
    network::delete().await?;
    home.context("cannot clear the home cluster away")?;
    embassy.context("cannot clear the embassy cluster away")
}

/// Two commands must not build and tear down at once.
fn lock() -> Result<fs::File> {
    fs::create_dir_all(STATE)?;
    let file = fs::File::create(Path::new(STATE).join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another command is bringing the bed up or down: wait for it")
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("cannot lock the bed"),
    }
}
