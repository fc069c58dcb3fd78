//! `archive/roles.sql`: the roles that the copy names, for those who have only stock tools.
//!
//! It holds no passwords, and gives nobody a power over the whole server: SUPERUSER, REPLICATION and BYPASSRLS are
//! named in a comment, for a person to grant. It may be run twice.

use std::fmt::Write as _;

use bytes::Bytes;
use dataembassy_archive::{Member, MemberName, inventory::Role, member::MAX_BODY_BYTES};

use super::{DumpError, catalog::Catalog, outlets::Outlet, rows::invalid};
use crate::postgresql::session::{identifier, literal};

/// Sends the file, in parts where there are very many roles.
pub(super) async fn send(catalog: &Catalog, outlet: &Outlet<'_>) -> Result<(), DumpError> {
    let file: dataembassy_archive::FileName = "roles.sql".parse().map_err(invalid)?;
    let mut text = Bytes::from(script(catalog));
    if text.len() <= MAX_BODY_BYTES {
        let member = Member::new(MemberName::whole(file), text).map_err(invalid)?;
        return outlet.send(member).await;
    }
    for chunk in 0.. {
        if text.is_empty() {
            break;
        }
        let body = text.split_to(text.len().min(MAX_BODY_BYTES));
        let name = MemberName::part(file.clone(), 0, chunk).map_err(invalid)?;
        let member = Member::new(name, body).map_err(invalid)?;
        outlet.send(member).await?;
    }
    Ok(())
}

fn script(catalog: &Catalog) -> String {
    let mut script = String::from(
        "-- Roles that this copy names, without passwords. May be run more than once.\n\
         SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n",
    );
    for role in &catalog.roles {
        create(role, &mut script);
    }
    for membership in &catalog.memberships {
        let admin = if membership.admin {
            " WITH ADMIN OPTION"
        } else {
            ""
        };
        let (role, member) = (identifier(&membership.role), identifier(&membership.member));
        let _ = writeln!(script, "GRANT {role} TO {member}{admin};");
    }
    script
}

fn create(role: &Role, script: &mut String) {
    let name = identifier(&role.name);
    let powers = [
        (role.superuser, "SUPERUSER"),
        (role.replication, "REPLICATION"),
        (role.bypass_row_security, "BYPASSRLS"),
    ];
    let powers: Vec<_> = powers
        .into_iter()
        .filter_map(|(has, power)| has.then_some(power))
        .collect();
    if !powers.is_empty() {
        // A name may hold a line feed, which would end the comment.
        let _ = writeln!(script, "-- {:?} also had: {}", role.name, powers.join(", "));
    }
    let statement = format!("CREATE ROLE {name}");
    let _ = writeln!(
        script,
        "DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN EXECUTE {}; END IF; END $role$;",
        dollar_free(&literal(&role.name)),
        dollar_free(&literal(&statement))
    );
    let word = |has: bool, word: &str| if has { word.to_owned() } else { format!("NO{word}") };
    let _ = writeln!(
        script,
        "ALTER ROLE {name} {} {} {} {} CONNECTION LIMIT {}{};",
        word(role.login, "LOGIN"),
        word(role.inherit, "INHERIT"),
        word(role.create_database, "CREATEDB"),
        word(role.create_role, "CREATEROLE"),
        role.connection_limit,
        role.valid_until
            .as_ref()
            .map(|until| format!(" VALID UNTIL {}", literal(until)))
            .unwrap_or_default()
    );
}

/// A literal inside the dollar-quoted block: a role named `$role$` would end it.
fn dollar_free(literal: &str) -> String {
    let escape = if literal.starts_with(" E") { "E" } else { "" };
    literal.replace("$role$", &format!("$' || {escape}'role$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_role_name_stays_a_name() {
        let mut script = String::new();
        let role = Role {
            name: "a\"; DROP ROLE b; --\n$role$ 'x'".into(),
            superuser: true,
            inherit: true,
            create_role: false,
            create_database: false,
            login: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            valid_until: None,
            comment: None,
            password_verifier: None,
        };
        create(&role, &mut script);
        assert_eq!(script.matches("$role$").count(), 2 + 1 + 1, "{script}");
        assert!(
            script.starts_with("-- \"a\\\"; DROP ROLE b; --\\n$role$ 'x'\" also had: SUPERUSER\n"),
            "{script}"
        );
        assert!(
            script.contains("ALTER ROLE \"a\"\"; DROP ROLE b; --\n$role$ 'x'\" LOGIN"),
            "{script}"
        );
    }
}
