//! Everything that the target lacks, found before anything is written and said in one list.

mod policy;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use dataembassy_archive::inventory::{Database, LocaleProvider};
use dataembassy_contract::restore::IfNotEmpty;

use super::{
    Options,
    copy::Contents,
    pg_restore::PgRestore,
    roles,
    selection::Selection,
    target::{Mark, Target, objects},
};
use crate::postgresql::{
    Connection, ConnectionError,
    session::{identifier, literal},
    toc::Toc,
};

/// Objects of a database that is not empty which are named.
const OBJECTS_NAMED: usize = 5;

/// What was found out about the target.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Server, database and role.
    pub target: Target,
    /// Extensions that can be installed; true where the server lets anybody who may create objects do so.
    pub available: HashMap<String, bool>,
    /// Extensions that are installed.
    pub installed: HashSet<String>,
    roles: HashSet<String>,
    tablespaces: HashSet<String>,
    has_program: bool,
    money_locale: bool,
    objects: Vec<String>,
    unfinished: Option<Mark>,
}

impl Facts {
    /// Looks at the target.
    pub async fn gather(
        connection: &mut Connection,
        programs: &Path,
        contents: &Contents,
        prepared_schemas: &[String],
    ) -> Result<Self, ConnectionError> {
        let target = Target::look(connection).await?;
        let mut available = HashMap::new();
        for row in connection
            .query(
                "SELECT name, pg_catalog.bool_or(trusted OR NOT superuser) \
                 FROM pg_catalog.pg_available_extension_versions GROUP BY name",
            )
            .await?
        {
            available.insert(row.text(0)?.to_owned(), row.flag(1)?);
        }
        let program = PgRestore::path(programs, target.major);
        let has_program = tokio::fs::try_exists(program).await.unwrap_or(false);
        Ok(Self {
            available,
            installed: names(connection, "SELECT extname FROM pg_catalog.pg_extension").await?,
            roles: roles::existing(connection).await?,
            tablespaces: names(connection, "SELECT spcname FROM pg_catalog.pg_tablespace").await?,
            has_program,
            money_locale: knows_locale(connection, contents).await?,
            objects: objects(connection, OBJECTS_NAMED, prepared_schemas).await?,
            unfinished: Mark::found(connection).await?,
            target,
        })
    }

    /// Whether there is something that `--if-not-empty replace` would drop.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What the target lacks for this copy, each with what to do about it; empty where nothing is in the way.
    #[must_use]
    pub fn lacks(
        &self,
        contents: &Contents,
        toc: &Toc,
        selection: &Selection,
        options: &Options,
    ) -> Vec<String> {
        let mut lacks = Vec::new();
        self.server(contents, options, &mut lacks);
        self.emptiness(contents, options, &mut lacks);
        self.locale(contents, options, &mut lacks);
        self.extensions(toc, options, &mut lacks);
        self.names(contents, toc, options, &mut lacks);
        for rows in &selection.rows_left_out {
            lacks.push(format!(
                "{rows} needs something that is restored with --trust-source only; see notRestored in the result"
            ));
        }
        lacks
    }

    fn server(&self, contents: &Contents, options: &Options, lacks: &mut Vec<String>) {
        let (target, source) = (&self.target, contents.major());
        let (database, role) = (identifier(&target.database), identifier(&target.role));
        if target.major < source {
            lacks.push(format!(
                "the target is PostgreSQL {}, the source was {source}: restore into {source} or newer",
                target.major
            ));
        }
        if !self.has_program {
            lacks.push(format!(
                "there is no pg_restore of PostgreSQL {}: add it to the image and give its place with --postgresql-programs",
                target.major
            ));
        }
        if target.in_recovery {
            lacks.push("the target is a standby and cannot be written to: connect to its primary".into());
        }
        if !target.owns_database && !target.superuser {
            lacks.push(format!(
                "role {role} does not own the database: ALTER DATABASE {database} OWNER TO {role}"
            ));
        }
        if options.trusting && !target.superuser {
            lacks.push(format!(
                "--trust-source restores owners, privileges and roles, which needs a superuser, and {role} is none"
            ));
        }
    }

