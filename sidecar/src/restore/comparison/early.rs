//! Counting a large table as soon as all of it is in the target, while others are still being loaded: at the end it would hold everybody up.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::mpsc, task::JoinSet};

use super::{ComparisonError, Counted, Relation};
use crate::restore::load::{Complete, Sessions, open_session};

/// Counts in a session of its own. What it has begun ends with it.
pub struct EarlyCount {
    /// A set of one: a task of it ends when it is dropped.
    counting: JoinSet<Result<Vec<Counted>, ComparisonError>>,
}

impl EarlyCount {
    /// Begins to count what is told; the session is made with the first.
    #[must_use]
    pub fn begin(
        sessions: &Sessions,
        relations: &Arc<BTreeMap<String, Relation>>,
    ) -> (Self, mpsc::UnboundedSender<Complete>) {
        let (tell, told) = mpsc::unbounded_channel();
        let mut counting = JoinSet::new();
        counting.spawn(count(sessions.clone(), Arc::clone(relations), told));
        (Self { counting }, tell)
    }

    /// What was counted: known once nobody tells any more.
    pub(super) async fn counted(mut self) -> Result<Vec<Counted>, ComparisonError> {
        let ended = self.counting.join_next().await;
        ended.and_then(Result::ok).ok_or(ComparisonError::Interrupted)?
    }
}

async fn count(
    sessions: Sessions,
    relations: Arc<BTreeMap<String, Relation>>,
    mut told: mpsc::UnboundedReceiver<Complete>,
) -> Result<Vec<Counted>, ComparisonError> {
    let mut connection = None;
    let mut counted = Vec::new();
    while let Some(Complete { name, rows }) = told.recv().await {
        // A root holds what other tables bring into it as well, and is whole only with the last of them.
        let Some(relation) = relations.get(&name).filter(|relation| !relation.through_root) else {
            continue;
        };
        let connection = match &mut connection {
            Some(connection) => connection,
            none => none.insert(open_session(&sessions).await?),
        };
        counted.push(Counted::of(connection, relation.clone(), rows).await?);
    }
    if let Some(connection) = connection {
        connection.close().await;
    }
    Ok(counted)
}
