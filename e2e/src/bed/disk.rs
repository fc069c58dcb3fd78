//! The store's disk, as somebody with root on the store's machine has it: past its API, its policies and its locks.
//!
//! MinIO keeps each object in a folder of its key's name: `xl.meta`, with the bytes of a small object in it, and a folder of parts for each
//! version of a larger one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use dataembassy_testkit::minio::BUCKET;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use tempfile::TempDir;

use super::Bed;

/// The folder in which the store keeps the bucket of the bed.
pub struct Disk {
    bucket: PathBuf,
}

/// How a part of the disk was at some moment.
pub struct Older {
    place: PathBuf,
    /// Nothing in it where there was nothing.
    kept: TempDir,
}

impl Disk {
    /// Finds it by the store's volume.
    pub async fn of(bed: &Bed) -> Result<Self> {
        let client = bed.embassy().client();
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "store");
        let volume = claims.get("store").await?.spec.and_then(|spec| spec.volume_name);
        let volumes: Api<PersistentVolume> = Api::all(client.clone());
        let volume = volumes.get(&volume.context("the store has no volume")?).await?;
        let path = volume.spec.and_then(|spec| spec.local).map(|local| local.path);
        let bucket = Path::new(&path.context("the store's volume is no folder")?).join(BUCKET);
        ensure!(
            bucket.is_dir(),
            "the store keeps no bucket in {}",
            bucket.display()
        );
        Ok(Self { bucket })
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.bucket
    }

    /// Flips a bit in the middle of the object's bytes.
    pub fn flip(&self, key: &str) -> Result<()> {
        let mut files = Vec::new();
        collect(&self.bucket.join(key), &mut files)?;
        let largest = files.into_iter().max_by_key(|(size, _)| *size);
        let (_, path) = largest.with_context(|| format!("{key} is not on the disk"))?;
        let mut bytes = fs::read(&path)?;
        // The bytes of a small object are at the end of the file that describes it.
        let at = bytes.len() - bytes.len().min(64) / 2 - 1;
        bytes[at] ^= 1;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes an object away, with all its versions.
    pub fn remove(&self, key: &str) -> Result<()> {
        let folder = self.bucket.join(key);
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// Keeps all that is below a prefix as it is now.
    pub fn keep(&self, prefix: &str) -> Result<Older> {
        let place = self.bucket.join(prefix);
        let kept = tempfile::tempdir()?;
        if place.exists() {
            copy(&place, &kept.path().join("content"))?;
        }
        Ok(Older { place, kept })
    }

    /// Puts an older state back: whatever came since is gone.
    pub fn put_back(&self, older: &Older) -> Result<()> {
        if older.place.exists() {
            fs::remove_dir_all(&older.place)?;
        }
        let content = older.kept.path().join("content");
        if content.exists() {
            copy(&content, &older.place)?;
        }
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut Vec<(u64, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    Ok(())
}

/// Copies a folder with owners and modes: the store reads it as a user of its own.
fn copy(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};

    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            let metadata = entry.metadata()?;
            chown(&target, Some(metadata.uid()), Some(metadata.gid()))?;
        }
    }
    let metadata = fs::metadata(from)?;
    fs::set_permissions(to, metadata.permissions())?;
    Ok(chown(to, Some(metadata.uid()), Some(metadata.gid()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_state_comes_back_whole_and_what_came_since_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk {
            bucket: folder.path().to_owned(),
        };
        let write = |name: &str, text: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("xl.meta"), text).unwrap();
        };
        write("a/1", "first");
        let older = disk.keep("a").unwrap();
        write("a/1", "changed");
        write("a/2", "second");
        disk.put_back(&older).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name).join("xl.meta")).ok();
        assert_eq!((read("a/1").as_deref(), read("a/2")), (Some("first"), None));
        disk.flip("a/1").unwrap();
        assert_ne!(read("a/1").as_deref(), Some("first"));
        disk.remove("a/1").unwrap();
        assert_eq!(read("a/1"), None);
    }
}
