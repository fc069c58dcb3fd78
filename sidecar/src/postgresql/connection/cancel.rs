//! Ending what a session is doing from outside of it.

use std::io;

use tokio::time::timeout;

use super::{ConnectionError, Peer, transport};
use crate::postgresql::source::Source;

/// Identifies one server process for a cancel request.
#[derive(Clone, Copy, Debug)]
pub struct CancelKey {
    pub(super) peer: Peer,
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
}

impl CancelKey {
    /// Cancels what the session is doing, through a connection of its own, by the same way, within `connect_timeout`.
    pub async fn cancel(self, source: &Source) -> Result<(), ConnectionError> {
        timeout(
            source.connect_timeout,
            transport::cancel(source, self.peer, self.process_id, self.secret_key),
        )
        .await
        .unwrap_or_else(|_| Err(ConnectionError::Lost(io::ErrorKind::TimedOut.into())))
    }
}

/// Cancels a session's statement when what waits for it is given up.
pub(crate) struct CancelOnDrop {
    target: Option<(Source, CancelKey)>,
}

impl CancelOnDrop {
    pub(crate) fn new(source: &Source, key: CancelKey) -> Self {
        Self {
            target: Some((source.clone(), key)),
        }
    }

    /// All went well: there is nothing to cancel.
    pub(crate) fn disarm(mut self) {
        self.target = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((source, key)) = self.target.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = key.cancel(&source).await {
                    tracing::warn!(%error, "a statement at the source could not be cancelled; it ends with its connection");
                }
            });
        }
    }
}
