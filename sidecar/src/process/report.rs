//! What a process says about itself, kept in one place and changed under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataembassy_contract::Reason;
use dataembassy_contract::report::{Check, CheckState, Fault};
use jiff::Timestamp;

/// A report, shared between a process and its server.
#[derive(Debug)]
pub struct Board<R>(Arc<Mutex<R>>);

impl<R> Clone for Board<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Board<R> {
    /// Begins with this report.
    #[must_use]
    pub fn begin(report: R) -> Self {
        Self(Arc::new(Mutex::new(report)))
    }

    /// Looks at the report.
    pub fn look<T>(&self, look: impl FnOnce(&R) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the report.
    pub fn write<T>(&self, change: impl FnOnce(&mut R) -> T) -> T {
        change(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what a look at a neighbour found; `since` stays while the same is found again.
pub fn note(check: &mut Check, found: Result<(), (Reason, String)>) {
    let (state, reason, message) = match found {
        Ok(()) => (CheckState::True, Reason::Reachable, String::new()),
        Err((reason, message)) => (CheckState::False, reason, message),
    };
    let found = Check {
        state,
        reason,
        message,
        since: None,
    };
    judge(check, found);
}

/// Puts a judgement in the place of the one before; `since` stays while the same is found again.
pub fn judge(check: &mut Check, found: Check) {
    let since = check
        .since
        .filter(|_| check.state == found.state && check.reason == found.reason);
    *check = Check {
        since: since.or_else(|| Some(Timestamp::now())),
        ..found
    };
}

/// Puts what was found in the place of a fault; `since` stays while the same is found again.
pub fn replace(fault: &mut Option<Fault>, found: Option<(Reason, String)>) {
    *fault = found.map(|(reason, message)| {
        let since = fault
            .as_ref()
            .filter(|fault| fault.reason == reason)
            .map(|fault| fault.since);
        Fault {
            reason,
            message,
            since: since.unwrap_or_else(Timestamp::now),
        }
    });
}
