//! A bound for the memory of a container, as the kubelet sets it: in a control group of its own, of either version.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

/// Where version 1 has memory; where it is missing, version 2 has everything one folder above.
const VERSION_1: &str = "/sys/fs/cgroup/memory";
const VERSION_2: &str = "/sys/fs/cgroup";

/// A control group that bounds memory. It goes when it is dropped, if nobody is in it any more.
pub(super) struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// Makes one of so many MiB.
    pub(super) fn make(mebibytes: u32) -> Result<Self> {
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let (root, file) = if Path::new(VERSION_1).is_dir() {
            (VERSION_1, "memory.limit_in_bytes")
        } else {
            (VERSION_2, "memory.max")
        };
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(root).join(format!("cell-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let limit = Self { folder };
        let bytes = u64::from(mebibytes) * 1024 * 1024;
        fs::write(limit.folder.join(file), bytes.to_string())
            .with_context(|| format!("memory cannot be bounded in {}", limit.folder.display()))?;
        Ok(limit)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Whoever is still in it keeps it, and is seen by that.
        let _ = fs::remove_dir(&self.folder);
    }
}
