//! Two truths side by side.

use std::{collections::BTreeSet, fmt};

use super::{Kind, Truth, qualifiers::without_qualifiers};

/// What is compared beyond what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Owners, grants, default privileges, roles, settings of roles and of the database. A restore without
    /// trust in the source carries none of them.
    pub ownership: bool,
    /// Whether sequences stand exactly where the source's do. They know no snapshot: with writers about, it
    /// is only asked that none fell behind the column it serves.
    pub quiet: bool,
    /// Whether views are written the same way: both sides are of one major version.
    pub one_version: bool,
}

impl Scope {
    /// Everything, on a source that stood still.
    pub const WHOLE: Self = Self {
        ownership: true,
        quiet: true,
        one_version: true,
    };
    /// Everything, on a source that was written to.
    pub const WHILE_WRITING: Self = Self {
        ownership: true,
        quiet: false,
        one_version: true,
    };

    fn holds(self, kind: Kind) -> bool {
        match kind {
            Kind::Owner | Kind::Grant | Kind::DefaultPrivilege | Kind::Role | Kind::Setting => self.ownership,
            Kind::SequenceValue => self.quiet,
            _ => true,
        }
    }

    fn is_same(self, kind: Kind, was: Option<&String>, is: Option<&String>) -> bool {
        let bare = |text: Option<&String>| text.map(|text| without_qualifiers(text));
        was == is || (!self.one_version && kind == Kind::View && bare(was) == bare(is))
    }
}

/// One thing that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What kind of thing.
    pub kind: Kind,
    /// Which one.
    pub object: String,
    /// What the source says; nothing if only the restored database has it.
    pub source: Option<String>,
    /// What the restored database says; nothing if it is missing there.
    pub restored: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            object,
            source,
            restored,
        } = self;
        match (source, restored) {
            (Some(source), Some(restored)) => {
                write!(
                    f,
                    "{kind:?} {object} differs:\n  source:   {source}\n  restored: {restored}"
                )
            }
            (Some(source), None) => write!(f, "{kind:?} {object} is missing: {source}"),
            (None, Some(restored)) => write!(f, "{kind:?} {object} is not in the source: {restored}"),
            (None, None) => write!(f, "{kind:?} {object}"),
        }
    }
}

/// What differs between a source and what was restored from it; nothing if they are equal. Roles that only the
/// restored side names are no difference there: its server may serve others too.
#[must_use]
pub fn compare(source: &Truth, restored: &Truth, scope: Scope) -> Vec<Difference> {
    let keys: BTreeSet<_> = source.facts.keys().chain(restored.facts.keys()).collect();
    let mut differences: Vec<_> = keys
        .into_iter()
        .filter(|(kind, _)| scope.holds(*kind))
        .map(|key| (key, source.facts.get(key), restored.facts.get(key)))
        .filter(|((kind, _), was, is)| {
            let is_anothers = *kind == Kind::Role && was.is_none();
            !is_anothers && !scope.is_same(*kind, *was, *is)
        })
        .map(|((kind, object), was, is)| Difference {
            kind: *kind,
            object: object.clone(),
            source: was.cloned(),
            restored: is.cloned(),
        })
        .collect();
    differences.extend(restored.stale.iter().map(|view| Difference {
        kind: Kind::MaterializedView,
        object: view.clone(),
        source: Some("what its query answers".into()),
        restored: Some("something older".into()),
    }));
    differences.extend(
        restored
            .behind
            .difference(&source.behind)
            .map(|sequence| Difference {
                kind: Kind::SequenceValue,
                object: sequence.clone(),
                source: Some("not behind the column it serves".into()),
                restored: Some("behind the column it serves".into()),
            }),
    );
    differences
}
