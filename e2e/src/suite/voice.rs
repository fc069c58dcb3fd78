//! Where a stage's lines go: out at once, or kept until the stage has ended, so that lanes do not speak into each other's tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes lines, of several threads at once.
pub(super) enum Voice {
    /// Each line goes to our standard output as it comes.
    Live,
    /// Lines are kept until [`Voice::let_go`].
    Kept(Mutex<String>),
}

impl Voice {
    pub(super) const fn kept() -> Self {
        Self::Kept(Mutex::new(String::new()))
    }

    pub(super) fn say(&self, line: &str) {
        match self {
            Self::Live => write(&format!("{line}\n")),
            Self::Kept(lines) => {
                let mut lines = whole(lines);
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }

    /// Writes what was kept, in one piece.
    pub(super) fn let_go(&self) {
        if let Self::Kept(lines) = self {
            write(&std::mem::take(&mut *whole(lines)));
        }
    }
}

/// A thread that panicked has left whole lines.
fn whole(lines: &Mutex<String>) -> MutexGuard<'_, String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::print_stdout, reason = "the output of a command-line program")]
fn write(text: &str) {
    print!("{text}");
}
