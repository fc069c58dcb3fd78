//! Sample registries at home, each on a server of its own, with a deposit user in the store.

use anyhow::Result;

use super::Product;
use crate::{
    bed::{Database, Options, secrets},
    cluster::Site,
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

/// Makes a registry's deposit user and puts its keys into the Secret `<id>-deposit`.
pub async fn deposit_user(product: &Product, namespace: &str, id: &str) -> Result<()> {
    let user = product.bed.store().await?.deposit_user(id).await?;
    let keys = [
        ("accessKeyId", user.access_key.as_str()),
        ("secretAccessKey", &user.secret_key),
    ];
    secrets::write(product.bed.home(), namespace, &format!("{id}-deposit"), &keys).await
}
