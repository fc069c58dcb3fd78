//! Sample registries at home, each on a server of its own, with a deposit user in the store.

use anyhow::{Context as _, Result};

use dataembassy_ledger::SigningKey;

use super::{Product, embassy};
use crate::{
    bed::{Database, Options, secrets},
    cluster::{Cluster, Site},
    registries::{self, Amount, Registry},
};

/// The namespace of the ministry that owns a sample registry.
#[must_use]
pub const fn ministry(registry: Registry) -> &'static str {
    match registry {
        Registry::Population => "interior",
        Registry::Health => "health",
        Registry::Business => "economy",
    }
}

/// Starts a sample registry's server as its sample mirror expects it, fills it, and gives it its deposit user.
pub async fn establish(product: &Product, registry: Registry, amount: &Amount) -> Result<Database> {
    let namespace = ministry(registry);
    let server = format!("{}-db", registry.id());
    let database = product
        .bed
        .postgresql(
            Site::Home,
            namespace,
            &server,
            registry.home_major(),
            &Options::default(),
        )
        .await?;
    let admin = database.connect("postgres").await?;
    let there = admin
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&registry.id()])
        .await?
        .is_some();
    if !there {
        registries::create_database(&admin, registry, registry.id()).await?;
        registries::load(&database.connect(registry.id()).await?, registry, amount).await?;
    }
    deposit_user(product, namespace, registry.id()).await?;
    Ok(database)
}

/// Makes a registry's deposit user and puts its keys into the Secret `<id>-deposit` at home.
pub async fn deposit_user(product: &Product, namespace: &str, id: &str) -> Result<()> {
    deposit_user_in(product, product.bed.home(), namespace, id).await
}

/// The same, for a mirror in either cluster.
pub async fn deposit_user_in(product: &Product, cluster: &Cluster, namespace: &str, id: &str) -> Result<()> {
    let user = product.bed.store().await?.deposit_user(id).await?;
    let keys = [
        ("accessKeyId", user.access_key.as_str()),
        ("secretAccessKey", &user.secret_key),
    ];
    secrets::write(cluster, namespace, &format!("{id}-deposit"), &keys).await
}

/// Has the embassy accept a registry before its mirror is there: with a signing key that is made beforehand, as its mirror will find it. Who
/// does not know the key yet applies the mirror first, and reads `status.signer`.
pub async fn accept(product: &Product, namespace: &str, id: &str) -> Result<()> {
    let name = format!("{id}-signing-key");
    let home = product.bed.home();
    let key = if let Some(secret) = secrets::read(home, namespace, &name).await? {
        let text = secret.get("ssh-privatekey").context("the Secret has no key")?;
        SigningKey::from_openssh(text)?
    } else {
        let key = SigningKey::from_seed(&rand::random());
        let text = key.to_openssh()?;
        secrets::write(home, namespace, &name, &[("ssh-privatekey", &text)]).await?;
        key
    };
    embassy::accept(product, id, &key.public_key().to_string()).await
}
