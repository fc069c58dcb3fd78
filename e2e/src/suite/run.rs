//! Runs one command of a stage, passes its output on, and counts what its runner counted.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::OnceLock;
use std::thread;

use super::count::Count;
use super::hearing::Failures;
use super::stages::{Command, Stage};
use super::voice::Voice;
use crate::cluster::BED;
use crate::images::BUILT;

/// The tree that is tested, and what of it is built.
pub(super) struct Tree<'a> {
    root: &'a Path,
    /// Where operator and sidecar lie, once a stage has built them.
    programs: OnceLock<PathBuf>,
}

impl<'a> Tree<'a> {
    /// A tree of which nothing is built.
    pub(super) fn new(root: &'a Path) -> Self {
        Self {
            root,
            programs: OnceLock::new(),
        }
    }

    /// A stage has ended well: what it has built is there for those that follow.
    pub(super) fn built_by(&self, stage: &Stage) {
        if let Some(folder) = &stage.builds {
            self.programs.get_or_init(|| self.root.join(folder));
        }
    }
}

/// A command that did not end well.
pub(super) struct Failed {
    /// What its runner had counted by then.
    pub counted: Count,
    /// The tests that its runner says failed.
    pub failures: Failures,
    /// What ran, and how it ended.
    pub why: String,
}

/// What a runner's output says.
#[derive(Default)]
struct Heard {
    counted: Count,
    failures: Failures,
}

/// Runs the command at the tree's root. Both of its streams are said, line by line.
pub(super) fn command(tree: &Tree, command: &Command, voice: &Voice) -> Result<Count, Failed> {
    voice.say(&format!("$ {}", command.text()));
    let failed = |heard: Heard, why: String| Failed {
        counted: heard.counted,
        failures: heard.failures,
        why: format!("`{}` {why}", command.text()),
    };
    let mut child = Process::new(&command.program)
        .args(&command.arguments)
        .env(BED, command.bed.to_string())
        .env_remove(BUILT)
        .envs(tree.programs.get().map(|folder| (BUILT, folder)))
        .current_dir(tree.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(Heard::default(), format!("could not be started: {error}")))?;
    let streams = (child.stdout.take(), child.stderr.take());
    let heard = thread::scope(|scope| {
        let errors = streams.1.map(|stream| scope.spawn(|| pass_on(stream, voice)));
        let mut heard = streams.0.map(|stream| pass_on(stream, voice)).unwrap_or_default();
        if let Some(Ok(of_errors)) = errors.map(thread::ScopedJoinHandle::join) {
            heard.counted += of_errors.counted;
            heard.failures.extend(of_errors.failures);
        }
        heard
    });
    match child.wait() {
        Ok(status) if status.success() => Ok(heard.counted),
        Ok(status) => Err(failed(heard, format!("ended with {status}"))),
        Err(error) => Err(failed(heard, format!("could not be waited for: {error}"))),
    }
}

fn pass_on(stream: impl std::io::Read, voice: &Voice) -> Heard {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut heard = Heard::default();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        heard.counted += Count::of_line(&text);
        heard.failures.hear(&text);
        voice.say(text.trim_end_matches(['\n', '\r']));
        line.clear();
    }
    heard
}
