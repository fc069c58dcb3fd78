//! What both sides run against: one PostgreSQL 17 and one MinIO on loopback, both with TLS, and the keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use dataembassy_contract::files;
use dataembassy_testkit::{
    minio::{BUCKET, BucketKind, Credentials, Minio, StoreUser},
    postgresql::{self, DUMP_ROLE, PASSWORD, Server},
};
use tempfile::TempDir;
use tokio_postgres::Client;

use super::data::Data;
use crate::command::{command, output};

/// The registry that is mirrored.
pub(super) const REGISTRY: &str = "bench";
/// The database that is copied.
pub(super) const DATABASE: &str = "tpch";
/// The database that is restored into.
pub(super) const TARGET: &str = "restored";
/// Sessions that a mirror may have at the source.
pub(super) const MAX_CONNECTIONS: u32 = 6;
/// The stock tools' bucket: without Object Lock, which rclone would have to be told of.
pub(super) const THEIR_BUCKET: &str = "theirs";
/// Counts the rows of all tables, whichever there are.
const ROWS: &str = "SELECT coalesce(sum((xpath('/row/count/text()', query_to_xml(format('SELECT count(*) FROM %s', oid::regclass), false, true, '')))
    [1]::text::bigint), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";

pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) minio: Minio,
    pub(super) sidecar: PathBuf,
    pub(super) programs: PathBuf,
    /// The public key of the mirror's signing key.
    pub(super) signer: String,
    /// The custodian's public key.
    pub(super) custodian: String,
    /// The age public key that copies are sealed to.
    pub(super) recipient: String,
    root: Credentials,
    folder: TempDir,
    rows: i64,
}

