//! When the next reconcile of an object is due: depends on the result of the last one, with jitter and a backoff per
//! object.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::BucketConnectionStatus;
use crate::execute::Report;
use crate::status;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::{Class, Problem};

const FIRST: Duration = Duration::from_secs(1);
/// For a transient failure.
const PASSING_MAX: Duration = Duration::from_secs(300);
/// For a failure that a person must fix; a fix in AWS wakes no reconcile, so this is how long it takes to show.
const STALLED_FIRST: Duration = Duration::from_secs(15);
const STALLED_MAX: Duration = Duration::from_secs(600);
/// Sooner, after a change that the previous reconcile had made already: either it has no effect, or someone reverts it.
const AFTER_REPEAT: Duration = Duration::from_secs(6);
/// Soon after a change, to verify its effect.
const AFTER_CHANGE: Duration = Duration::from_secs(60);

/// Failed reconciles in a row, by uid of the object.
#[derive(Default)]
pub(super) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// The time until the next reconcile after one that ended in `status`, with `report` if a plan was executed; without
    /// what becomes due with time.
    pub(super) fn next(&self, uid: &str, status: &BucketConnectionStatus, report: Option<&Report>, resync: Duration) -> Duration {
        if status::is_true(status, ConditionType::Stalled) {
            let next = self.failed(uid, STALLED_FIRST, STALLED_MAX.min(resync.max(STALLED_FIRST)));
            let changed = report.is_some_and(|report| report.done().next().is_some());
            return if changed { next.min(jittered(AFTER_CHANGE, 0.1)) } else { next };
        }
        if status::rotates(status) || status::is_true(status, ConditionType::Reconciling) {
            return self.failed(uid, FIRST, PASSING_MAX);
        }
        self.forget(uid);
        let changed = report.is_some_and(|report| !report.steps.is_empty());
        let repeated = changed && status.ineffective_writes.iter().any(|repeat| repeat.count > 1);
        let soon = if repeated { AFTER_REPEAT } else { AFTER_CHANGE };
        jittered(if changed { resync.min(soon) } else { resync }, 0.1)
    }

    /// The time until the next reconcile after one that could not even write its status. A conflict with another writer
    /// is not a failure: an object that others write often does not back off.
    pub(super) fn broken(&self, uid: &str, problem: &Problem) -> Duration {
        if problem.class == Class::Conflict {
            return jittered(FIRST, 0.2);
        }
        self.failed(uid, FIRST, PASSING_MAX)
    }

    fn failed(&self, uid: &str, first: Duration, max: Duration) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(uid.to_owned()).or_default();
        *count += 1;
        let doubled = first.saturating_mul(1_u32.checked_shl(*count - 1).unwrap_or(u32::MAX));
        jittered(doubled.min(max), 0.2)
    }

    /// Forgets an object that is healthy, or was deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets all others.
    pub(super) fn forget_all_but(&self, uids: &HashSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }
}

/// The longest time until the next reconcile of an object in this state, without what becomes due with time.
pub fn longest(status: &BucketConnectionStatus, resync: Duration) -> Duration {
    if status::is_true(status, ConditionType::Stalled) {
        return STALLED_MAX.min(resync.max(STALLED_FIRST)).mul_f64(1.2);
    }
    let retries = status::rotates(status) || status::is_true(status, ConditionType::Reconciling);
    if retries { PASSING_MAX.mul_f64(1.2) } else { resync.mul_f64(1.1) }
}

fn jittered(time: Duration, share: f64) -> Duration {
    time.mul_f64(1.0 + share * (2.0 * fastrand::f64() - 1.0))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::execute::{Executed, Outcome};
    use crate::plan::{Action, Step};
    use crate::vocabulary::conditions::Reason;
    use crate::vocabulary::problem::Source;

    #[test]
    fn a_rotation_that_is_held_up_in_passing_goes_on_soon() {
        let (backoff, resync) = (Backoff::default(), Duration::from_secs(600));
        let held_up = |reason| {
            let (mut status, part) = (status(ConditionType::Ready), ConditionType::RotationComplete);
            status::set(&mut status.conditions, None, Timestamp::UNIX_EPOCH, part, Some(false), reason, "");
            backoff.next("a", &status, None, resync)
        };
        assert!(within(held_up(Reason::AWSUnavailable), 1, 0.2));
        assert!(within(held_up(Reason::Throttled), 2, 0.2));
        assert!(within(held_up(Reason::AccessDenied), 600, 0.1), "a person has to act first");
        assert!(within(held_up(Reason::Overlapping), 600, 0.1));
    }

    fn status(kind: ConditionType) -> BucketConnectionStatus {
        let mut status = BucketConnectionStatus::default();
        status::set(&mut status.conditions, None, Timestamp::UNIX_EPOCH, kind, Some(true), Reason::Progressing, "");
        status
    }

    fn executed(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
        let step = Step::new(ConditionType::UserReady, Action::DeleteUser, Vec::new());
        Report { steps: outcomes.into_iter().map(|outcome| Executed { step: step.clone(), outcome }).collect() }
    }

    fn within(time: Duration, of: u64, share: f64) -> bool {
        let of = Duration::from_secs(of);
        time >= of.mul_f64(1.0 - share) && time <= of.mul_f64(1.0 + share)
    }

    #[test]
    fn trouble_backs_off_per_object_and_is_forgotten() {
        let (backoff, resync) = (Backoff::default(), Duration::from_secs(600));
        let passing = status(ConditionType::Reconciling);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(within(backoff.next("a", &passing, None, resync), expected, 0.2), "{expected}");
            assert!(backoff.next("long", &passing, None, resync) <= longest(&passing, resync));
        }
        assert!(within(backoff.next("b", &passing, None, resync), 1, 0.2), "one object's trouble is not another's");
        assert!(within(backoff.next("a", &status(ConditionType::Ready), None, resync), 600, 0.1));
        assert!(within(backoff.next("a", &passing, None, resync), 1, 0.2));
    }

    #[test]
    fn whoever_writes_first_does_not_make_it_wait_longer() {
        let backoff = Backoff::default();
        let of = |class| Problem::at(Source::Kubernetes, class, "patch bucketconnections/status", "", "");
        for _ in 0..9 {
            assert!(within(backoff.broken("a", &of(Class::Conflict)), 1, 0.2));
        }
        for expected in [1, 2, 4] {
            assert!(within(backoff.broken("a", &of(Class::Unavailable)), expected, 0.2));
        }
    }

    #[test]
    fn what_a_person_must_mend_is_tried_slowly() {
        let (backoff, resync) = (Backoff::default(), Duration::from_secs(600));
        let stalled = status(ConditionType::Stalled);
        for expected in [15, 30, 60, 120, 240, 480, 600, 600] {
            assert!(within(backoff.next("a", &stalled, None, resync), expected, 0.2), "{expected}");
        }
        // A change that was made despite the failure is read soon.
        let report = executed([Outcome::Skipped, Outcome::DONE]);
        assert!(within(backoff.next("a", &stalled, Some(&report), resync), 60, 0.1));
    }

    #[test]
    fn a_change_is_looked_at_soon() {
        let report = executed([Outcome::DONE]);
        let ready = status(ConditionType::Ready);
        let backoff = Backoff::default();
        assert!(within(backoff.next("a", &ready, Some(&report), Duration::from_secs(600)), 60, 0.1));
        assert!(within(backoff.next("a", &ready, Some(&report), Duration::from_secs(20)), 20, 0.1));
    }
}
