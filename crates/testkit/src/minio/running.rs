//! One MinIO process and what lies on its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use super::small::Volume;
use super::{Credentials, SignedClient};
use crate::authority::Authority;
use crate::process::{Scratch, Server, free_port};
use crate::provisioned;

/// Where MinIO keeps what is no bucket.
const SYSTEM: &str = ".minio.sys";
/// What a server's directory has of itself.
const OURS: [&str; 3] = ["certificates", "data", "log"];

pub(super) struct Running {
    // Declared first, so that the process is gone before its directory is.
    server: Mutex<Option<Server>>,
    directory: Scratch,
    /// Where its data lies, if not on the disk of everybody.
    pub(super) volume: Option<Volume>,
    pub(super) authority: Authority,
    pub(super) port: u16,
    pub(super) root: SignedClient,
}

impl Running {
    /// With its data on a volume of so many MiB, or on the disk of everybody.
    pub(super) async fn start(mebibytes: Option<u32>) -> Result<Self> {
        let directory = Scratch::new("minio-")?;
        let authority = Authority::new("test store authority")?;
        let certificates = directory.path().join("certificates");
        fs::create_dir_all(certificates.join("CAs"))?;
        let certificate = authority.sign(&["127.0.0.1", "localhost"])?;
        fs::write(certificates.join("public.crt"), certificate.certificate)?;
        fs::write(certificates.join("private.key"), certificate.key)?;
        let port = free_port()?;
        let credentials = Credentials {
            access_key: "root-user".into(),
            secret_key: "root-secret-of-a-test".into(),
        };
        let root = SignedClient::new(&authority.certificate(), format!("127.0.0.1:{port}"), credentials)?;
        let running = Self {
            server: Mutex::default(),
            volume: mebibytes.map(|mebibytes| Volume::new(mebibytes, directory.path())),
            directory,
            authority,
            port,
            root,
        };
        running.resume().await?;
        Ok(running)
    }

    pub(super) async fn resume(&self) -> Result<()> {
        let path = |name: &str| {
            self.directory
                .path()
                .join(name)
                .into_os_string()
                .into_string()
                .unwrap_or_default()
        };
        let root = self.root.credentials();
        let address = format!("127.0.0.1:{}", self.port);
        let program = provisioned::path("minio")?;
        let arguments = [
            "server".to_owned(),
            "--quiet".to_owned(),
            "--address".to_owned(),
            address,
            "--certs-dir".to_owned(),
            path("certificates"),
            path("data"),
        ];
        let environment = [
            ("MINIO_ROOT_USER".to_owned(), root.access_key.clone()),
            ("MINIO_ROOT_PASSWORD".to_owned(), root.secret_key.clone()),
            ("MINIO_BROWSER".to_owned(), "off".to_owned()),
            ("MINIO_UPDATE".to_owned(), "off".to_owned()),
            // What it was asked can be read without a token of its own.
            ("MINIO_PROMETHEUS_AUTH_TYPE".to_owned(), "public".to_owned()),
            // It holds little, and would tidy that up at every few requests.
            ("GOGC".to_owned(), "300".to_owned()),
        ];
        let log = self.log_path();
        let server = match &self.volume {
            None => Server::start(&program, arguments, environment, &log)?,
            Some(volume) => {
                let mut inside = volume.before();
                inside.push(program.to_string_lossy().into_owned());
                inside.extend(arguments);
                Server::start(Path::new("unshare"), inside, environment, &log)?
            }
        };
        *self.server() = Some(server);
        self.root.until_it_answers("MinIO", &self.log_path()).await
    }

    pub(super) fn stop(&self) {
        *self.server() = None;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.server().is_none()
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Takes every bucket away, locks or not, as only who owns the disk can, and what a test has put beside them. Store users and their
    /// policies stay; a test that needs one makes it, and finds it as it would have made it.
    pub(super) fn clear(&self) -> Result<()> {
        let data = self.data_directory();
        for place in entries(self.directory.path())? {
            if !OURS.iter().any(|name| place.ends_with(name)) {
                remove(&place)?;
            }
        }
        for bucket in entries(&data)? {
            let name = bucket.file_name().unwrap_or_default().to_string_lossy();
            if name != SYSTEM {
                self.remove_bucket(&name)?;
            }
        }
        Ok(())
    }

    /// Takes a bucket away with all that is in it.
    pub(super) fn remove_bucket(&self, name: &str) -> Result<()> {
        let data = self.data_directory();
        remove(&data.join(SYSTEM).join("buckets").join(name))?;
        remove(&data.join(name))
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    entries.collect()
}

fn remove(place: &Path) -> Result<()> {
    if place.is_dir() {
        fs::remove_dir_all(place).with_context(|| format!("clearing {}", place.display()))?;
    } else if place.exists() {
        fs::remove_file(place).with_context(|| format!("clearing {}", place.display()))?;
    }
    Ok(())
}
