//! Which entries of the table of contents are restored when, and which are not: by dump id and kind.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::postgresql::toc::{Section, Toc, TocEntry};

/// What makes rows and is streamed by us.
pub(crate) const STREAMED: [&str; 2] = ["TABLE DATA", "BLOBS"];
/// What describes the archive or its database and is no object in it.
const NO_OBJECTS: [&str; 5] = [
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "DATABASE",
    "DATABASE PROPERTIES",
];
/// What hides rows, from their owner too where a table forces it: foreign keys could not be checked any more, nor views be filled.
const ROW_SECURITY: [&str; 2] = ["ROW SECURITY", "POLICY"];
/// What runs when the schema changes.
const EVENT_TRIGGER: &str = "EVENT TRIGGER";
/// What acts outside its database, or runs whenever anybody does anything, or needs a superuser. Restored on trust only.
const ON_TRUST: [(&str, &str); 14] = [
    ("ACL", "privileges name roles of the source"),
    ("DEFAULT ACL", "privileges name roles of the source"),
    (EVENT_TRIGGER, "runs at anybody's commands, needs a superuser"),
    ("PUBLICATION", "sends rows elsewhere"),
    ("PUBLICATION TABLE", "sends rows elsewhere"),
    ("PUBLICATION TABLES IN SCHEMA", "sends rows elsewhere"),
    ("SUBSCRIPTION", "connects elsewhere"),
    ("SUBSCRIPTION TABLE", "connects elsewhere"),
    ("SECURITY LABEL", "needs the source's label provider"),
    ("FOREIGN DATA WRAPPER", "connects elsewhere, needs a superuser"),
    ("SERVER", "connects elsewhere"),
    ("USER MAPPING", "connects elsewhere"),
    ("FOREIGN TABLE", "connects elsewhere"),
    ("ACCESS METHOD", "needs a superuser"),
];

/// Entries by phase, each in the order in which they are restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What rows live in. Extensions come first, with what they need: nothing of the source's can stand in their way yet.
    pub before_rows: Vec<u32>,
    /// Sequences, and large objects without their content.
    pub beside_rows: Vec<u32>,
    /// Indexes, constraints, triggers, materialized views.
    pub after_rows: Vec<u32>,
    /// Row security and its policies, which would hide rows from keys and views.
    pub row_security: Vec<u32>,
    /// Event triggers, which would act on what is restored after them.
    pub at_last: Vec<u32>,
    /// Entries that are left out, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Entries with rows that cannot be loaded because of what is left out.
    pub rows_left_out: Vec<String>,
}

/// An entry that is not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is, such as `EVENT TRIGGER`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Selection {
    /// Chooses. `installed` are extensions that the target has already: their comments belong to somebody else. `prepared` are schemas that it
    /// has for them.
    #[must_use]
    pub fn choose(toc: &Toc, trusting: bool, installed: &HashSet<String>, prepared: &[String]) -> Self {
        let refused = refused(toc, trusting, installed);
        let mut selection = Self::default();
        let (mut hiding, mut at_last) = (HashSet::new(), HashSet::new());
        let mut section = Section::PreData;
        for entry in &toc.entries {
            // Comments and privileges follow what they belong to.
            if entry.section != Section::None {
                section = entry.section;
            }
            let kind = entry.description.as_str();
            let is_prepared = kind == "SCHEMA" && prepared.iter().any(|name| name.as_bytes() == entry.tag);
            if NO_OBJECTS.contains(&kind) || is_about_the_database(entry) || is_prepared {
                continue;
            }
            if let Some(reason) = refused.get(&entry.dump_id) {
                selection.leave_out(entry, reason);
            } else if kind == EVENT_TRIGGER || entry.dependencies.iter().any(|id| at_last.contains(id)) {
                at_last.insert(entry.dump_id);
                selection.at_last.push(entry.dump_id);
            } else if ROW_SECURITY.contains(&kind) || entry.dependencies.iter().any(|id| hiding.contains(id))
            {
                hiding.insert(entry.dump_id);
                selection.row_security.push(entry.dump_id);
            } else if !STREAMED.contains(&kind) {
                match section {
                    Section::None | Section::PreData => selection.before_rows.push(entry.dump_id),
                    Section::Data => selection.beside_rows.push(entry.dump_id),
                    Section::PostData => selection.after_rows.push(entry.dump_id),
                }
            }
        }
        selection.before_rows = extensions_first(toc, selection.before_rows);
        selection
    }

    fn leave_out(&mut self, entry: &TocEntry, reason: &str) {
        if STREAMED.contains(&entry.description.as_str()) {
            self.rows_left_out.push(describe(entry));
        }
        self.left_out.push(LeftOut {
            kind: entry.description.clone(),
            name: name(entry),
            reason: reason.to_owned(),
        });
    }
}

/// Comments, privileges and labels of the database itself: restored only with a database that `pg_restore` makes.
fn is_about_the_database(entry: &TocEntry) -> bool {
    matches!(entry.description.as_str(), "COMMENT" | "ACL" | "SECURITY LABEL")
        && entry.tag.starts_with(b"DATABASE ")
}

/// Entries that are refused for their kind, and all that need one of them.
fn refused(toc: &Toc, trusting: bool, installed: &HashSet<String>) -> BTreeMap<u32, String> {
    let mut refused: BTreeMap<u32, String> = BTreeMap::new();
    let extensions: HashSet<u32> = toc
        .entries
        .iter()
        .filter(|entry| entry.description == "EXTENSION" && installed.contains(text(&entry.tag).as_str()))
        .map(|entry| entry.dump_id)
        .collect();
    // One pass is enough: an entry comes after what it needs, but for dependencies on what is not in the archive.
    for entry in &toc.entries {
        let by_kind = ON_TRUST
            .iter()
            .find(|(kind, _)| !trusting && *kind == entry.description)
            .map(|(_, reason)| (*reason).to_owned());
        let by_need = || {
            entry
                .dependencies
                .iter()
                .find(|id| refused.contains_key(id))
                .map(|_| "needs something that is left out".to_owned())
        };
        let of_others = || {
            let comment = entry.description == "COMMENT";
            (comment && entry.dependencies.iter().any(|id| extensions.contains(id)))
                .then(|| "the target had this extension before, with its owner's comment".to_owned())
        };
        if let Some(reason) = by_kind.or_else(by_need).or_else(of_others) {
            refused.insert(entry.dump_id, reason);
        }
    }
    refused
}

fn extensions_first(toc: &Toc, chosen: Vec<u32>) -> Vec<u32> {
    let by_id: HashMap<u32, &TocEntry> = toc.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
    let mut first = HashSet::new();
    let mut wanted: Vec<u32> = toc
        .entries
        .iter()
        .filter(|entry| entry.description == "EXTENSION")
        .map(|entry| entry.dump_id)
        .collect();
    while let Some(id) = wanted.pop() {
        if first.insert(id)
            && let Some(entry) = by_id.get(&id)
        {
            wanted.extend(&entry.dependencies);
        }
    }
    let (mut order, rest): (Vec<u32>, Vec<u32>) = chosen.into_iter().partition(|id| first.contains(id));
    order.extend(rest);
    order
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An entry's name with its schema.
#[must_use]
pub fn name(entry: &TocEntry) -> String {
    match &entry.namespace {
        Some(namespace) if !namespace.is_empty() => format!("{}.{}", text(namespace), text(&entry.tag)),
        _ => text(&entry.tag),
    }
}

/// An entry's kind and name.
#[must_use]
pub fn describe(entry: &TocEntry) -> String {
    format!("{} {}", entry.description, name(entry))
}
