//! A listing of versions, key by key: complete groups, whatever page they came on.

use std::collections::VecDeque;

use crate::store::{ObjectVersion, Store, StoreError};

/// The most versions of one key that are kept while more of them come: whoever has root's rights may write any number.
const MAX_OF_A_KEY: usize = 4_096;

/// All versions of one key, newest first as a store lists them; delete markers stand behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The key, not judged by the grammar.
    pub key: String,
    /// Its versions.
    pub versions: Vec<ObjectVersion>,
}

impl Group {
    /// The objects among the versions, oldest first.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectVersion> {
        self.versions
            .iter()
            .rev()
            .filter(|version| !version.is_delete_marker)
    }
}

/// A listing in progress; it asks for pages as they are needed.
#[derive(Debug)]
pub struct Listing {
    store: Store,
    prefix: String,
    pending: VecDeque<ObjectVersion>,
    from: Option<(String, Option<String>)>,
    complete: bool,
}

impl Listing {
    /// Lists what is below `prefix` and after the key `marker`.
    #[must_use]
    pub fn new(store: &Store, prefix: &str, marker: Option<String>) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.to_owned(),
            pending: VecDeque::new(),
            from: marker.map(|key| (key, None)),
            complete: false,
        }
    }

    /// The next key with all its versions; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Group>, StoreError> {
        while !self.has_group() && !self.complete {
            let mut page = self.store.list_versions(&self.prefix, self.from.take()).await?;
            // A page has objects and delete markers in two lists; each is in order, and a stable sort makes them one.
            page.versions.sort_by(|one, other| one.key.cmp(&other.key));
            self.pending.extend(page.versions);
            self.complete = page.next.is_none();
            self.from = page.next;
            if !self.has_group() {
                self.pending.truncate(MAX_OF_A_KEY);
            }
        }
        let Some(first) = self.pending.front() else {
            return Ok(None);
        };
        let mut group = Group {
            key: first.key.clone(),
            versions: Vec::new(),
        };
        while let Some(version) = self.pending.pop_front_if(|version| version.key == group.key) {
            group.versions.push(version);
        }
        Ok(Some(group))
    }

    /// Whether the first key's versions are all here: another key follows.
    fn has_group(&self) -> bool {
        match (self.pending.front(), self.pending.back()) {
            (Some(first), Some(last)) => first.key != last.key,
            _ => false,
        }
    }
}
