//! Until when this process may do what two operators must never do at the same time.
//!
//! A process with a lease extends its fence at each renewal. If the process was stopped, or cut off from the API
//! server, it finds the fence closed when it continues. The clock also runs while the machine sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::vocabulary::problem::{Class, Problem, Source};

#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The time on this machine's own clock: only differences are meaningful.
pub fn now() -> Duration {
    clock_gettime(CLOCK).try_into().unwrap_or_default()
}

/// Until when this process may act, in milliseconds of [`now`]: the earliest of these times; without any, always.
#[derive(Clone)]
pub struct Fence(Vec<Arc<AtomicU64>>);

impl Fence {
    /// Always open: for a process without a second one that could replace it.
    pub fn open() -> Self {
        Self(Vec::new())
    }

    /// Closed until it is set.
    pub fn closed() -> Self {
        Self(vec![Arc::default()])
    }

    /// Open while all of `fences` are.
    pub fn all(fences: impl IntoIterator<Item = Self>) -> Self {
        Self(fences.into_iter().flat_map(|fence| fence.0).collect())
    }

    /// Opens the fence until that time; a time in the past closes it.
    pub fn set(&self, until: Duration) {
        for held in &self.0 {
            held.store(u64::try_from(until.as_millis()).unwrap_or_default(), Ordering::SeqCst);
        }
    }

    /// Whether it stays open for the duration of something that begins now.
    pub fn ensure_valid_for(&self, takes: Duration) -> Result<(), Problem> {
        let ends = now() + takes;
        if self.0.iter().all(|until| ends < Duration::from_millis(until.load(Ordering::SeqCst))) {
            return Ok(());
        }
        let text = "the lease was not renewed lately, so another operator may be at work";
        Err(Problem::at(Source::Operator, Class::Unavailable, "update leases", "LeaseNotHeld", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_as_long_as_it_was_set() {
        let fence = Fence::closed();
        assert!(fence.ensure_valid_for(Duration::ZERO).is_err());
        fence.clone().set(now() + Duration::from_secs(1000));
        assert!(fence.ensure_valid_for(Duration::from_secs(900)).is_ok());
        assert!(fence.ensure_valid_for(Duration::from_secs(1001)).is_err());
        fence.set(Duration::ZERO);
        assert!(fence.ensure_valid_for(Duration::ZERO).is_err());
        let (one, other) = (Fence::closed(), Fence::closed());
        let all = Fence::all([one.clone(), other.clone()]);
        one.set(now() + Duration::from_secs(1000));
        assert!(all.ensure_valid_for(Duration::ZERO).is_err(), "the other is closed");
        other.set(now() + Duration::from_secs(1000));
        assert!(all.ensure_valid_for(Duration::ZERO).is_ok());
        assert!(Fence::open().ensure_valid_for(Duration::MAX / 2).is_ok());
    }
}
