//! The running reconciles. One that only waits, for a key to propagate, ends early when its object is to be revoked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The tokens of running reconciles, by the uid of the object. An object has one reconcile at a time.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<String, CancellationToken>>);

impl Running {
    /// Records that the reconcile of `uid` runs, until the returned value is dropped. `stop` also ends it early.
    pub(super) fn begins(&self, uid: String, stop: &CancellationToken) -> Run<'_> {
        self.tokens().insert(uid.clone(), stop.child_token());
        Run { running: self, uid }
    }

    /// Ends the reconcile of `uid`, if there is one, as soon as it only waits. The next one follows at once.
    pub(super) fn interrupt(&self, uid: &str) {
        if let Some(token) = self.tokens().get(uid) {
            token.cancel();
        }
    }

    /// The token of the reconcile of `uid`; if there is none, a token that is never canceled.
    pub(super) fn token(&self, uid: &str) -> CancellationToken {
        self.tokens().get(uid).cloned().unwrap_or_default()
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running reconcile.
pub(super) struct Run<'a> {
    running: &'a Running,
    uid: String,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.running.tokens().remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reconcile_is_interrupted_and_no_other() {
        let (running, stop) = (Running::default(), CancellationToken::new());
        let (first, second) = (running.begins("1".to_owned(), &stop), running.begins("2".to_owned(), &stop));
        running.interrupt("1");
        running.interrupt("3");
        assert!(running.token("1").is_cancelled() && !running.token("2").is_cancelled() && !stop.is_cancelled());
        drop(first);
        let _again = running.begins("1".to_owned(), &stop);
        assert!(!running.token("1").is_cancelled());
        stop.cancel();
        assert!(running.token("2").is_cancelled());
        drop(second);
        assert!(running.tokens().len() == 1);
    }
}
