//! What a reconcile adds to the metrics.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::api::{BucketConnection, BucketConnectionStatus};
use crate::execute::{Executed, Report};
use crate::keys::{Issue, Move, Why};
use crate::plan::{Action, Plan};
use crate::status;
use crate::telemetry::meters;
use crate::vocabulary::conditions::{ConditionType, find};

/// When specs changed that are not Ready yet.
#[derive(Default)]
pub(super) struct Changes(Mutex<HashMap<String, Change>>);

struct Change {
    generation: i64,
    /// When the spec of this generation was first seen; `None` if it was Ready since, or if that time is not known.
    at: Option<Timestamp>,
}

impl Changes {
    /// The watch shows this object.
    pub(super) fn seen(&self, object: &impl ResourceExt, now: Timestamp) {
        let generation = object.meta().generation.unwrap_or_default();
        let mut changes = self.lock();
        match changes.get_mut(&object.uid().unwrap_or_default()) {
            Some(change) if change.generation == generation => {}
            Some(change) => *change = Change { generation, at: Some(now) },
            None => {
                // Seen for the first time: only the time of the first spec is known.
                let created = object.creation_timestamp().map(|time| time.0);
                let at = created.filter(|_| generation == 1);
                changes.insert(object.uid().unwrap_or_default(), Change { generation, at });
            }
        }
    }

    /// The object is Ready as specified; returns how long that took, once for each change.
    fn ready(&self, object: &BucketConnection, now: Timestamp) -> Option<Duration> {
        let mut changes = self.lock();
        let change = changes.get_mut(&object.uid()?)?;
        let at = change.at.filter(|_| object.metadata.generation == Some(change.generation))?;
        change.at = None;
        now.duration_since(at).try_into().ok()
    }

    /// The object was deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Only these objects exist.
    pub(super) fn forget_all_but(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    /// How many objects it knows.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of a reconcile, as a label: what its conditions say.
pub(super) fn outcome(conditions: &[Condition]) -> &'static str {
    let is = |kind| find(conditions, kind).is_some_and(|condition| condition.status == "True");
    match (is(ConditionType::Ready), is(ConditionType::Stalled)) {
        (true, _) => "ready",
        (false, true) => "stalled",
        (false, false) => "not_ready",
    }
}

/// Counts a reconcile that ends with the status `after`.
pub(super) fn count(
    object: &BucketConnection,
    before: &BucketConnectionStatus,
    after: &BucketConnectionStatus,
    changes: &Changes,
    now: Timestamp,
) {
    meters().reconciled("BucketConnection", outcome(&after.conditions));
    let ready = |status| {
        let ready = status::condition(status, ConditionType::Ready);
        ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == object.metadata.generation)
    };
    if ready(after)
        && let Some(took) = changes.ready(object, now)
        && !ready(before)
    {
        meters().became_ready(took);
    }
}

/// Counts what a plan found and did.
pub(super) fn count_steps(plan: &Plan, report: &Report) {
    for Executed { step, outcome } in &report.steps {
        if step.drift {
            meters().drift(step.part, outcome.is_done());
        }
        if !outcome.is_done() {
            continue;
        }
        match step.action {
            Action::IssueKey { .. } => meters().key_issued(reason(plan.cause(step))),
            Action::DeleteKey { .. } => meters().key_deleted(),
            _ => {}
        }
    }
}

/// Why a key was issued, as a label.
fn reason(cause: Option<&Move>) -> &'static str {
    match cause {
        Some(Move::Issue(Issue { why: Why::NewUser, .. })) => "first",
        Some(Move::Issue(Issue { why: Why::Rotation(..), .. })) => "rotation",
        _ => "replacement",
    }
}
