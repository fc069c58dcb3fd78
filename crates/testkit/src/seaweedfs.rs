//! A real `SeaweedFS` on loopback: a store of another make than MinIO, with TLS and the same users and policies.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::minio::{Credentials, SignedClient, StoreUser};
use crate::process::{Server, free_ports};
use crate::provisioned;

/// A running `SeaweedFS`; dropping it ends the process and removes its data.
pub struct SeaweedFs {
    // Declared first, so that the process is gone before its directory is.
    _server: Server,
    directory: TempDir,
    authority: Authority,
    port: u16,
    root: SignedClient,
    users: Vec<Credentials>,
}

impl SeaweedFs {
    /// Starts a server that knows `users` of `bucket`, and waits until it answers. The bucket is not made.
    pub async fn start(bucket: &str, users: &[StoreUser]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::new("test store authority")?;
        let certificate = authority.sign(&["127.0.0.1", "localhost"])?;
        let root = credentials("root-user");
        let known: Vec<Credentials> = users.iter().map(|user| credentials(&user.name())).collect();
        let identities = users.iter().map(|user| {
            let name = user.name();
            json!({"name": name, "credentials": [keys(&credentials(&name))], "policyNames": [name]})
        });
        let administrator = json!({"name": "root-user", "credentials": [keys(&root)], "actions": ["Admin"]});
        let policies: Vec<_> = users
            .iter()
            .map(|user| json!({"name": user.name(), "content": user.policy(bucket)}))
            .collect();
        let identities: Vec<_> = std::iter::once(administrator).chain(identities).collect();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(
            path("users.json"),
            json!({"identities": identities, "policies": policies}).to_string(),
        )?;
        std::fs::write(path("tls.crt"), certificate.certificate)?;
        std::fs::write(path("tls.key"), certificate.key)?;
        std::fs::create_dir_all(path("data"))?;
        let [port, ports @ ..] = free_ports::<9>()?;
        let server = Server::start(
            &provisioned::path("seaweedfs")?,
            arguments(&directory, port, ports),
            [],
            &path("log"),
        )?;
        let root = SignedClient::new(&authority.certificate(), format!("127.0.0.1:{port}"), root)?;
        let seaweedfs = Self {
            _server: server,
            directory,
            authority,
            port,
            root,
            users: known,
        };
        seaweedfs
            .root
            .until_it_answers("SeaweedFS", &seaweedfs.log_path())
            .await?;
        Ok(seaweedfs)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The address as `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The authority that signed the server's certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Requests signed as the root user, past every policy.
    #[must_use]
    pub fn root(&self) -> &SignedClient {
        &self.root
    }

    /// The credentials of the users, in the order in which they were named.
    #[must_use]
    pub fn users(&self) -> &[Credentials] {
        &self.users
    }
}

fn credentials(name: &str) -> Credentials {
    Credentials {
        access_key: name.to_owned(),
        secret_key: format!("secret-of-{name}-in-a-test"),
    }
}

fn keys(credentials: &Credentials) -> serde_json::Value {
    json!({"accessKey": credentials.access_key, "secretKey": credentials.secret_key})
}

/// Every server of the one process listens on a port that was free, on loopback only, and nobody is told that it runs.
fn arguments(directory: &TempDir, port: u16, ports: [u16; 8]) -> Vec<String> {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut arguments = vec![
        "-logtostderr=true".to_owned(),
        "server".to_owned(),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        "-master.telemetry=false".to_owned(),
        "-master.volumeSizeLimitMB=64".to_owned(),
        "-volume.max=20".to_owned(),
        "-filer".to_owned(),
        "-s3".to_owned(),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        format!("-dir={}", path("data")),
        format!("-filer.localSocket={}", path("filer.sock")),
        format!("-s3.localSocket={}", path("s3.sock")),
        format!("-s3.config={}", path("users.json")),
        format!("-s3.cert.file={}", path("tls.crt")),
        format!("-s3.key.file={}", path("tls.key")),
        format!("-s3.port.https={port}"),
    ];
    let servers = ["master", "volume", "filer", "s3"];
    for (server, pair) in servers.iter().zip(ports.chunks(2)) {
        arguments.push(format!("-{server}.port={}", pair[0]));
        arguments.push(format!("-{server}.port.grpc={}", pair[1]));
    }
    arguments
}
