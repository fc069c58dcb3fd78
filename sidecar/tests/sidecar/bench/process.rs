//! Processes that tests send signals to.

use std::fmt::Display;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Sends a signal, such as `STOP`, to the process of this number.
pub fn signal(name: &str, process: impl Display) {
    let arguments = [format!("-{name}"), process.to_string()];
    let sent = Command::new("kill").args(arguments).status();
    assert!(sent.unwrap().success());
}

/// Asks a process to end, and waits for its exit status, which must come within that time; -1 where a signal ended it.
pub async fn terminate(process: &mut Child, within: Duration) -> i32 {
    signal("TERM", process.id());
    let begun = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(
            begun.elapsed() < within,
            "the process does not end within {within:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
