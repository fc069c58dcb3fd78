//! Restores in the embassy: a Job with retrieval credentials and the identity that a keyholder brings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataembassy_testkit::minio::{BUCKET, StoreUser};
use tokio_postgres::Client;

use super::{
    Product,
    job::{self, Ended, Job},
};
use crate::{
    bed::{Database, Options, secrets, store::ENDPOINT},
    cluster::Site,
    registries::{self, Registry},
};

/// Where restores run.
pub const NAMESPACE: &str = "restores";
/// The server that copies are restored into.
const SERVER: &str = "restored";
const MAJOR: u32 = 17;

/// The server that copies are restored into, started if it is not there.
pub async fn server(product: &Product) -> Result<Database> {
    product
        .bed
        .postgresql(Site::Embassy, NAMESPACE, SERVER, MAJOR, &Options::default())
        .await
}

/// What is restored, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The registry's id in the store.
    pub registry: &'a str,
    /// Which of the samples it is: what the database must be like, and which roles must be there.
    pub sample: Registry,
    /// The public key that its entries are signed with.
    pub signer: &'a str,
    /// The database, on the server of [`server`]. One that is there already is dropped.
    pub database: &'a str,
}

/// Restores a copy (in the words of `restore --copy`) into a new, empty database; returns how long that took by the program's own words.
pub async fn restore(
    product: &Product,
    wanted: &Wanted<'_>,
    copy: &str,
    deadline: Duration,
) -> Result<Duration> {
    let target = server(product).await?;
    let admin = make_room(&target, wanted.database).await?;
    registries::create_database(&admin, wanted.sample, wanted.database).await?;
    let retrieval = bring_keys(product, wanted.registry).await?;
    let superuser = format!("{SERVER}-superuser");
    let authority = format!("{SERVER}-ca");
    let arguments = vec![
        "restore".to_owned(),
        format!("--registry={}", wanted.registry),
        format!("--copy={copy}"),
        "--identity-file=/run/identity/identity.txt".to_owned(),
        format!("--signer={}", wanted.signer),
        format!("--custodian-key={}", product.keys.custodian_public),
        format!("--endpoint={ENDPOINT}"),
        format!("--bucket={BUCKET}"),
        "--ca-bundle=/run/store-ca/ca.crt".to_owned(),
        format!("--credentials=/run/{retrieval}"),
        format!("--target-host={}", target.host()),
        format!("--target-database={}", wanted.database),
        "--target-user=postgres".to_owned(),
        format!("--target-password-file=/run/{superuser}/password"),
        format!("--target-ca=/run/{authority}/ca.crt"),
        "--scratch=/tmp".to_owned(),
        "--trust-source".to_owned(),
        "--allow-extension=registry_codes".to_owned(),
    ];
    let job = Job {
        namespace: NAMESPACE,
        name: &format!("restore-{}", wanted.database),
        image: job::SIDECAR,
        command: &[],
        arguments,
        environment: Vec::new(),
        secrets: &["store-ca", &retrieval, "identity", &superuser, &authority],
        deadline,
    };
    let said = job::run(product.bed.embassy(), &job).await?.log;
    took(&said).with_context(|| format!("it is not said how long the restore took:\n{said}"))
}

/// How long a restore took, by its last words. Kubernetes only knows whole seconds.
fn took(said: &str) -> Option<Duration> {
    let line = said.lines().find(|line| line.contains(" restored into "))?;
    let (_, rest) = line.split_once(" restored into ")?;
    let (_, rest) = rest.split_once(" in ")?;
    let (seconds, _) = rest.split_once(" s;")?;
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

/// Drops the database that is to be restored into; the session that did it is returned.
async fn make_room(target: &Database, database: &str) -> Result<Client> {
    let admin = target.connect("postgres").await?;
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)"))
        .await?;
    Ok(admin)
}

