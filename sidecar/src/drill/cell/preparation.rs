//! What a copy needs that only a superuser can make; and then the end of every superuser.
//!
//! Nothing of the copy runs here: names, and a locale, are all that comes from it.

use std::collections::HashSet;

use dataembassy_archive::inventory::Extension;
use dataembassy_contract::{Reason, drill::DrillConfig};

use super::{Cell, MAINTENANCE, SUPERUSER};
use crate::drill::failure::Failure;
use crate::postgresql::{
    Connection, ConnectionError, Source,
    session::{identifier, literal},
};
use crate::restore::{ReadCopy, preflight, roles, target::make_like};

/// The schema that every database has.
const PUBLIC: &str = "public";
/// What the restored database, its owner and the guard are called, or begin with where the copy has such names.
const NAMES: [&str; 3] = ["dataembassy_drill", "dataembassy_owner", "dataembassy_guard"];
/// Sessions of the owner besides those that load: large objects, questions, and some that are about to end.
const SESSIONS: u16 = 16;

/// A database that is ready for a copy, and who owns it.
pub(in crate::drill) struct Prepared {
    target: Source,
    pub(super) database: String,
    pub(super) guard: String,
    /// Schemas that were made for extensions.
    pub(in crate::drill) schemas: Vec<String>,
    /// Whether text is sorted in another way than at the source.
    pub(in crate::drill) has_other_collation: bool,
    /// What the report says of it.
    pub(in crate::drill) notes: Vec<String>,
}

impl Prepared {
    /// The way to the database, as its owner.
    pub(in crate::drill) const fn restored(&self) -> &Source {
        &self.target
    }
}

impl Cell {
    /// Makes everything that needs a superuser, and then closes the superusers' ways.
    pub(in crate::drill) async fn prepare(
        &self,
        read: &ReadCopy,
        config: &DrillConfig,
    ) -> Result<Prepared, Failure> {
        let mut superuser = self.superuser(MAINTENANCE).await?;
        let existing = roles::existing(&mut superuser).await?;
        let in_policies = preflight::policy_roles(&read.toc);
        let taken: HashSet<&str> = existing
            .iter()
            .chain(&in_policies)
            .chain(read.contents.roles.iter().map(|role| &role.name))
            .map(String::as_str)
            .collect();
        let [database, owner, guard] = NAMES.map(|name| free(name, &taken));
        let mut notes = Vec::new();
        for statement in people(&owner, &guard, config) {
            superuser.execute(statement).await?;
        }
        for role in in_policies.iter().filter(|role| !existing.contains(*role)) {
            // One that cannot be made is missed before anything is written.
            let made = superuser
                .execute(format!("CREATE ROLE {} NOLOGIN", identifier(role)))
                .await;
            match made {
                Ok(()) => notes.push(format!(
                    "a row security policy names the role {role}, which was made without any right"
                )),
                Err(error) => tracing::warn!(role, %error, "a role that a policy names cannot be made"),
            }
        }
        let has_other_collation = database_like(&mut superuser, &database, read, &mut notes).await?;
        superuser
            .execute(format!(
                "ALTER DATABASE {0} OWNER TO {1}; REVOKE ALL ON DATABASE {0} FROM PUBLIC; \
                 REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC; \
                 GRANT CONNECT ON DATABASE postgres TO {2}",
                identifier(&database),
                identifier(&owner),
                identifier(&guard)
            ))
            .await?;
        let schemas = self.extend(&database, &owner, read, config).await?;
        superuser
            .execute(format!("ALTER ROLE {SUPERUSER} NOLOGIN"))
            .await?;
        superuser.close().await;
        self.expect_closed(&guard).await?;
        Ok(Prepared {
            target: self.source(&owner, &database),
            database,
            guard,
            schemas,
            has_other_collation,
            notes,
        })
    }

    async fn superuser(&self, database: &str) -> Result<Connection, ConnectionError> {
        let mut connection = Connection::open(&self.source(SUPERUSER, database)).await?;
        connection
            .execute("SET search_path = ''; SET statement_timeout = '5min'")
            .await?;
        Ok(connection)
    }

    /// Installs the extensions that are allowed and that the copy has, with the schemas that they are in. Returns those schemas.
    async fn extend(
        &self,
        database: &str,
        owner: &str,
        read: &ReadCopy,
        config: &DrillConfig,
    ) -> Result<Vec<String>, Failure> {
        let allowed = |extension: &&Extension| config.allowed_extensions.contains(&extension.name);
        let mut left: Vec<&Extension> = read.contents.extensions.iter().filter(allowed).collect();
        let mut schemas: Vec<String> = Vec::new();
        let mut superuser = self.superuser(database).await?;
        for extension in &left {
            let schema = &extension.schema;
            if schema != PUBLIC && !schema.starts_with("pg_") && !schemas.contains(schema) {
                let statement = format!(
                    "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
                    identifier(schema),
                    identifier(owner)
                );
                superuser.execute(statement).await?;
                schemas.push(schema.clone());
            }
        }
        // One may need another: as long as any can be installed, the others are tried again.
        while !left.is_empty() {
            let mut refused = Vec::new();
            for extension in &left {
                let statement = format!(
                    "CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}",
                    identifier(&extension.name),
                    identifier(&extension.schema)
                );
                match superuser.execute(statement).await {
                    Ok(()) => {}
                    Err(error) if error.server().is_some() => refused.push((*extension, error.to_string())),
                    Err(error) => return Err(error.into()),
                }
            }
            if refused.len() == left.len() {
                let each = refused
                    .iter()
                    .map(|(extension, why)| format!("- extension {}: {why}", extension.name));
                let words = each.collect::<Vec<_>>().join("\n");
                let words = format!("the throw-away server's image lacks what the copy needs:\n{words}");
                return Err(Failure::inconclusive(Reason::TargetLacks, &words));
            }
            left = refused.into_iter().map(|(extension, _)| extension).collect();
        }
        superuser.execute(let_in(owner)).await?;
        superuser.close().await;
        Ok(schemas)
    }

