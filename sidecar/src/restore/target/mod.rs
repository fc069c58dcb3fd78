//! The database that is restored into: what it is, whether it is empty, and the mark it bears until it is whole.

mod creation;
mod doorway;
mod emptiness;
mod mark;

pub use creation::make_like;
pub use doorway::{Doorway, DoorwayError, PORT};
pub use emptiness::{ObjectsLeft, empty, objects};
pub use mark::{Mark, MarkError};

use crate::postgresql::{Connection, ConnectionError, session};

/// What a restore must know of the target before it writes.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that the server tells"
)]
pub struct Target {
    /// The server's version, such as `17.12`.
    pub version: String,
    /// Its major version.
    pub major: u32,
    /// The database.
    pub database: String,
    /// The role that restores.
    pub role: String,
    /// Whether the role may do everything.
    pub superuser: bool,
    /// Whether the role may make roles.
    pub creates_roles: bool,
    /// Whether the role owns the database, itself or through a membership.
    pub owns_database: bool,
    /// The role that owns the database.
    pub owner: String,
    /// Whether the server only reads: a standby.
    pub in_recovery: bool,
    /// The database's encoding.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Who provides the collation: `c`, `i` or `b`.
    pub locale_provider: String,
    /// The locale of ICU or the builtin provider.
    pub locale: Option<String>,
    /// Rules by which ICU sorts in another way than its locale says.
    pub icu_rules: Option<String>,
}

impl Target {
    /// Looks at the database that the session is in.
    pub async fn look(connection: &mut Connection) -> Result<Self, ConnectionError> {
        let major = session::major_version(connection)
            .ok_or_else(|| ConnectionError::Protocol("the server does not say its version".into()))?;
        // The column that holds the locale has had three names.
        let locale = match major {
            ..=14 => "NULL",
            15 | 16 => "d.daticulocale",
            _ => "d.datlocale",
        };
        let rules = if major < 16 { "NULL" } else { "d.daticurules" };
        let provider = if major < 15 { "'c'" } else { "d.datlocprovider" };
        let rows = connection
            .query(format!(
                "SELECT pg_catalog.current_setting('server_version'), d.datname, current_user, r.rolsuper, r.rolcreaterole, \
                 pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_is_in_recovery(), \
                 pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, {provider}, {locale}, {rules} \
                 FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
                 WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user"
            ))
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| ConnectionError::Protocol("the server does not describe its database".into()))?;
        Ok(Self {
            version: row.text(0)?.to_owned(),
            major,
            database: row.text(1)?.to_owned(),
            role: row.text(2)?.to_owned(),
            superuser: row.flag(3)?,
            creates_roles: row.flag(4)?,
            owns_database: row.flag(5)?,
            owner: row.text(6)?.to_owned(),
            in_recovery: row.flag(7)?,
            encoding: row.text(8)?.to_owned(),
            collate: row.text(9)?.to_owned(),
            ctype: row.text(10)?.to_owned(),
            locale_provider: row.text(11)?.to_owned(),
            locale: row.optional(12)?.map(str::to_owned),
            icu_rules: row.optional(13)?.map(str::to_owned),
        })
    }
}
