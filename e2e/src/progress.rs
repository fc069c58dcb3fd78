//! What is being done, how far it is and how long it has taken: bars on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All that is shown at once.
#[derive(Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// One thing under way. Dropped without [`Step::done`] it counts as broken off.
pub struct Step {
    what: String,
    began: Instant,
    bar: Option<ProgressBar>,
    ended: bool,
}

impl Progress {
    /// Bars if standard error is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
        }
    }

    /// Begins a step.
    #[must_use]
    pub fn step(&self, what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style(false)));
            bar.set_prefix(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.line(&format!("{what} …"));
        }
        Step {
            what,
            began: Instant::now(),
            bar,
            ended: false,
        }
    }

    /// One line of text, above the bars.
    #[expect(
        clippy::print_stderr,
        reason = "this is what the user of the command line sees"
    )]
    pub fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => eprintln!("{text}"),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    /// How much there is to do, in steps of whatever is counted.
    pub fn length(&self, length: u64) {
        if let Some(bar) = &self.bar {
            bar.set_style(style(true));
            bar.set_length(length);
        }
    }

    /// So much more is done.
    pub fn advance(&self, by: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(by);
        }
    }

    /// What exactly is being done at this moment.
    pub fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(detail.to_owned());
        }
    }

    /// It is done.
    pub fn done(mut self) {
        self.end("done in");
    }

    #[expect(
        clippy::print_stderr,
        reason = "this is what the user of the command line sees"
    )]
    fn end(&mut self, how: &str) {
        self.ended = true;
        let line = format!("{}: {how} {:.1} s", self.what, self.began.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.finish_with_message(line);
            }
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end("broken off after");
        }
    }
}

fn style(with_length: bool) -> ProgressStyle {
    let template = if with_length {
        "{spinner} {prefix:32} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}"
    } else {
        "{spinner} {prefix:32} {elapsed} {wide_msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
