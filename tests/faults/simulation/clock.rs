//! Virtual time: a fixed beginning plus the time of tokio's paused clock since, over all runtimes of one simulation.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z.
const BEGINNING: i64 = 1_767_225_600;

thread_local! {
    static TIME: Cell<(i64, Option<Instant>)> = const { Cell::new((BEGINNING * 1_000, None)) };
}

/// Starts again, in a runtime whose clock is paused.
pub fn start() {
    TIME.set((BEGINNING * 1_000, Some(Instant::now())));
}

/// Starts again, before there is a runtime.
pub fn reset() {
    TIME.set((BEGINNING * 1_000, None));
}

/// Continues in a new runtime.
pub fn resume() {
    TIME.set((now().as_millisecond(), Some(Instant::now())));
}

/// Pauses until there is another runtime. Called within the one that ends.
pub fn pause() {
    TIME.set((now().as_millisecond(), None));
}

/// The time of this thread's simulation.
pub fn now() -> Timestamp {
    let (base, since) = TIME.get();
    let base = Timestamp::from_millisecond(base).unwrap();
    base + SignedDuration::try_from(since.map(|since| since.elapsed()).unwrap_or_default()).unwrap()
}