    fn emptiness(&self, contents: &Contents, options: &Options, lacks: &mut Vec<String>) {
        let may_begin = match options.if_not_empty {
            _ if self.objects.is_empty() && self.unfinished.is_none() => true,
            IfNotEmpty::Refuse => false,
            IfNotEmpty::Replace => true,
            IfNotEmpty::ReplaceUnfinished => self.unfinished.as_ref().is_some_and(|mark| {
                mark.registry == contents.header.registry.as_str() && mark.rehearsal == options.rehearsal
            }),
        };
        if may_begin {
            return;
        }
        lacks.push(match &self.unfinished {
            Some(Mark {
                rehearsal: Some(uid), ..
            }) => format!(
                "the database holds what the rehearsal {uid} restored: let that end, or say --if-not-empty replace to begin again"
            ),
            Some(mark) => format!(
                "the database holds an unfinished restore of {} {}: say --if-not-empty replace to begin again",
                mark.registry, mark.sequence
            ),
            None => format!(
                "the database is not empty, it holds {}{}: give an empty one, or say --if-not-empty replace to drop everything in it",
                self.objects.join(", "),
                if self.objects.len() < OBJECTS_NAMED { "" } else { ", …" }
            ),
        });
    }

    fn locale(&self, contents: &Contents, options: &Options, lacks: &mut Vec<String>) {
        let (target, source) = (&self.target, &contents.header.database);
        let converts = target.encoding == "UTF8" && source.encoding != "SQL_ASCII";
        let encoding_fits = target.encoding == source.encoding || converts;
        if !encoding_fits {
            lacks.push(format!(
                "the database's encoding is {}, the source's was {}: {}",
                target.encoding,
                source.encoding,
                self.recreate(contents)
            ));
        }
        if self.sorts_otherwise(source) && encoding_fits && !options.accept_collation {
            let ours = (
                provider(source.locale_provider),
                worded(source.locale.as_deref(), source.icu_rules.as_deref()),
            );
            let theirs = (
                target.locale_provider.as_str(),
                worded(target.locale.as_deref(), target.icu_rules.as_deref()),
            );
            lacks.push(format!(
                "the database sorts by {} {}/{}{}, the source by {} {}/{}{}: {}, or say --accept-different-collation",
                theirs.0,
                target.collate,
                target.ctype,
                theirs.1,
                ours.0,
                source.collate,
                source.ctype,
                ours.1,
                self.recreate(contents)
            ));
        }
        if !self.money_locale {
            lacks.push(format!(
                "the server does not know the locale {} that the source writes money with: install it",
                contents.setting("lc_monetary").unwrap_or_default()
            ));
        }
    }

    /// Whether the target's database sorts text, or tells letters apart, in another way than the source's.
    #[must_use]
    pub fn sorts_otherwise(&self, source: &Database) -> bool {
        let target = &self.target;
        let same_encoding = target.encoding == source.encoding;
        let ours = (
            provider(source.locale_provider),
            comparable(&source.collate, same_encoding),
            comparable(&source.ctype, same_encoding),
            source.locale.as_deref(),
            source.icu_rules.as_deref(),
        );
        let theirs = (
            target.locale_provider.as_str(),
            comparable(&target.collate, same_encoding),
            comparable(&target.ctype, same_encoding),
            target.locale.as_deref(),
            target.icu_rules.as_deref(),
        );
        ours != theirs
    }

    fn recreate(&self, contents: &Contents) -> String {
        create_database(&self.target.database, &contents.header.database)
    }

    fn extensions(&self, toc: &Toc, options: &Options, lacks: &mut Vec<String>) {
        for entry in toc
            .entries
            .iter()
            .filter(|entry| entry.description == "EXTENSION")
        {
            let name = String::from_utf8_lossy(&entry.tag).into_owned();
            let allowed = options.trusting || options.allowed_extensions.contains(&name);
            match self.available.get(&name) {
                _ if self.installed.contains(&name) => {}
                None => lacks.push(format!("extension {name} is not available on the target: install its package")),
                Some(false) if !allowed => lacks.push(format!(
                    "extension {name} may do anything on the server: say --allow-extension {name}, or install it before"
                )),
                Some(false) if !self.target.superuser => lacks.push(format!(
                    "extension {name} needs a superuser: CREATE EXTENSION {} before",
                    identifier(&name)
                )),
                Some(_) => {}
            }
        }
    }

