//! From an empty server to a full registry: database, roles, schema, rows, and what comes after the rows.

use anyhow::{Context as _, bail};
use tokio_postgres::Client;

use super::{Amount, Registry, business, health, population};

/// The statements of one registry, in order; the rows go between `before` and `after`.
struct Script {
    encoding: &'static str,
    locale: &'static str,
    roles: &'static str,
    before: &'static [(&'static str, &'static str)],
    after: &'static [(&'static str, &'static str)],
}

macro_rules! sql {
    ($path:literal) => {
        ($path, include_str!(concat!("../../registries/", $path)))
    };
}

const fn script(registry: Registry) -> Script {
    match registry {
        Registry::Population => Script {
            encoding: "UTF8",
            locale: "C.UTF-8",
            roles: include_str!("../../registries/population/roles.sql"),
            before: &[
                sql!("population/types.sql"),
                sql!("population/tables.sql"),
                sql!("population/rules.sql"),
            ],
            after: &[sql!("population/finish.sql")],
        },
        Registry::Health => Script {
            encoding: "UTF8",
            locale: "C.UTF-8",
            roles: include_str!("../../registries/health/roles.sql"),
            before: &[sql!("health/types.sql"), sql!("health/tables.sql")],
            after: &[sql!("health/finish.sql")],
        },
        Registry::Business => Script {
            encoding: "LATIN1",
            locale: "C",
            roles: include_str!("../../registries/business/roles.sql"),
            before: &[sql!("business/tables.sql"), sql!("business/rules.sql")],
            after: &[sql!("business/finish.sql")],
        },
    }
}

/// Makes the registry's database (empty, in its own encoding) and its roles. `admin` is a superuser's session
/// in any other database of the server; `name` must not be taken.
pub async fn create_database(admin: &Client, registry: Registry, name: &str) -> anyhow::Result<()> {
    let Script {
        encoding,
        locale,
        roles,
        ..
    } = script(registry);
    let quoted = name.replace('"', "\"\"");
    admin
        .batch_execute(&format!(
            "CREATE DATABASE \"{quoted}\" TEMPLATE template0 ENCODING '{encoding}' LOCALE '{locale}'"
        ))
        .await
        .with_context(|| format!("database {name} cannot be made"))?;
    admin
        .batch_execute(roles)
        .await
        .with_context(|| format!("the roles of {} cannot be made", registry.id()))
}

/// Fills a database made by [`create_database`]: schema, rows, large objects, and the marks of years of use.
/// `client` is a superuser's session in it, and should not be used afterwards: the settings of the database
/// hold for new sessions only. The extension `registry_codes` must be installed on the server
/// ([`super::extension::install`]).
pub async fn load(client: &Client, registry: Registry, amount: &Amount) -> anyhow::Result<()> {
    let Script {
        encoding,
        before,
        after,
        ..
    } = script(registry);
    let found: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if found != encoding {
        bail!(
            "{} belongs into a database in {encoding}, and this one is in {found}",
            registry.id()
        );
    }
    run(client, before).await?;
    // Keys are checked and triggers fired one row at a time, which would be most of the work. The generator
    // keeps the keys right, and a restore, which checks them, proves it.
    client
        .batch_execute("SET session_replication_role = replica")
        .await?;
    match registry {
        Registry::Population => population::load(client, amount).await?,
        Registry::Health => health::load(client, amount).await?,
        Registry::Business => business::load(client, amount).await?,
    }
    client.batch_execute("RESET session_replication_role").await?;
    run(client, after).await
}

async fn run(client: &Client, scripts: &[(&str, &str)]) -> anyhow::Result<()> {
    for (path, text) in scripts {
        client
            .batch_execute(text)
            .await
            .with_context(|| format!("e2e/registries/{path} fails"))?;
    }
    Ok(())
}
