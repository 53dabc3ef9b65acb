//! What a pass is worth telling in an Event: few, and only when something changed.

use super::condition;
use crate::api::BucketConnectionStatus;
use crate::api::conditions::{ConditionType, Reason};
use crate::desired::Desired;
use crate::execute::Report;
use crate::plan::{Action, Plan};
use crate::render::summary;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub text: String,
}

/// Notes about a pass that turned `before` into `after`.
pub fn notes(
    before: &BucketConnectionStatus,
    after: &BucketConnectionStatus,
    done: Option<(&Desired, &Plan, &Report)>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some((desired, plan, report)) = done {
        let steps = || plan.steps.iter().zip(&report.outcomes).filter(|(_, outcome)| outcome.is_done());
        let repaired: Vec<_> = steps().filter(|(s, _)| s.drift).flat_map(|(s, _)| &s.diffs).map(|d| d.path.as_str()).collect();
        if !repaired.is_empty() {
            let text = format!("changed by somebody else and put right: {}", repaired.join(", "));
            notes.push(Note { warning: true, reason: Reason::Repaired, text });
        }
        let issued = steps().filter(|(step, _)| matches!(step.action, Action::IssueKey { .. }));
        notes.extend(issued.map(|(step, _)| Note { warning: false, reason: Reason::KeyIssued, text: summary(step, desired) }));
    }
    let of = |status: &BucketConnectionStatus, kind| {
        condition(status, kind).map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    for (kind, told) in [(ConditionType::Stalled, "True"), (ConditionType::Ready, "True")] {
        let (old, new) = (of(before, kind), of(after, kind));
        let Some((status, reason, text)) = new.clone() else { continue };
        let changed = old.as_ref().map(|(status, reason, _)| (status, reason)) != new.as_ref().map(|(s, r, _)| (s, r));
        if status == told && changed {
            let known = Reason::ALL.into_iter().find(|known| known.to_string() == reason);
            notes.extend(known.map(|reason| Note { warning: kind == ConditionType::Stalled, reason, text }));
        }
    }
    notes
}