/// What keyholders bring for a restore, as Secrets: the store's authority, the retrieval user's keys (their Secret's name is returned), and the
/// identity.
async fn bring_keys(product: &Product, id: &str) -> Result<String> {
    let embassy = product.bed.embassy();
    super::embassy::open_namespace(embassy, NAMESPACE).await?;
    let store = product.bed.store().await?;
    let user = store
        .user(&StoreUser::Retrieval {
            registry: id.to_owned(),
        })
        .await?;
    secrets::write(embassy, NAMESPACE, "store-ca", &[("ca.crt", store.ca())]).await?;
    let retrieval = format!("{id}-retrieval");
    let keys = [
        ("accessKeyId", user.access_key.as_str()),
        ("secretAccessKey", &user.secret_key),
    ];
    secrets::write(embassy, NAMESPACE, &retrieval, &keys).await?;
    secrets::write(
        embassy,
        NAMESPACE,
        "identity",
        &[("identity.txt", &product.keys.identity)],
    )
    .await?;
    Ok(retrieval)
}

/// Opens the latest copy by the break-glass page's own commands, in an image of stock tools that holds none of our code, into a new database,
/// which the page itself makes.
pub async fn break_glass(product: &Product, wanted: &Wanted<'_>, deadline: Duration) -> Result<Ended> {
    let target = server(product).await?;
    make_room(&target, wanted.database).await?;
    let retrieval = bring_keys(product, wanted.registry).await?;
    let embassy = product.bed.embassy();
    let public = [
        ("custodian.pub", product.keys.custodian_public.as_str()),
        ("registry.pub", wanted.signer),
    ];
    let keys = format!("{}-public-keys", wanted.registry);
    secrets::write(embassy, NAMESPACE, &keys, &public).await?;
    let superuser = format!("{SERVER}-superuser");
    let authority = format!("{SERVER}-ca");
    let page = std::fs::read_to_string(std::path::Path::new(super::TREE).join("docs/break-glass.md"))?;
    let script = format!("{PROLOGUE}\n{}", blocks(&page)?);
    let environment = vec![
        ("ENDPOINT", ENDPOINT.to_owned()),
        ("BUCKET", BUCKET.to_owned()),
        ("STORE_CA", "/run/store-ca/ca.crt".to_owned()),
        ("REGISTRY", wanted.registry.to_owned()),
        ("ACCESS_KEYS", format!("/run/{retrieval}")),
        ("IDENTITY", "/run/identity/identity.txt".to_owned()),
        ("CUSTODIAN", format!("/run/{keys}/custodian.pub")),
        ("SIGNER", format!("/run/{keys}/registry.pub")),
        ("DATABASE", wanted.database.to_owned()),
        ("PGHOST", target.host().to_owned()),
        ("PGUSER", "postgres".to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", format!("/run/{authority}/ca.crt")),
        ("PGPASSFILE", "/tmp/pgpass".to_owned()),
        ("PASSWORD_FILE", format!("/run/{superuser}/password")),
    ];
    let job = Job {
        namespace: NAMESPACE,
        name: &format!("break-glass-{}", wanted.database),
        image: job::STOCK,
        command: &["bash", "-c"],
        arguments: vec![script],
        environment,
        secrets: &["store-ca", &retrieval, "identity", &keys, &superuser, &authority],
        deadline,
    };
    job::run(embassy, &job).await
}

/// What a person does before opening the page: an empty folder, and a password file for psql.
const PROLOGUE: &str = "set -eu
mkdir /tmp/opened && cd /tmp/opened
umask 077
printf '*:*:*:postgres:%s\n' \"$(cat \"$PASSWORD_FILE\")\" > \"$PGPASSFILE\"";

/// The shell blocks of a page, in order.
fn blocks(page: &str) -> Result<String> {
    let blocks: Vec<_> = page
        .split("\n```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block))
        .collect();
    ensure!(
        blocks.len() > 5,
        "the break-glass page has only {} shell blocks",
        blocks.len()
    );
    Ok(blocks.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restores_last_words_tell_how_long_it_took() {
        let said = "restore: loading rows\npopulation 2 of 2026-11-23T10:00:00.000Z: 4 tables, 7 rows, 0 large objects \
            restored into population in 12.5 s; all counts and digests are equal\nnote: in 3 s; nothing";
        assert_eq!(took(said), Some(Duration::from_millis(12_500)));
        assert_eq!(took("restore: loading rows"), None);
    }
}
