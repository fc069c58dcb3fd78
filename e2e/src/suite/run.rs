//! Runs one command of a stage, passes its output on, and counts what its runner counted.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread;

use super::count::Count;
use super::say;
use super::stages::Command;

/// A command that did not end well, with what its runner had counted by then.
pub(super) struct Failed {
    pub counted: Count,
    pub why: String,
}

/// Runs the command in the workspace. Both of its streams go to our standard output, line by line.
pub(super) fn command(workspace: &Path, command: &Command) -> Result<Count, Failed> {
    say(&format!("$ {}", command.text()));
    let failed = |counted, why: String| Failed {
        counted,
        why: format!("`{}` {why}", command.text()),
    };
    let mut child = Process::new(&command.program)
        .args(&command.arguments)
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(Count::default(), format!("could not be started: {error}")))?;
    let errors = child
        .stderr
        .take()
        .map(|stream| thread::spawn(move || pass_on(stream)));
    let mut counted = child.stdout.take().map(pass_on).unwrap_or_default();
    if let Some(Ok(count)) = errors.map(thread::JoinHandle::join) {
        counted += count;
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(counted),
        Ok(status) => Err(failed(counted, format!("ended with {status}"))),
        Err(error) => Err(failed(counted, format!("could not be waited for: {error}"))),
    }
}

fn pass_on(stream: impl std::io::Read) -> Count {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut counted = Count::default();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        counted += Count::of_line(&text);
        say(text.trim_end_matches(['\n', '\r']));
        line.clear();
    }
    counted
}
