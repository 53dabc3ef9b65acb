//! When the next reconcile begins, as far as the status shows it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::api::{BucketConnection, BucketConnectionStatus, PreviousKey};
use crate::render::age::{duration, when};

/// What the controller does with an object in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The longest time between two reconciles.
    pub longest: SignedDuration,
    /// How often it records a reconcile that changed nothing.
    pub heartbeat: SignedDuration,
}

/// The next reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// It begins at this time at the latest. Omitted: not scheduled, or overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_the_latest: Option<Timestamp>,
    /// Whether a reconcile should have been recorded by now.
    pub overdue: bool,
    /// The same in words.
    pub text: String,
}

/// The next reconcile of `object`. Reconciles that change nothing are recorded only once in a heartbeat, so the last
/// one may be later than the status says.
pub(super) fn next(object: &BucketConnection, status: &BucketConnectionStatus, schedule: &Schedule, now: Timestamp) -> Next {
    let none = |text: &str| Next { at_the_latest: None, overdue: false, text: text.to_owned() };
    if object.spec.suspend && object.metadata.deletion_timestamp.is_none() {
        return none("none while spec.suspend is true");
    }
    let Some(last) = status.last_checked_at.as_ref().map(|at| at.0) else {
        // An object that the operator cannot read has a status without this time.
        let seen = status.observed_generation.is_some();
        return none(if seen { "when the object changes" } else { "as soon as the operator sees the object" });
    };
    let Schedule { longest, heartbeat } = *schedule;
    if now.duration_since(last) > heartbeat + longest + longest {
        let text = format!(
            "overdue: no reconcile was recorded for {}; check whether the operator is running: bucketconnection doctor",
            duration(now.duration_since(last))
        );
        return Next { at_the_latest: None, overdue: true, text };
    }
    let at = [last, now].into_iter().filter_map(|from| from.checked_add(longest).ok()).find(|at| *at > now);
    let at = due(status).filter(|at| *at > now).chain(at).min();
    let at = at.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    Next { at_the_latest: at, overdue: false, text: at.map_or_else(String::new, |at| format!("at the latest {}", when(at, now))) }
}

/// Times at which something becomes due.
fn due(status: &BucketConnectionStatus) -> impl Iterator<Item = Timestamp> {
    let credentials = status.memory.credentials.as_ref();
    let previous = credentials.and_then(|credentials| credentials.previous.as_ref());
    let times = [
        credentials.and_then(|credentials| credentials.next_rotation_at.as_ref()).map(|at| at.0),
        previous.map(|previous| previous.works_until.0),
        previous.and_then(PreviousKey::settled_at),
        credentials.and_then(|credentials| credentials.revocation.as_ref()).map(|revocation| revocation.ends_at.0),
    ];
    times.into_iter().flatten()
}
