//! Lines about the server and the database as a whole. Names are text in UTF-8, whatever the database's encoding is.

use std::collections::BTreeMap;

use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::value::{DatabaseVersion, SystemIdentifier};
use serde::{Deserialize, Serialize};

use crate::member::FileName;

/// The server a copy was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// The version it reports, such as `17.12`.
    pub version: DatabaseVersion,
    /// The same as one number, such as 170012.
    pub version_number: u32,
    /// What tells it from every other.
    pub system_identifier: SystemIdentifier,
    /// Settings that matter for reading the copy or for building its like, by name: such as `lc_monetary`, `server_encoding`.
    pub settings: BTreeMap<String, String>,
}

/// The database a copy was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its OID.
    pub oid: u32,
    /// The role that owns it.
    pub owner: String,
    /// Its encoding, such as `UTF8`; the text of rows in the copy is in this encoding.
    pub encoding: String,
    /// Who provides its collation.
    pub locale_provider: LocaleProvider,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of the ICU or builtin provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// ICU's extra rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The version of the collation that the database recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    /// How many sessions it allows; -1 is any number.
    pub connection_limit: i32,
    /// Its tablespace.
    pub tablespace: String,
    /// Its access privileges, one text an item as PostgreSQL prints them; absent while they are the default ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<String>>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Who provides a database's collation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LocaleProvider {
    /// The C library.
    Libc,
    /// ICU.
    Icu,
    /// PostgreSQL itself.
    Builtin,
}

/// The program that planned the dump, and its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planner {
    /// The version of `pg_dump`, such as `17.12`.
    pub pg_dump_version: DatabaseVersion,
    /// The file that holds its table of contents.
    pub toc: FileName,
    /// The file's size in bytes.
    pub toc_bytes: u64,
    /// The file's SHA-256.
    pub toc_sha256: Sha256Digest,
    /// How many entries the table of contents has.
    pub toc_entries: u64,
}

/// A tablespace that the copy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// Where it lies on the source's disk.
    pub location: String,
    /// Its options, each `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Its access privileges; absent while they are the default ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<String>>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its installed version; `pg_dump` does not carry it.
    pub version: String,
    /// The schema it is installed in.
    pub schema: String,
}

/// Something that the copy does not carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotCarried {
    /// What it is, such as `rows of a foreign table`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Why it is not carried, in words for the person who restores.
    pub reason: String,
}

/// Something that the planner said and nobody knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warning {
    /// Its words.
    pub text: String,
}
