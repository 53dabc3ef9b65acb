//! Whether due reconciles end: the result of `GET /healthz`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Some reconcile ends within this time, unless all are stuck: the longest wait for a key to propagate is a minute, and
/// a call to AWS takes half a minute at most.
const LIMIT: Duration = Duration::from_secs(900);

/// When reconciles ended, and when others are due.
pub(super) struct Progress(Mutex<State>);

struct State {
    /// When the last one ended.
    ended: Instant,
    /// The time at which the reconcile of each object was or will be due.
    due: HashMap<String, Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(State { ended: Instant::now(), due: HashMap::new() }))
    }
}

impl Progress {
    /// The reconcile of an object is due now.
    pub(super) fn begins(&self, object: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        let due = state.due.entry(object.to_owned()).or_insert(now);
        *due = now.min(*due);
    }

    /// It ended, and the next one is due after `next`.
    pub(super) fn ends(&self, object: &str, next: Option<Duration>) {
        let mut state = self.lock();
        state.ended = Instant::now();
        match next.and_then(|next| state.ended.checked_add(next)) {
            Some(due) => drop(state.due.insert(object.to_owned(), due)),
            None => drop(state.due.remove(object)),
        }
    }

    /// The object was deleted.
    pub(super) fn forget(&self, object: &str) {
        self.lock().due.remove(object);
    }

    /// How long the oldest due reconcile has been due without having ended.
    pub(super) fn oldest(&self) -> Duration {
        self.lock().due.values().map(Instant::elapsed).max().unwrap_or_default()
    }

    /// Why no reconcile ends anymore, if that is so.
    pub(super) fn stuck(&self) -> Option<String> {
        let state = self.lock();
        let late = state.due.values().filter(|due| due.elapsed() > LIMIT).count();
        (late > 0 && state.ended.elapsed() > LIMIT).then(|| {
            let minutes = state.ended.elapsed().as_secs() / 60;
            format!("no reconcile has ended for {minutes} minutes, and {late} are overdue\n")
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_stuck_when_what_is_due_does_not_end() {
        let progress = Progress::default();
        advance(3 * LIMIT).await;
        assert_eq!(progress.stuck(), None, "nothing is due");
        assert_eq!(progress.oldest(), Duration::ZERO);
        progress.begins("a");
        progress.begins("b");
        advance(LIMIT).await;
        assert_eq!((progress.stuck(), progress.oldest()), (None, LIMIT));
        advance(Duration::from_secs(1)).await;
        assert_eq!(progress.stuck().unwrap(), "no reconcile has ended for 60 minutes, and 2 are overdue\n");
        progress.ends("b", Some(2 * LIMIT));
        assert_eq!(progress.stuck(), None, "only one of them hangs");
        progress.forget("a");
        advance(2 * LIMIT).await;
        assert_eq!(progress.stuck(), None, "the other is due only now");
        advance(2 * LIMIT).await;
        assert!(progress.stuck().is_some(), "its time has come, and nothing began");
        progress.begins("b");
        assert!(progress.stuck().is_some(), "it began, and did not end");
        progress.ends("b", None);
        advance(2 * LIMIT).await;
        assert_eq!(progress.stuck(), None, "it waits for a change");
    }
}
