//! Home is lost: its processes, its network, its disks. And somebody comes back with an old disk.

use std::fs;

use anyhow::{Result, bail};

use super::Bed;
use crate::{
    cluster::{self, Cluster, Site, network, state},
    progress::Progress,
};

/// The folder of a disk that was carried away.
const CARRIED_AWAY: &str = "home.carried-away";

impl Bed {
    /// Destroys the home cluster: every process, its network, and its disk, of which somebody has carried away a copy. The embassy is not touched.
    pub async fn destroy_home(&self) -> Result<()> {
        cluster::destroy(Site::Home).await?;
        network::detach(Site::Home).await?;
        let left = cluster::remains(Site::Home)?;
        if left.is_empty() {
            Ok(())
        } else {
            bail!("home is destroyed, and this is left of it: {}", left.join("; "))
        }
    }

    /// Brings home up from the disk that was carried away, as it was when it was destroyed.
    pub async fn home_comes_back(&self, progress: &Progress) -> Result<Cluster> {
        network::reattach(Site::Home).await?;
        cluster::put_disk_back(Site::Home)?;
        cluster::up(Site::Home, self.home.cache(), &self.images, progress).await
    }
}

/// Removes a disk that was carried away, if there is one.
pub(super) fn forget() -> Result<()> {
    let disk = state().join(CARRIED_AWAY);
    if disk.exists() {
        fs::remove_dir_all(disk)?;
    }
    Ok(())
}