    fn names(&self, contents: &Contents, toc: &Toc, options: &Options, lacks: &mut Vec<String>) {
        if options.trusting {
            for tablespace in &contents.tablespaces {
                if !self.tablespaces.contains(&tablespace.name) {
                    lacks.push(format!("tablespace {} is missing: create it", tablespace.name));
                }
            }
            return;
        }
        for role in policy_roles(toc) {
            if self.roles.contains(&role) {
                continue;
            }
            let name = identifier(&role);
            lacks.push(format!(
                "role {name} is missing, which a row security policy names: CREATE ROLE {name}"
            ));
        }
    }
}

/// The statement that makes a database which takes a copy of `source` as it is.
#[must_use]
pub fn create_database(name: &str, source: &Database) -> String {
    let provider = match source.locale_provider {
        LocaleProvider::Libc => String::new(),
        LocaleProvider::Icu => format!(
            " LOCALE_PROVIDER icu ICU_LOCALE {}{}",
            literal(source.locale.as_deref().unwrap_or_default()),
            source
                .icu_rules
                .as_deref()
                .map(|rules| format!(" ICU_RULES {}", literal(rules)))
                .unwrap_or_default()
        ),
        LocaleProvider::Builtin => format!(
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}",
            literal(source.locale.as_deref().unwrap_or_default())
        ),
    };
    format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{provider}",
        identifier(name),
        literal(&source.encoding),
        literal(&source.collate),
        literal(&source.ctype),
    )
}

/// The roles that row security policies name, each once.
#[must_use]
pub fn policy_roles(toc: &Toc) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for entry in toc.entries.iter().filter(|entry| entry.description == "POLICY") {
        let definition = entry.definition.as_deref().unwrap_or_default();
        for role in policy::roles(&String::from_utf8_lossy(definition)) {
            if !named.contains(&role) {
                named.push(role);
            }
        }
    }
    named
}

async fn names(connection: &mut Connection, query: &str) -> Result<HashSet<String>, ConnectionError> {
    let rows = connection.query(query).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Whether the server can read money as the source wrote it.
async fn knows_locale(connection: &mut Connection, contents: &Contents) -> Result<bool, ConnectionError> {
    let Some(locale) = contents.setting("lc_monetary") else {
        return Ok(true);
    };
    let set = format!(
        "SELECT pg_catalog.set_config('lc_monetary', {}, true)",
        literal(locale)
    );
    match connection.execute(set).await {
        Ok(()) => Ok(true),
        Err(error) if error.is("22023") => Ok(false),
        Err(error) => Err(error),
    }
}

const fn provider(provider: LocaleProvider) -> &'static str {
    match provider {
        LocaleProvider::Libc => "c",
        LocaleProvider::Icu => "i",
        LocaleProvider::Builtin => "b",
    }
}

/// A locale, and the rules beside it, as they stand behind another name.
fn worded(locale: Option<&str>, rules: Option<&str>) -> String {
    let locale = locale.map(|locale| format!(" {locale}"));
    let rules = rules.map(|rules| format!(" with the rules {rules}"));
    [locale, rules].into_iter().flatten().collect()
}

/// A locale in one spelling: systems write `C.UTF-8` and `C.utf8`. Between two encodings only the language counts.
fn comparable(locale: &str, same_encoding: bool) -> String {
    let (language, encoding) = locale.split_once('.').unwrap_or((locale, ""));
    if same_encoding {
        format!("{language}.{}", encoding.to_ascii_lowercase().replace('-', ""))
    } else {
        language.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::comparable;

    #[test]
    fn a_locale_is_the_same_in_every_spelling_but_c_is_not_c_utf8() {
        assert_eq!(comparable("de_DE.UTF-8", true), comparable("de_DE.utf8", true));
        assert_ne!(comparable("C", true), comparable("C.UTF-8", true));
        assert_eq!(
            comparable("de_DE.ISO-8859-1", false),
            comparable("de_DE.UTF-8", false)
        );
    }
}
