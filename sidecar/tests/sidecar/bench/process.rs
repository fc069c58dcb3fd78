//! Processes that tests send signals to.

use std::fmt::Display;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a signal, such as `STOP`, to the process of this number.
pub fn signal(name: &str, process: impl Display) {
    let arguments = [format!("-{name}"), process.to_string()];
    let sent = Command::new("kill").args(arguments).status();
    assert!(sent.unwrap().success());
}

/// Asks a process to end, and waits for its exit status; -1 where a signal ended it.
pub async fn terminate(process: &mut Child) -> i32 {
    signal("TERM", process.id());
    let begun = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the process does not end within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
