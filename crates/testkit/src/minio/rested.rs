//! Servers that tests have left to later ones of the same program: starting one costs more than most tests do with it.
//!
//! Nobody shares a server: whoever takes one has it alone until it is dropped, may stop it and reach into its disk, and finds it without a
//! bucket. There are as many as tests have ever run at once.

use std::sync::{Arc, Mutex, PoisonError};

use super::Minio;
use super::running::Running;

static RESTED: Mutex<Vec<Arc<Running>>> = Mutex::new(Vec::new());

/// A server that rests, cleared only now: whatever an earlier test had still under way is over.
pub(super) fn take() -> Option<Arc<Running>> {
    let running = RESTED.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
    running.clear().ok().map(|()| running)
}

impl Drop for Minio {
    fn drop(&mut self) {
        if self.running.is_stopped() || self.running.volume.is_some() {
            return;
        }
        let mut rested = RESTED.lock().unwrap_or_else(PoisonError::into_inner);
        rested.push(Arc::clone(&self.running));
    }
}
