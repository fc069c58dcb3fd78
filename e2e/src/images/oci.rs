//! Images without a builder and without a registry: OCI archives, written straight from files.
//!
//! An archive is a tar of blobs named by their digests: layers (tars themselves), a configuration, a manifest,
//! and an index that gives the manifest a name. Nothing in it depends on when it was written, so the same files
//! are the same image.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

/// One layer: a tar on disk.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    path: PathBuf,
    digest: String,
    size: u64,
}

/// What runs in a container of the image.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) entrypoint: Vec<&'static str>,
    pub(super) environment: Vec<String>,
    /// uid and gid.
    pub(super) user: u32,
}

/// An image, ready to be written as an archive.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name with tag.
    pub name: String,
    layers: Vec<Layer>,
    configuration: Vec<u8>,
    manifest: Vec<u8>,
}

/// A file to be laid into a layer.
pub(super) struct Laid {
    /// Absolute path in the image.
    pub(super) to: String,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

impl Layer {
    /// The layer that is a root file system, written once beside the digest it turned out to have.
    pub(super) fn of_root_file_system(root: &Path, folder: &Path) -> Result<Self> {
        let name = root
            .file_name()
            .context("a root file system has a name")?
            .to_string_lossy();
        let path = folder.join(format!("{name}.tar"));
        let known = folder.join(format!("{name}.digest"));
        if let (Ok(digest), Ok(metadata)) = (fs::read_to_string(&known), fs::metadata(&path)) {
            return Ok(Self {
                path,
                digest,
                size: metadata.len(),
            });
        }
        let partial = folder.join(format!("{name}.partial"));
        let mut tar = tar::Builder::new(Digesting::new(File::create(&partial)?));
        tar.mode(tar::HeaderMode::Complete);
        tar.follow_symlinks(false);
        // Holes are a tar extension that runtimes do not read.
        tar.sparse(false);
        append(&mut tar, root, Path::new("")).with_context(|| format!("cannot pack {}", root.display()))?;
        let (digest, size) = tar.into_inner()?.finish()?;
        fs::rename(&partial, &path)?;
        fs::write(&known, &digest)?;
        Ok(Self { path, digest, size })
    }

    /// The layer of some files, which belong to root. Whoever reads an earlier one of the same name reads it to its end.
    pub(super) fn of_files(files: &[Laid], folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.files.tar"));
        let partial = folder.join(format!("{name}.files.partial"));
        let mut tar = tar::Builder::new(Digesting::new(File::create(&partial)?));
        for file in files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(file.mode);
            header.set_size(file.content.len() as u64);
            tar.append_data(
                &mut header,
                file.to.trim_start_matches('/'),
                file.content.as_slice(),
            )?;
        }
        let (digest, size) = tar.into_inner()?.finish()?;
        fs::rename(&partial, &path)?;
        Ok(Self { path, digest, size })
    }
}

/// Everything below a folder in order of names. Devices are the container runtime's business.
fn append<W: Write>(tar: &mut tar::Builder<W>, root: &Path, within: &Path) -> Result<()> {
    let mut names = fs::read_dir(root.join(within))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let inner = within.join(name);
        let path = root.join(&inner);
        let metadata = fs::symlink_metadata(&path)?;
        let kind = metadata.file_type();
        if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket() {
            continue;
        }
        if kind.is_dir() {
            tar.append_dir(&inner, &path)?;
            append(tar, root, &inner)?;
        } else {
            tar.append_path_with_name(&path, &inner)
                .with_context(|| format!("{} (inode {})", path.display(), metadata.ino()))?;
        }
    }
    Ok(())
}

