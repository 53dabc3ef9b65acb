//! The progress of transfers: a bar on a terminal, otherwise a line every ten seconds.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::terminal::warn;
use crate::data::{Fault, Watch};
use crate::render::printable;

const LINES: Duration = Duration::from_secs(10);
const FRAMES: Duration = Duration::from_millis(200);

/// Counts, and shows on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    began: Instant,
    /// When the last line was printed, in milliseconds since the beginning.
    line: AtomicU64,
    found: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    moved: AtomicU64,
    kept: AtomicU64,
}

impl Progress {
    /// `quiet` shows failures only.
    pub(super) fn start(quiet: bool) -> Arc<Self> {
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let form = "{bar:24} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("=> "));
        }
        if on_terminal {
            bar.enable_steady_tick(FRAMES);
        }
        let zero = || AtomicU64::new(0);
        let (line, found, finished, failed) = (zero(), zero(), zero(), zero());
        let (bytes, moved, kept) = (zero(), zero(), zero());
        Arc::new(Self {
            bar,
            quiet: quiet || on_terminal,
            began: Instant::now(),
            line,
            found,
            finished,
            failed,
            bytes,
            moved,
            kept,
        })
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// How long it has taken.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Bytes that an earlier, interrupted run had transferred.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    fn objects(&self) -> String {
        let (finished, found) = (self.finished.load(Relaxed), self.found.load(Relaxed));
        match self.failed.load(Relaxed) {
            0 => format!("{finished} of {found} objects"),
            failed => format!("{finished} of {found} objects, {failed} failed"),
        }
    }

    /// Prints a line if the last one was long ago.
    fn tell(&self) {
        let (last, now) = (self.line.load(Relaxed), u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let due = now >= last + u64::try_from(LINES.as_millis()).unwrap_or_default();
        if self.quiet || !due || self.line.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
            return;
        }
        let (moved, kept, bytes) = (self.moved.load(Relaxed), self.kept.load(Relaxed), self.bytes.load(Relaxed));
        let rate = rate(moved, self.elapsed());
        let left = match bytes.saturating_sub(moved + kept).checked_div(rate) {
            Some(seconds) => format!("{} left", HumanDuration(Duration::from_secs(seconds))),
            None => "stalled".to_owned(),
        };
        warn(&format!(
            "{}, {} of {}, {}/s, {left}",
            self.objects(),
            DecimalBytes(moved + kept),
            DecimalBytes(bytes),
            DecimalBytes(rate)
        ));
    }
}

/// Bytes in a second.
pub(super) fn rate(bytes: u64, time: Duration) -> u64 {
    (bytes * 1_000).checked_div(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)).unwrap_or_default()
}

impl Watch for Progress {
    fn found(&self, size: u64) {
        self.found.fetch_add(1, Relaxed);
        self.bytes.fetch_add(size, Relaxed);
        self.bar.inc_length(size);
        self.bar.set_message(self.objects());
    }

    fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
        self.bar.inc(bytes);
        self.tell();
    }

    fn kept(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Relaxed);
        // Not part of the rate.
        self.bar.inc(bytes);
        self.bar.reset_eta();
    }

    fn finished(&self) {
        self.finished.fetch_add(1, Relaxed);
        self.bar.set_message(self.objects());
    }

    fn failed(&self, name: &str, fault: &Fault) {
        self.failed.fetch_add(1, Relaxed);
        self.bar.suspend(|| warn(&printable(&fault.about(name))));
    }
}
