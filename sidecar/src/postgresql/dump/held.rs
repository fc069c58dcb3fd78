//! The held session: the planner's, kept alive for its locks.
//!
//! Where DDL is queued behind those locks, a new session cannot get one of its own without queueing behind the DDL.
//! Such a table is copied here: this session has its lock already.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{DumpError, copying, run::Run};
use crate::postgresql::{
    Connection, ConnectionError,
    session::{self, Awaits, SessionError},
};

/// Well below `idle_in_transaction_session_timeout`.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A table, or one range of it, that no other session may lock.
pub(super) struct Request {
    pub(super) table: usize,
    /// Index of the range; none for a table in one piece.
    pub(super) range: Option<usize>,
    pub(super) done: oneshot::Sender<()>,
}

/// Keeps the session until nobody can ask any more, and copies what it is asked for.
pub(super) async fn hold(
    mut held: Connection,
    mut requests: mpsc::Receiver<Request>,
    run: Arc<Run>,
) -> Result<Connection, DumpError> {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                None => break,
                Some(request) => {
                    session::wait_for(&mut held, Awaits::Store).await.map_err(|error| as_lost(error.into()))?;
                    copying::copy_piece(&mut held, &run, request.table, request.range).await.map_err(as_lost)?;
                    session::wait_for(&mut held, Awaits::Us).await.map_err(|error| as_lost(error.into()))?;
                    // Whoever asked may be gone with the run.
                    let _ = request.done.send(());
                }
            },
            error = held.closed() => return Err(lost(error)),
            _ = heartbeat.tick() => held.execute("SELECT 1").await.map_err(lost)?,
        }
    }
    Ok(held)
}

/// Gives the locks back. That the transaction can be ended proves that they were there until now.
pub(super) async fn release(mut held: Connection) -> Result<(), DumpError> {
    held.execute("COMMIT").await.map_err(lost)?;
    held.close().await;
    Ok(())
}

fn lost(error: ConnectionError) -> DumpError {
    DumpError::HolderLost { what: "locks", error }
}

/// A connection that breaks while it copies is the loss of the locks, whatever table it was at.
fn as_lost(error: DumpError) -> DumpError {
    let broken = |error: &ConnectionError| {
        matches!(error, ConnectionError::Lost(_))
            || error.server().is_some_and(|server| server.severity == "FATAL")
    };
    match error {
        DumpError::Copy { error, .. } | DumpError::Session(SessionError::Connection(error))
            if broken(&error) =>
        {
            lost(error)
        }
        error => error,
    }
}