impl Image {
    pub(super) fn new(name: &str, layers: Vec<Layer>, run: &Run) -> Result<Self> {
        let ids: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        let environment: Vec<_> = [path]
            .into_iter()
            .chain(run.environment.iter().cloned())
            .collect();
        let configuration = serde_json::to_vec(&json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "Entrypoint": run.entrypoint,
                "Env": environment,
                "User": format!("{0}:{0}", run.user),
            },
            "rootfs": {"type": "layers", "diff_ids": ids},
        }))?;
        let described: Vec<_> = layers
            .iter()
            .map(|layer| {
                descriptor(
                    "application/vnd.oci.image.layer.v1.tar",
                    &layer.digest,
                    layer.size,
                )
            })
            .collect();
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described_bytes("application/vnd.oci.image.config.v1+json", &configuration),
            "layers": described,
        }))?;
        Ok(Self {
            name: name.to_owned(),
            layers,
            configuration,
            manifest,
        })
    }

    /// The manifest's digest, by which a runtime knows the image.
    #[must_use]
    pub fn digest(&self) -> String {
        digest_of(&self.manifest)
    }

    /// The bytes of each layer, lowest first: what the image takes where it is imported, as no layer is compressed.
    pub fn layer_sizes(&self) -> impl Iterator<Item = u64> {
        self.layers.iter().map(|layer| layer.size)
    }

    /// The name with the digest in place of the tag.
    #[must_use]
    pub fn by_digest(&self) -> String {
        let repository = self
            .name
            .rsplit_once(':')
            .map_or(self.name.as_str(), |(repository, _)| repository);
        format!("{repository}@{}", self.digest())
    }

    /// Writes the archive.
    pub fn write(&self, to: impl Write) -> Result<()> {
        let mut tar = tar::Builder::new(to);
        let mut index = described_bytes(MANIFEST, &self.manifest);
        index["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        add(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(
            &mut tar,
            "index.json",
            &serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [index]}))?,
        )?;
        for blob in [&self.configuration, &self.manifest] {
            add(&mut tar, &blob_path(&digest_of(blob)), blob)?;
        }
        for layer in &self.layers {
            let file =
                File::open(&layer.path).with_context(|| format!("cannot read {}", layer.path.display()))?;
            let mut header = header(layer.size);
            tar.append_data(&mut header, blob_path(&layer.digest), file.take(layer.size))?;
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn descriptor(media_type: &str, digest: &str, size: u64) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn described_bytes(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    descriptor(media_type, &digest_of(bytes), bytes.len() as u64)
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(size);
    header
}

fn add<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> Result<()> {
    Ok(tar.append_data(&mut header(bytes.len() as u64), name, bytes)?)
}

/// Counts and digests what passes through to a file.
struct Digesting {
    file: io::BufWriter<File>,
    digest: Sha256,
    size: u64,
}

impl Digesting {
    fn new(file: File) -> Self {
        Self {
            file: io::BufWriter::with_capacity(1 << 20, file),
            digest: Sha256::new(),
            size: 0,
        }
    }

    fn finish(mut self) -> Result<(String, u64)> {
        self.file.flush()?;
        Ok((
            format!("sha256:{}", hex::encode(self.digest.finalize())),
            self.size,
        ))
    }
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn image(folder: &Path, content: &str) -> Image {
        let file = Laid {
            to: "/usr/bin/program".into(),
            content: content.into(),
            mode: 0o755,
        };
        let layer = Layer::of_files(&[file], folder, "test").unwrap();
        let run = Run {
            entrypoint: vec!["/usr/bin/program"],
            environment: Vec::new(),
            user: 65532,
        };
        Image::new("dataembassy.local/test:dev", vec![layer], &run).unwrap()
    }

    #[test]
    fn every_blob_of_an_archive_is_named_by_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        image(folder.path(), "text").write(&mut bytes).unwrap();
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            entries.insert(entry.path().unwrap().display().to_string(), content);
        }
        let blobs: Vec<_> = entries
            .iter()
            .filter(|(name, _)| name.starts_with("blobs/"))
            .collect();
        assert_eq!(blobs.len(), 3, "layer, configuration, manifest");
        for (name, content) in blobs {
            assert_eq!(*name, blob_path(&digest_of(content)));
        }
        let index: serde_json::Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        let manifest = index["manifests"][0]["digest"].as_str().unwrap();
        assert!(entries.contains_key(&blob_path(manifest)));
    }

    #[test]
    fn the_same_files_are_the_same_image_and_others_another() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            image(folder.path(), "one").digest(),
            image(folder.path(), "one").digest()
        );
        assert_ne!(
            image(folder.path(), "one").digest(),
            image(folder.path(), "two").digest()
        );
        assert!(
            image(folder.path(), "one")
                .by_digest()
                .starts_with("dataembassy.local/test@sha256:")
        );
    }

    #[test]
    fn a_root_file_system_keeps_links_modes_and_order() {
        let root = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        fs::write(root.path().join("b/file"), "x").unwrap();
        std::os::unix::fs::symlink("b/file", root.path().join("a")).unwrap();
        let layer = Layer::of_root_file_system(root.path(), folder.path()).unwrap();
        let again = Layer::of_root_file_system(root.path(), folder.path()).unwrap();
        assert_eq!(layer.digest, again.digest);
        let names: Vec<_> = tar::Archive::new(File::open(&layer.path).unwrap())
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.path().unwrap().display().to_string(),
                    entry.header().entry_type().is_symlink(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [("a".into(), true), ("b".into(), false), ("b/file".into(), false)]
        );
    }
}
