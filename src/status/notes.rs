//! Which results of a reconcile become Events: few, and only if something changed.

use super::condition;
use crate::api::BucketConnectionStatus;
use crate::desired::Desired;
use crate::execute::{Executed, Outcome, Report, StepOutput};
use crate::keys::Move;
use crate::plan::{Action, Plan};
use crate::render::why;
use crate::vocabulary::conditions::{ConditionType, Reason};

/// An Event.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// The reason.
    pub reason: Reason,
    /// The message.
    pub text: String,
}

/// What a step did to the access key.
fn about_key(plan: &Plan, Executed { step, outcome }: &Executed, desired: &Desired) -> Option<Note> {
    let (user, main) = (&desired.user.name, &desired.secret.name);
    let because = why(plan, step).map(|why| format!(", because {why}")).unwrap_or_default();
    let note = |reason, text| Some(Note { warning: false, reason, text });
    match (&step.action, outcome) {
        (Action::IssueKey { secret, .. }, Outcome::Done(StepOutput::Key { id, .. })) => {
            note(Reason::KeyIssued, format!("issued access key {id} of IAM user {user} into Secret {secret}{because}"))
        }
        (Action::WriteSecret { name, .. }, Outcome::Done(_)) if name == main && plan.cause(step).is_some_and(Move::rotates) => {
            note(
                Reason::KeyRotated,
                format!("wrote the new access key to Secret {main}; the previous key works until its overlap ends"),
            )
        }
        (Action::DeleteKey { id }, Outcome::Done(_)) => {
            note(Reason::KeyDeleted, format!("deleted access key {id} of IAM user {user}{because}"))
        }
        _ => None,
    }
}

/// The result of a requested revocation.
fn about_revocation(before: &BucketConnectionStatus, after: &BucketConnectionStatus) -> Option<Note> {
    let told = |status| condition(status, ConditionType::RevocationComplete).map(|c| (c.status.clone(), c.reason.clone()));
    let handled = |status: &BucketConnectionStatus| status.memory.credentials.clone()?.last_handled_revoke_at;
    let now = condition(after, ConditionType::RevocationComplete)?;
    let again = now.status == "True" && handled(before) != handled(after);
    let reason = now.reason.parse().ok()?;
    (again || told(before) != told(after)).then(|| Note { warning: true, reason, text: now.message.clone() })
}

/// The Events of a reconcile that turned `before` into `after`.
pub fn notes(
    before: &BucketConnectionStatus,
    after: &BucketConnectionStatus,
    done: Option<(&Desired, &Plan, &Report)>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some((desired, plan, report)) = done {
        let reverted = report.done().filter(|step| step.drift).flat_map(|step| &step.diffs);
        let reverted: Vec<_> = reverted.map(|diff| diff.path.as_str()).collect();
        if !reverted.is_empty() {
            let text = format!("reverted drift: {}", reverted.join(", "));
            notes.push(Note { warning: true, reason: Reason::Reverted, text });
        }
        notes.extend(report.steps.iter().filter_map(|executed| about_key(plan, executed, desired)));
    }
    notes.extend(about_revocation(before, after));
    let of = |status: &BucketConnectionStatus, kind| {
        condition(status, kind).map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    for (kind, told) in [(ConditionType::Stalled, "True"), (ConditionType::Ready, "True")] {
        let (old, new) = (of(before, kind), of(after, kind));
        let Some((status, reason, text)) = new.clone() else { continue };
        let changed = old.as_ref().map(|(status, reason, _)| (status, reason)) != new.as_ref().map(|(s, r, _)| (s, r));
        if status == told && changed {
            let known = reason.parse::<Reason>().ok();
            notes.extend(known.map(|reason| Note { warning: kind == ConditionType::Stalled, reason, text }));
        }
    }
    notes
}
