//! Where provisioned things are kept: a folder outside the tree, in which every name holds a version or a
//! recipe's digest, so that nothing in it is ever changed in place; and `current.json`, which says where the
//! present ones are.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$DATAEMBASSY_CACHE`, or `dataembassy` in the user's cache folder.
    pub fn locate() -> Result<Self> {
        let set = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = match (set("DATAEMBASSY_CACHE"), set("XDG_CACHE_HOME"), set("HOME")) {
            (Some(root), _, _) => root,
            (None, Some(caches), _) => caches.join("dataembassy"),
            (None, None, Some(home)) => home.join(".cache/dataembassy"),
            (None, None, None) => anyhow::bail!("neither DATAEMBASSY_CACHE nor HOME is set: set one of them"),
        };
        Ok(Self { root })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one program of one version.
    #[must_use]
    pub fn tool(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("tools").join(format!("{name}-{version}"))
    }

    /// The folder of a root file system made by a recipe with this digest.
    #[must_use]
    pub fn rootfs(&self, name: &str, recipe: &str) -> PathBuf {
        self.root.join("rootfs").join(format!("{name}-{recipe}"))
    }

    /// The folder for images and their layers.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Waits until nobody else makes images, and keeps others waiting as long as the file is held: several beds may come up at once.
    pub fn images_lock(&self) -> Result<File> {
        locked(&self.images())
    }

    /// The same for whoever provisions.
    pub fn provisioning_lock(&self) -> Result<File> {
        locked(&self.root)
    }

    /// What is provisioned: name to path.
    pub fn current(&self) -> Result<BTreeMap<String, PathBuf>> {
        let path = self.root.join("current.json");
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The path of one provisioned thing.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.current()?
            .remove(name)
            .filter(|path| path.exists())
            .with_context(|| format!("{name} is not there: run `cargo e2e provision` first"))
    }

    /// Says where the present version of a thing is. Readers see the old list or the new one, never half of it.
    pub fn publish(&self, name: &str, path: &Path) -> Result<()> {
        let mut current = self.current()?;
        if current.get(name).map(PathBuf::as_path) == Some(path) {
            return Ok(());
        }
        current.insert(name.to_owned(), path.to_owned());
        let new = self.root.join("current.json.new");
        fs::write(&new, serde_json::to_vec_pretty(&current)?)?;
        fs::rename(&new, self.root.join("current.json")).context("cannot write current.json")
    }
}

fn locked(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", folder.display()))?;
    Ok(lock)
}

#[cfg(test)]
impl Cache {
    /// A test's own.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        assert!(
            cache
                .path("etcd")
                .unwrap_err()
                .to_string()
                .contains("cargo e2e provision")
        );
        cache.publish("etcd", folder.path()).unwrap();
        cache.publish("minio", Path::new("/nowhere/at/all")).unwrap();
        assert_eq!(cache.path("etcd").unwrap(), folder.path());
        assert!(
            cache.path("minio").is_err(),
            "a path that is gone is not provisioned"
        );
    }
}
