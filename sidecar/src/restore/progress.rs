//! How far a restore is: bars on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::watch, task::JoinHandle};

const BAR_REFRESH: Duration = Duration::from_millis(200);
const LINE_REFRESH: Duration = Duration::from_secs(10);

/// What has been done, counted where it is done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of sealed segments that were opened.
    pub sealed_bytes: AtomicU64,
    /// Rows loaded.
    pub rows: AtomicU64,
    /// Bytes of rows and large objects loaded.
    pub bytes: AtomicU64,
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the ledger and the inventory, looking at the target.
    Checking,
    /// What rows live in.
    Definitions,
    /// Rows and large objects: so many bytes in all.
    Rows {
        /// Bytes of rows and large objects.
        bytes: u64,
        /// Rows.
        rows: u64,
    },
    /// Indexes, constraints, triggers, materialized views.
    Constraints,
    /// Statistics.
    Analysing,
    /// Counting in the target.
    Comparing,
    /// The restored database is asked.
    Questioning,
    /// Done.
    Done,
}

impl Phase {
    const fn words(&self) -> &'static str {
        match self {
            Self::Checking => "checking copy and target",
            Self::Definitions => "restoring definitions",
            Self::Rows { .. } => "loading rows",
            Self::Constraints => "restoring indexes, constraints and views",
            Self::Analysing => "gathering statistics",
            Self::Comparing => "comparing with the copy",
            Self::Questioning => "asking questions",
            Self::Done => "done",
        }
    }
}

/// What the restore tells, and who shows it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Counters of the work.
    pub counters: Arc<Counters>,
    phase: watch::Sender<Phase>,
    has_written: Arc<AtomicBool>,
    loading_since: Arc<OnceLock<Instant>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            counters: Arc::default(),
            phase: watch::Sender::new(Phase::Checking),
            has_written: Arc::default(),
            loading_since: Arc::default(),
        }
    }
}

impl Progress {
    /// Says what is being done now.
    pub fn enter(&self, phase: Phase) {
        tracing::info!(phase = phase.words(), "restore");
        if matches!(phase, Phase::Rows { .. }) {
            self.loading_since.get_or_init(Instant::now);
        }
        self.phase.send_replace(phase);
    }

    /// From now on the target may be changed.
    pub fn begin_writing(&self) {
        self.has_written.store(true, Relaxed);
    }

    /// Whether the target may have been changed.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.has_written.load(Relaxed)
    }

    /// For how long rows have been loaded, if that has begun.
    #[must_use]
    pub fn loading_for(&self) -> Option<Duration> {
        self.loading_since.get().map(Instant::elapsed)
    }

    /// Follows the phases.
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Shows progress on standard error until the restore is done or the handle is aborted.
    #[must_use]
    pub fn show(&self) -> JoinHandle<()> {
        let (phases, counters) = (self.phases(), Arc::clone(&self.counters));
        if std::io::stderr().is_terminal() {
            tokio::spawn(show_bars(phases, counters))
        } else {
            tokio::spawn(show_lines(phases, counters))
        }
    }
}

async fn show_bars(mut phases: watch::Receiver<Phase>, counters: Arc<Counters>) {
    loop {
        let phase = phases.borrow_and_update().clone();
        let bar = bar(&phase);
        loop {
            bar.set_position(counters.bytes.load(Relaxed).min(bar.length().unwrap_or(u64::MAX)));
            if let Phase::Rows { rows, .. } = phase {
                bar.set_message(format!("{} of {rows} rows", counters.rows.load(Relaxed)));
            }
            tokio::select! {
                changed = phases.changed() => {
                    bar.finish();
                    if changed.is_err() || phase == Phase::Done { return; }
                    break;
                }
                () = tokio::time::sleep(BAR_REFRESH) => {}
            }
        }
        if *phases.borrow() == Phase::Done {
            return;
        }
    }
}

fn bar(phase: &Phase) -> ProgressBar {
    let (bar, template) = match phase {
        Phase::Rows { bytes, .. } => (
            ProgressBar::new(*bytes),
            "{prefix} {wide_bar} {percent}% {bytes}/{total_bytes} {bytes_per_sec} {msg} eta {eta}",
        ),
        _ => (ProgressBar::new_spinner(), "{prefix} {spinner} {elapsed}"),
    };
    bar.set_prefix(phase.words());
    // The template is ours: if it were wrong, the default style does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(BAR_REFRESH);
    bar
}

async fn show_lines(mut phases: watch::Receiver<Phase>, counters: Arc<Counters>) {
    loop {
        let phase = phases.borrow_and_update().clone();
        say(phase.words());
        if phase == Phase::Done {
            return;
        }
        let began = Instant::now();
        loop {
            tokio::select! {
                changed = phases.changed() => {
                    if changed.is_err() { return; }
                    break;
                }
                () = tokio::time::sleep(LINE_REFRESH) => {
                    if let Phase::Rows { bytes, rows } = phase {
                        say(&line(&counters, bytes, rows, began.elapsed()));
                    }
                }
            }
        }
    }
}

/// Bytes, share, rows, rate and time left.
fn line(counters: &Counters, bytes: u64, rows: u64, elapsed: Duration) -> String {
    let (done, loaded) = (counters.bytes.load(Relaxed), counters.rows.load(Relaxed));
    let share = (done * 100).checked_div(bytes).unwrap_or(100);
    let rate = u64::try_from(u128::from(done) * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX);
    let left = bytes.saturating_sub(done).checked_div(rate);
    let left = left.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds} s"));
    format!(
        "{share}%: {done} of {bytes} bytes, {loaded} of {rows} rows, {} MiB/s, {left} left",
        rate / (1024 * 1024)
    )
}

#[expect(clippy::print_stderr, reason = "progress of a command line program")]
fn say(words: &str) {
    eprintln!("restore: {words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_share_rows_rate_and_time_left() {
        let counters = Counters::default();
        counters.bytes.store(50 << 20, Relaxed);
        counters.rows.store(7, Relaxed);
        assert_eq!(
            line(&counters, 100 << 20, 14, Duration::from_secs(5)),
            "50%: 52428800 of 104857600 bytes, 7 of 14 rows, 10 MiB/s, 5 s left"
        );
        assert!(line(&Counters::default(), 0, 0, Duration::ZERO).starts_with("100%"));
    }
}
