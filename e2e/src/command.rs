//! Running other programs: one way to start them, one shape of error when they fail.

use std::{ffi::OsStr, fmt::Write as _, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::patience::Patience;

/// How much of a failed program's output an error repeats.
const SHOWN: usize = 4000;

/// A command that is killed when its future is dropped, so that an interrupted step leaves nothing running.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end and returns what it wrote to standard output.
pub async fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let done = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .with_context(|| format!("cannot start: {shown}"))?;
    if !done.status.success() {
        let mut said = String::from_utf8_lossy(&done.stderr).into_owned();
        if said.trim().is_empty() {
            said = String::from_utf8_lossy(&done.stdout).into_owned();
        }
        bail!("{shown}: {}\n{}", done.status, tail(&said));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Like [`output`], with `input` on standard input.
pub async fn output_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start: {shown}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // A program that ends before it has read everything says why on standard error: that counts, not the broken pipe.
    let (_, done) = tokio::join!(
        async move {
            let written = stdin.write_all(input).await;
            drop(stdin);
            written
        },
        child.wait_with_output()
    );
    let done = done?;
    if !done.status.success() {
        bail!(
            "{shown}: {}\n{}",
            done.status,
            tail(&String::from_utf8_lossy(&done.stderr))
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Asks again and again until there is an answer, and fails at the deadline with the last error. On a machine that is short of processors
/// the deadline is [longer](Patience).
pub async fn wait_for<T, F>(what: &str, deadline: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let mut patience = Patience::of(deadline);
    let mut last = None;
    loop {
        match tokio::time::timeout(patience.left(), ask()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if patience.left().is_zero() {
            let waited = format!("waited {} s for {what}", deadline.as_secs());
            return Err(match last {
                Some(error) => error.context(waited),
                None => anyhow::anyhow!("{waited}, in vain"),
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn show(command: &Command) -> String {
    let command = command.as_std();
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    if text.len() > 600 {
        text.truncate(text.floor_char_boundary(600));
        text.push('…');
    }
    text
}

/// The end of a long text: the reason usually stands last.
#[must_use]
pub fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.ceil_char_boundary(text.len().saturating_sub(SHOWN));
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_command_tells_its_words_and_its_status() {
        let error = output(command("sh").args(["-c", "echo broken >&2; exit 3"]))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("broken") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn input_reaches_the_command() {
        assert_eq!(
            output_with_input(&mut command("cat"), b"words").await.unwrap(),
            "words"
        );
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline_with_the_last_error() {
        let error = wait_for::<(), _>("the moon", Duration::from_millis(10), || async {
            bail!("it is day")
        })
        .await
        .unwrap_err();
        assert!(format!("{error:#}").contains("the moon: it is day"), "{error:#}");
    }
}
