//! Roles, memberships and settings: data in the inventory, made into statements here. Restored on trust only.

use std::collections::HashSet;

use dataembassy_archive::inventory::{Membership, Role, Setting, Settings};

use super::{copy::Contents, target::Mark};
use crate::postgresql::{
    Connection, ConnectionError,
    session::{identifier, literal},
};

/// What of the source's roles and settings could be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Roles that were made.
    pub made: Vec<String>,
    /// Roles that were there before and were left as they were.
    pub kept: Vec<String>,
}

impl Restored {
    /// What is to be known of roles that were there already; PostgreSQL's own ones always are.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let kept = self.kept.iter().filter(|role| !role.starts_with("pg_"));
        let kept: Vec<&str> = kept.map(String::as_str).collect();
        (!kept.is_empty()).then(|| {
            format!(
                "roles that the server has already were left as they are, with its memberships and settings and not the copy's: {}",
                kept.join(", ")
            )
        })
    }
}

/// Which roles the target has.
pub async fn existing(connection: &mut Connection) -> Result<HashSet<String>, ConnectionError> {
    let rows = connection
        .query_within("SELECT rolname FROM pg_catalog.pg_roles", 64 * 1024 * 1024)
        .await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Makes the roles that are missing, with their memberships and settings: all of them or none, for at the next try a role that is there is taken
/// for the target's own. Those are left alone.
pub async fn restore(connection: &mut Connection, contents: &Contents) -> Result<Restored, ConnectionError> {
    let existing = existing(connection).await?;
    let mut restored = Restored::default();
    let mut statements = Vec::new();
    for role in &contents.roles {
        if role.name.starts_with("pg_") || existing.contains(&role.name) {
            restored.kept.push(role.name.clone());
            continue;
        }
        statements.push(create(role));
        if let Some(comment) = &role.comment {
            statements.push(format!(
                "COMMENT ON ROLE {} IS {}",
                identifier(&role.name),
                literal(comment)
            ));
        }
        restored.made.push(role.name.clone());
    }
    let made: HashSet<&str> = restored.made.iter().map(String::as_str).collect();
    let major = crate::postgresql::session::major_version(connection).unwrap_or_default();
    for membership in &contents.memberships {
        if made.contains(membership.member.as_str()) {
            statements.push(grant(membership, major));
        }
    }
    for settings in contents.settings.iter().filter(|settings| !settings.in_database) {
        if settings
            .role
            .as_ref()
            .is_some_and(|role| made.contains(role.as_str()))
        {
            statements.extend(set(settings, None));
        }
    }
    // Who gives up amid them loses the session, and with it what it has not committed.
    connection.execute("BEGIN").await?;
    for statement in statements {
        connection.execute(statement).await?;
    }
    connection.execute("COMMIT").await?;
    Ok(restored)
}

/// The statements for what belongs to the database itself: its settings, those that roles have in it, its comment and its privileges. Its
/// owner stays the target's.
#[must_use]
pub fn of_the_database(contents: &Contents, database: &str) -> Vec<String> {
    let source = &contents.header.database;
    let name = identifier(database);
    let mut statements = Vec::new();
    for settings in contents.settings.iter().filter(|settings| settings.in_database) {
        statements.extend(set(settings, Some(database)));
    }
    // A comment that looks like our mark would have the next restore take a whole database for half a one, and drop it.
    if let Some(comment) = source.comment.as_ref().filter(|comment| !Mark::is_like(comment)) {
        statements.push(format!("COMMENT ON DATABASE {name} IS {}", literal(comment)));
    }
    if let Some(acl) = &source.acl {
        statements.push(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"));
        statements.extend(acl.iter().flat_map(|item| grants(item, &name)));
    }
    statements
}

/// What a database's privileges are called in its access list.
const DATABASE_PRIVILEGES: [(char, &str); 3] = [('C', "CREATE"), ('T', "TEMPORARY"), ('c', "CONNECT")];

/// The statements behind an item of a database's access list, such as `"Odd ""x"" role"=C*c/owner`. Nobody before the `=` is everybody; a star
/// allows to pass the privilege on.
fn grants(item: &str, database: &str) -> Vec<String> {
    let mut grantee = String::new();
    let mut quoted = false;
    let mut letters = item.chars().peekable();
    while let Some(letter) = letters.next_if(|letter| quoted || *letter != '=') {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => grantee.push('"'),
            '"' => quoted = !quoted,
            _ => grantee.push(letter),
        }
    }
    let whom = if grantee.is_empty() {
        "PUBLIC".to_owned()
    } else {
        identifier(&grantee)
    };
    let mut statements = Vec::new();
    while let Some(letter) = letters.next_if(|letter| *letter != '/') {
        let passed_on = letters.next_if_eq(&'*').map_or("", |_| " WITH GRANT OPTION");
        if let Some((_, privilege)) = DATABASE_PRIVILEGES.iter().find(|(of, _)| *of == letter) {
            statements.push(format!(
                "GRANT {privilege} ON DATABASE {database} TO {whom}{passed_on}"
            ));
        }
    }
    statements
}

fn create(role: &Role) -> String {
    let mut words = vec![format!("CREATE ROLE {} WITH", identifier(&role.name))];
    for (has, attribute) in [
        (role.superuser, "SUPERUSER"),
        (role.inherit, "INHERIT"),
        (role.create_role, "CREATEROLE"),
        (role.create_database, "CREATEDB"),
        (role.login, "LOGIN"),
        (role.replication, "REPLICATION"),
        (role.bypass_row_security, "BYPASSRLS"),
    ] {
        words.push(format!("{}{attribute}", if has { "" } else { "NO" }));
    }
    words.push(format!("CONNECTION LIMIT {}", role.connection_limit));
    words.extend(
        role.valid_until
            .iter()
            .map(|until| format!("VALID UNTIL {}", literal(until))),
    );
    let verifier = role.password_verifier.iter();
    words.extend(verifier.map(|verifier| format!("PASSWORD {}", literal(verifier))));
    words.join(" ")
}

fn grant(membership: &Membership, major: u32) -> String {
    let (role, member) = (identifier(&membership.role), identifier(&membership.member));
    let grant = format!("GRANT {role} TO {member}");
    if major < 16 {
        let admin = if membership.admin {
            " WITH ADMIN OPTION"
        } else {
            ""
        };
        return grant + admin;
    }
    let mut options = vec![format!("ADMIN {}", membership.admin)];
    options.extend(membership.inherit.map(|inherit| format!("INHERIT {inherit}")));
    options.extend(membership.set.map(|set| format!("SET {set}")));
    format!("{grant} WITH {}", options.join(", "))
}

/// Settings whose values are lists of names: quoted as a whole, they would be one name.
const LISTS: [&str; 7] = [
    "datestyle",
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

fn set(settings: &Settings, database: Option<&str>) -> Vec<String> {
    let whose = match (&settings.role, database) {
        (Some(role), Some(database)) => {
            format!(
                "ALTER ROLE {} IN DATABASE {}",
                identifier(role),
                identifier(database)
            )
        }
        (Some(role), None) => format!("ALTER ROLE {}", identifier(role)),
        (None, Some(database)) => format!("ALTER DATABASE {}", identifier(database)),
        (None, None) => "ALTER ROLE ALL".to_owned(),
    };
    let statement = |setting: &Setting| {
        // A setting of an extension has a dot between two names.
        let name: Vec<String> = setting.name.split('.').map(identifier).collect();
        let value = if LISTS.contains(&setting.name.to_ascii_lowercase().as_str()) {
            list(&setting.value)
        } else {
            literal(&setting.value)
        };
        format!("{whose} SET {} TO {value}", name.join("."))
    };
    settings.settings.iter().map(statement).collect()
}

/// Splits a list as the server keeps it, names in double quotes where they need them, and quotes each as a literal.
fn list(value: &str) -> String {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                if let Some(name) = names.last_mut() {
                    name.push('"');
                }
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            character if character.is_whitespace() && !quoted => {}
            character => {
                if let Some(name) = names.last_mut() {
                    name.push(character);
                }
            }
        }
    }
    let literals: Vec<String> = names.iter().map(|name| literal(name)).collect();
    literals.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_an_access_list_becomes_its_grants() {
        assert_eq!(
            grants(r#""Odd ""x""=y role"=C*c/owner"#, "d"),
            [
                r#"GRANT CREATE ON DATABASE d TO "Odd ""x""=y role" WITH GRANT OPTION"#,
                r#"GRANT CONNECT ON DATABASE d TO "Odd ""x""=y role""#
            ]
        );
        assert_eq!(
            grants("=T/owner", "d"),
            ["GRANT TEMPORARY ON DATABASE d TO PUBLIC"]
        );
        assert!(grants("", "d").is_empty());
    }

    #[test]
    fn a_list_of_names_stays_a_list() {
        assert_eq!(
            list(r#""$user", "Odd ""x"", y", public"#),
            r#"'$user', 'Odd "x", y', 'public'"#
        );
        assert_eq!(list(""), "''");
    }
}
