//! The IAM policy's part of a plan: inline or managed, and the way from one to the other.

use serde_json::json;

use super::{Action, Planner, whole};
use crate::api::PolicyType;
use crate::api::conditions::{ConditionType, Reason};
use crate::desired::{Desired, names};
use crate::observed::{Observed, Ownership};
use crate::settings::tags::Tags;
use crate::settings::{FieldDiff, Reading};

const PART: ConditionType = ConditionType::PolicyInSync;
/// Versions that a managed policy may have (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const MAX_VERSIONS: usize = 5;

/// Plans the policy; returns the steps after which the user has its rights.
pub(super) fn plan(
    planner: &mut Planner<'_>,
    desired: &Desired,
    observed: &Observed,
    new_user: bool,
    base: &[usize],
) -> Vec<usize> {
    let steps = match desired.policy.kind {
        PolicyType::Inline => inline(planner, desired, observed, new_user, base),
        PolicyType::Managed => managed(planner, desired, observed, new_user, base),
    };
    remove_earlier(planner, desired, new_user, &steps);
    steps
}

fn inline(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, new_user: bool, base: &[usize]) -> Vec<usize> {
    let document = &desired.policy.document;
    let live = match &observed.inline_policy {
        Reading::Unreadable(problem) if !new_user => {
            planner.unreadable(PART, problem);
            return Vec::new();
        }
        Reading::Set(live) if !new_user && document.same_as(live) => return Vec::new(),
        Reading::NotLooked if !new_user => return Vec::new(),
        Reading::Set(live) if !new_user => Some(live.clone()),
        _ => None,
    };
    let action = Action::PutInlinePolicy { name: desired.policy.name.clone(), document: document.clone() };
    vec![planner.step(PART, action, vec![FieldDiff::new("policy", live, Some(document.to_json()))], base)]
}

fn managed(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, new_user: bool, base: &[usize]) -> Vec<usize> {
    let policy = &desired.policy;
    let document = policy.document.clone();
    let mut steps = Vec::new();
    match &observed.managed_policy {
        Reading::NotLooked if planner.remembered.seen => {}
        Reading::NotLooked | Reading::Unset => {
            let diff = FieldDiff::new("policy", None, Some(document.to_json()));
            let tags = Tags::from([(names::OWNER_TAG.to_owned(), desired.owner.clone())]);
            steps.push(planner.step(PART, Action::CreatePolicy { document, tags }, vec![diff], base));
        }
        Reading::Unreadable(problem) => planner.unreadable(PART, problem),
        Reading::Set(live) => {
            let remembered = planner.remembered.policy.as_ref().and_then(|p| p.arn.as_ref()) == Some(&policy.arn);
            let ours = match live.tags.as_ref().map(|tags| Ownership::of(tags, desired)) {
                Some(Ownership::Ours) => true,
                None | Some(Ownership::Untagged) => remembered,
                Some(Ownership::Foreign(_)) => false,
            };
            if !ours {
                let message = format!(
                    "managed policy {} exists and was not created by this BucketConnection: it is left alone; choose another policy.name",
                    policy.name
                );
                planner.freeze(PART, Reason::PolicyNotOwned, message);
                return steps;
            }
            if !document.same_as(&live.document) {
                let diff = FieldDiff::new("policy", Some(live.document.clone()), Some(document.to_json()));
                let full = live.other_versions.len() + 1 >= MAX_VERSIONS;
                let prune = live.other_versions.first().filter(|_| full).cloned();
                steps.push(planner.step(PART, Action::UpdatePolicy { document, prune }, vec![diff], base));
            }
        }
    }
    let attached = match &observed.attached {
        _ if new_user => false,
        Reading::Set(arns) => arns.contains(&policy.arn),
        Reading::Unset => false,
        Reading::NotLooked => true,
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            true
        }
    };
    if !attached {
        let mut after = base.to_vec();
        after.extend(&steps);
        let diff = FieldDiff::new("policy.attachment", None, Some(json!(policy.arn)));
        steps.push(planner.step(PART, Action::AttachPolicy { arn: policy.arn.clone() }, vec![diff], &after));
    }
    steps
}

/// The policy of an earlier spec goes once the new one is in place: the user is never without rights in between.
fn remove_earlier(planner: &mut Planner<'_>, desired: &Desired, new_user: bool, granted: &[usize]) {
    let Some(earlier) = planner.remembered.policy.clone() else { return };
    let policy = &desired.policy;
    if earlier.kind == policy.kind && earlier.name == policy.name {
        return;
    }
    let action = match (earlier.kind, earlier.arn) {
        (PolicyType::Managed, Some(arn)) => Action::RemovePolicy { arn },
        (PolicyType::Inline, _) if !new_user => Action::DeleteInlinePolicy { name: earlier.name.clone() },
        _ => return,
    };
    let mut diffs = whole(&format!("policy({})", earlier.name), true);
    if let Some(diff) = diffs.first_mut() {
        diff.desired = None;
    }
    planner.step(PART, action, diffs, granted);
}