impl Rig {
    pub(super) async fn set_up(data: Data, sidecar: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(17)?;
        let admin = server.client("postgres").await?;
        admin
            .batch_execute(&format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'"))
            .await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {DATABASE} TEMPLATE template0"))
            .await?;
        let source = server.client(DATABASE).await?;
        data.load(&source).await?;
        let rows = source.query_one(ROWS, &[]).await?.get(0);
        let minio = Minio::start().await?;
        minio.make_bucket(BUCKET, BucketKind::Locked).await?;
        minio.make_bucket(THEIR_BUCKET, BucketKind::Plain).await?;
        let mut rig = Self {
            programs: postgresql::programs()?.to_owned(),
            root: minio.root().credentials().clone(),
            sidecar: sidecar.to_owned(),
            signer: String::new(),
            custodian: String::new(),
            recipient: String::new(),
            server,
            minio,
            folder,
            rows,
        };
        rig.make_keys().await?;
        rig.write_secrets().await?;
        rig.initialise_store().await?;
        Ok(rig)
    }

    /// A file of the rig.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn make_keys(&mut self) -> Result<()> {
        output(command("age-keygen").arg("-o").arg(self.path("identity.txt"))).await?;
        let recipient = output(command("age-keygen").arg("-y").arg(self.path("identity.txt"))).await?;
        recipient.trim().clone_into(&mut self.recipient);
        let key = self.path("config").join(files::SIGNING_KEY);
        fs::create_dir_all(key.parent().context("a key lies in a folder")?)?;
        output(
            command("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(&key),
        )
        .await?;
        self.signer = public_key(&key.with_extension("pub"))?;
        Ok(())
    }

    async fn write_secrets(&self) -> Result<()> {
        let secret = |name: &str, value: &str| {
            let path = self.path(name);
            fs::create_dir_all(path.parent().context("a secret lies in a folder")?)?;
            fs::write(&path, value).with_context(|| format!("{} cannot be written", path.display()))
        };
        let deposit = self
            .minio
            .add_user(
                BUCKET,
                &StoreUser::Deposit {
                    registry: REGISTRY.into(),
                },
            )
            .await?;
        let retrieval = self
            .minio
            .add_user(
                BUCKET,
                &StoreUser::Retrieval {
                    registry: REGISTRY.into(),
                },
            )
            .await?;
        let custody = self.minio.add_user(BUCKET, &StoreUser::Custody).await?;
        secret(
            &format!("config/{}", files::DEPOSIT_ACCESS_KEY_ID),
            &deposit.access_key,
        )?;
        secret(
            &format!("config/{}", files::DEPOSIT_SECRET_ACCESS_KEY),
            &deposit.secret_key,
        )?;
        secret(&format!("config/{}", files::DATABASE_USERNAME), DUMP_ROLE)?;
        secret(&format!("config/{}", files::DATABASE_PASSWORD), PASSWORD)?;
        secret(
            &format!("config/{}", files::DATABASE_CA),
            &self.server.authority().certificate(),
        )?;
        // `store init` writes embassy.json and proves locks, which the custodian may not: root stands in.
        for (folder, user) in [
            ("retrieval", &retrieval),
            ("custody", &custody),
            ("root", &self.root),
        ] {
            secret(&format!("{folder}/accessKeyId"), &user.access_key)?;
            secret(&format!("{folder}/secretAccessKey"), &user.secret_key)?;
        }
        secret("password", PASSWORD)?;
        secret(
            "passfile",
            &format!("localhost:{}:*:*:{PASSWORD}", self.server.port()),
        )?;
        restrict(&self.path("passfile"))?;
        secret("store-ca.crt", &self.minio.authority().certificate())?;
        secret("database-ca.crt", &self.server.authority().certificate())
    }

    async fn initialise_store(&mut self) -> Result<()> {
        let mut init = command(&self.sidecar);
        init.args([
            "store",
            "init",
            "--generate-key",
            "--allow-loopback",
            "--bucket",
            BUCKET,
            "--endpoint",
        ])
        .arg(self.minio.endpoint())
        .arg("--credentials")
        .arg(self.path("root"))
        .arg("--custodian-key")
        .arg(self.path("custodian"))
        .arg("--ca-bundle")
        .arg(self.path("store-ca.crt"));
        output(&mut init).await?;
        self.custodian = public_key(&self.path("custodian.pub"))?;
        Ok(())
    }

    /// What the stock tools are told, in their own words.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            ("HOME", self.folder.path().display().to_string()),
            ("PROGRAMS", self.programs.join("17/bin").display().to_string()),
            ("RECIPIENT", self.recipient.clone()),
            ("IDENTITY", path("identity.txt")),
            ("STORE_CA", path("store-ca.crt")),
            ("BUCKET", THEIR_BUCKET.into()),
            ("PGHOST", "localhost".into()),
            ("PGPORT", self.server.port().to_string()),
            ("PGUSER", "postgres".into()),
            ("PGSSLMODE", "verify-full".into()),
            ("PGSSLROOTCERT", path("database-ca.crt")),
            ("PGPASSFILE", path("passfile")),
            (
                "RESTIC_REPOSITORY",
                format!("s3:{}/{THEIR_BUCKET}/restic", self.minio.endpoint()),
            ),
            ("RESTIC_PASSWORD", PASSWORD.into()),
            ("AWS_ACCESS_KEY_ID", self.root.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.root.secret_key.clone()),
            ("RCLONE_CONFIG_STORE_TYPE", "s3".into()),
            ("RCLONE_CONFIG_STORE_PROVIDER", "Minio".into()),
            ("RCLONE_CONFIG_STORE_ENDPOINT", self.minio.endpoint()),
            ("RCLONE_CONFIG_STORE_ACCESS_KEY_ID", self.root.access_key.clone()),
            (
                "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY",
                self.root.secret_key.clone(),
            ),
        ]
    }

    /// Makes the target anew.
    pub(super) async fn empty_target(&self) -> Result<()> {
        let admin = self.server.client("postgres").await?;
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {TARGET} WITH (FORCE)"))
            .await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {TARGET} TEMPLATE template0"))
            .await?;
        // What the one left to write must not slow the other down.
        admin.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// Fails unless the target has as many rows as the source.
    pub(super) async fn check_target(&self) -> Result<()> {
        self.check(&self.server.client(TARGET).await?).await
    }

    /// Fails unless this session's database has as many rows as the source.
    pub(super) async fn check(&self, restored: &Client) -> Result<()> {
        let found: i64 = restored.query_one(ROWS, &[]).await?.get(0);
        ensure!(
            found == self.rows,
            "{found} rows were restored, not {}",
            self.rows
        );
        Ok(())
    }

    /// Megabytes that one copy of ours takes in the store: the mean of all runs.
    pub(super) async fn our_megabytes(&self, runs: u32) -> Result<f64> {
        let copies = format!("{BUCKET}/registries/{REGISTRY}/copies");
        Ok(self.size(&copies).await? / f64::from(runs))
    }

    /// Megabytes that an object or a folder of theirs takes in the store.
    pub(super) async fn their_megabytes(&self, what: &str) -> Result<f64> {
        self.size(&format!("{THEIR_BUCKET}/{what}")).await
    }

    async fn size(&self, what: &str) -> Result<f64> {
        let mut size = command("rclone");
        size.env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment());
        size.args(["size", "--json", "--ca-cert"])
            .arg(self.path("store-ca.crt"))
            .arg(format!("store:{what}"));
        let answer: serde_json::Value = serde_json::from_str(&output(&mut size).await?)?;
        Ok(answer["bytes"].as_f64().context("rclone names no size")? / 1e6)
    }
}

/// Type and key of an OpenSSH public key file, without its comment.
fn public_key(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn restrict(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}