    /// Looks whether the superusers' ways are closed: nothing is restored otherwise.
    async fn expect_closed(&self, guard: &str) -> Result<(), Failure> {
        let open = |words: String| Failure::inconclusive(Reason::InternalError, &words);
        match Connection::open(&self.source(SUPERUSER, MAINTENANCE)).await {
            Err(ConnectionError::AuthenticationFailed(_)) => {}
            Ok(_) => {
                return Err(open(
                    "the throw-away server still lets its superuser in".to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        let mut connection = Connection::open(&self.source(guard, MAINTENANCE)).await?;
        let rows = connection
            .query(
                "SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin \
                 AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication)",
            )
            .await?;
        connection.close().await;
        match rows.first() {
            None => Ok(()),
            Some(row) => Err(open(format!(
                "the throw-away server still lets the mighty role {} in",
                row.text(0)?
            ))),
        }
    }
}

/// A name that nobody in the copy or on the server has.
fn free(name: &str, taken: &HashSet<&str>) -> String {
    let numbered = (1_u64..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name.as_str()))
        .unwrap_or_default()
}

/// The role that owns what is restored, which can do nothing beyond, and the one that looks at the server's size, which can do nothing else.
///
/// The owner sees all rows of what is its own: where a table forces its policies on its owner too, foreign keys could not be checked, and a
/// question would count what a policy lets through.
fn people(owner: &str, guard: &str, config: &DrillConfig) -> Vec<String> {
    const POWERLESS: &str = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION";
    let (owner, guard) = (identifier(owner), identifier(guard));
    let sessions = config.jobs.clamp(1, 64) * 2 + SESSIONS;
    // In kB, as the server counts, and no more than it can count.
    let files = (config.database_limit_bytes / 1024).clamp(1024, 2_147_483_647);
    let seconds = config.deadline_seconds.clamp(1, 2_000_000);
    vec![
        format!("CREATE ROLE {owner} LOGIN {POWERLESS} BYPASSRLS CONNECTION LIMIT {sessions}"),
        // A session of the copy's own may set its timeouts; this one it may not.
        format!("ALTER ROLE {owner} SET temp_file_limit = '{files}kB'"),
        format!("ALTER ROLE {owner} SET statement_timeout = '{seconds}s'"),
        format!("ALTER ROLE {owner} SET client_connection_check_interval = '10s'"),
        format!("CREATE ROLE {guard} LOGIN {POWERLESS} NOBYPASSRLS CONNECTION LIMIT 4 IN ROLE pg_monitor"),
        format!("ALTER ROLE {guard} SET statement_timeout = '1min'"),
    ]
}

/// Lets the owner load the rows of extensions' tables, and set the sequences of theirs, that the copy carries.
fn let_in(owner: &str) -> String {
    format!(
        "DO $$ DECLARE one record; BEGIN \
         FOR one IN SELECT c.oid::pg_catalog.regclass AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind \
             FROM pg_catalog.pg_extension e, pg_catalog.unnest(e.extconfig) AS t (oid) \
             JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind IN ('r', 'p', 'S') LOOP \
             EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %I', one.kind, one.name, {}); \
         END LOOP; END $$",
        literal(owner)
    )
}

/// Makes a database like the source's, or, where the server cannot, one that takes its rows. Returns whether it sorts in another way.
async fn database_like(
    superuser: &mut Connection,
    name: &str,
    read: &ReadCopy,
    notes: &mut Vec<String>,
) -> Result<bool, Failure> {
    let source = &read.contents.header.database;
    let Some(error) = make_like(superuser, name, source).await? else {
        return Ok(false);
    };
    notes.push(format!(
        "the throw-away server has no locale {}/{} ({error}), so text is sorted by C in UTF-8 there; an image with that locale says more",
        source.collate, source.ctype
    ));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_the_copy_that_is_called_like_ours_does_not_meet_it() {
        let taken = HashSet::from(["dataembassy_owner", "dataembassy_owner_1", "postgres"]);
        assert_eq!(
            NAMES.map(|name| free(name, &taken)),
            ["dataembassy_drill", "dataembassy_owner_2", "dataembassy_guard"]
        );
    }
}
