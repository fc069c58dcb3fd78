//! A volume that fills up as a disk does.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, ensure};

use super::Server;
use crate::provisioned;

/// Mounts a volume where the server sees it, and gives it to the server.
const MOUNT: &str = r#"
root=$1; name=$2; size=$3
mkdir "$root/srv/$name"
mount -t tmpfs -o "size=${size}m,mode=0700" tmpfs "$root/srv/$name"
chroot "$root" chown postgres:postgres "/srv/$name"
"#;

impl Server {
    /// Makes a tablespace on a volume of its own, of so many MiB, and returns its name. It goes with the server.
    pub async fn small_tablespace(&self, mebibytes: u32) -> Result<String> {
        static VOLUMES: AtomicU32 = AtomicU32::new(0);
        let name = format!("small_{}", VOLUMES.fetch_add(1, Ordering::Relaxed));
        let root = provisioned::path(&format!("rootfs-postgresql-{}", self.major))?;
        let mounted = Command::new("nsenter")
            .args(["--mount", "--target", &self.supervisor.id().to_string()])
            .args(["sh", "-euc", MOUNT, "volume"])
            .arg(root)
            .args([&name, &mebibytes.to_string()])
            .output()?;
        ensure!(
            mounted.status.success(),
            "the volume {name} cannot be mounted: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        self.client("postgres")
            .await?
            .batch_execute(&format!("CREATE TABLESPACE {name} LOCATION '/srv/{name}'"))
            .await?;
        Ok(name)
    }
}
