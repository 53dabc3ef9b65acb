//! What the status reports about a rotation, and when something becomes due with time.

use jiff::{SignedDuration, Timestamp};

use super::credentials::LATE_SECONDS;
use super::parts::undone_step;
use super::verdict::Verdict;
use super::{Checked, Reconcile};
use crate::api::{BucketConnectionStatus, CredentialsStatus, PreviousKey, ROTATE_AT};
use crate::settings::Reading;
use crate::vocabulary::conditions::{ConditionType, Reason};

/// The rotation in the status, if there is anything to report.
pub(super) fn rotation(status: &BucketConnectionStatus, reconcile: &Reconcile<'_>, check: &Checked<'_>) -> Option<Verdict> {
    const PART: ConditionType = ConditionType::RotationComplete;
    let credentials = status.memory.credentials.as_ref()?;
    let told = |reason, message: String| Verdict { holds: Some(false), reason, message, stalled: false, transient: false };
    if let Some(blocker) = check.plan.blockers.iter().find(|blocker| blocker.part == PART) {
        return Some(told(blocker.reason, blocker.message.clone()));
    }
    if let Some(verdict) = undone_step(check, PART) {
        return Some(Verdict { holds: Some(false), ..verdict });
    }
    if credentials.pending.is_some() {
        return Some(told(Reason::Rotating, "the pending access key is being issued and verified".to_owned()));
    }
    if let Some(previous) = &credentials.previous {
        return Some(told_of(previous, credentials, reconcile, check));
    }
    let known = super::condition(status, PART).is_some();
    (known || check.desired.rotation.interval.is_some()).then(|| {
        let next = credentials.next_rotation_at.as_ref().map(|at| format!("; the next rotation is due at {}", at.0));
        let message = format!("no rotation is in progress{}", next.unwrap_or_default());
        Verdict { holds: Some(true), reason: Reason::InSync, message, stalled: false, transient: false }
    })
}

fn told_of(previous: &PreviousKey, credentials: &CredentialsStatus, reconcile: &Reconcile<'_>, check: &Checked<'_>) -> Verdict {
    let id = &previous.access_key_id;
    let by = previous.used_since().map(|used| format!("used by {} in {} since it was replaced", used.service, used.region));
    let over = check.began >= previous.works_until.0;
    let known = check.remembered.credentials.previous.as_ref();
    let active = match &check.observed.keys {
        // Not a key that only this reconcile deactivated.
        Reading::Set(keys) if known.is_some_and(|known| known.inactive_since.is_some()) => {
            keys.iter().any(|key| key.id == *id && key.active)
        }
        _ => false,
    };
    let (reason, mut message) = match by {
        None if over && active => {
            let text = format!(
                "someone activated the previous access key {id} again, so it stays Active, and no other rotation begins; make it Inactive, or delete it"
            );
            (Reason::PreviousKeyInUse, text)
        }
        Some(by) if over => {
            let state =
                if active { "someone activated it again, so it stays Active" } else { "it is Inactive, and is not deleted" };
            let secret = credentials.secret_name.as_deref().unwrap_or_default();
            let text = format!(
                "the previous access key {id} was {by}: {state}; move that caller to the key in Secret {secret}, then delete {id} (the next rotation deletes it if it is Inactive)"
            );
            (Reason::PreviousKeyInUse, text)
        }
        by => {
            let by = by.map(|by| format!(", and was {by}")).unwrap_or_default();
            let state = match (over, &previous.inactive_since) {
                (false, _) => format!("works until {}", previous.works_until.0),
                (true, Some(_)) => "is Inactive and will be deleted".to_owned(),
                (true, None) => "is still Active, and will be deactivated".to_owned(),
            };
            (Reason::Overlapping, format!("the previous access key {id} {state}{by}"))
        }
    };
    let request = reconcile.object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ROTATE_AT));
    if request.is_some() && request != credentials.last_handled_rotate_at.as_ref() {
        message += "; another rotation was requested, and waits for it";
    }
    if let Reading::Unreadable(problem) = &check.observed.workloads {
        message += &format!("; no workload is restarted: {problem}");
    }
    Verdict { holds: Some(false), reason, message, stalled: false, transient: false }
}

/// Whether a rotation is in progress, or blocked by a transient failure.
pub fn rotates(status: &BucketConnectionStatus) -> bool {
    const TRANSIENT: [Reason; 9] = [
        Reason::Rotating,
        Reason::KeyPropagating,
        Reason::Progressing,
        Reason::Throttled,
        Reason::AWSUnavailable,
        Reason::KubernetesUnavailable,
        Reason::LeaseNotHeld,
        Reason::Conflict,
        Reason::Waiting,
    ];
    let complete = super::condition(status, ConditionType::RotationComplete).filter(|condition| condition.status == "False");
    let transient = complete.is_some_and(|told| TRANSIENT.iter().any(|reason| told.reason == reason.to_string()));
    transient || status.memory.credentials.as_ref().is_some_and(|credentials| credentials.pending.is_some())
}

/// How long after `now` something becomes due without any other change, for a reconcile that was planned for the time
/// `began`. What became due since then is due at once.
pub fn due(status: &BucketConnectionStatus, began: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let credentials = status.memory.credentials.as_ref()?;
    let previous = credentials.previous.as_ref();
    let times = [
        credentials.next_rotation_at.as_ref().map(|at| at.0),
        previous.map(|previous| previous.works_until.0),
        previous.and_then(PreviousKey::settled_at),
        credentials.revocation.as_ref().map(|revocation| revocation.ends_at.0),
        credentials.intent.as_ref().and_then(|intent| intent.until.0.checked_add(SignedDuration::from_secs(LATE_SECONDS)).ok()),
    ];
    let next = times.into_iter().flatten().filter(|at| *at > began).min()?;
    Some(next.duration_since(now).max(SignedDuration::ZERO))
}
