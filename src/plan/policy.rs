//! The part of a plan for the IAM policy: inline or managed, and the change from one to the other.

use serde_json::{Value, json};

use super::{Action, Planner, Step, of_earlier_namespace};
use crate::api::{ManagementMode, PolicyType};
use crate::desired::{Desired, DesiredPolicy, names};
use crate::keys::Owners;
use crate::observed::{ManagedPolicy, Observed, Ownership};
use crate::settings::tags::Tags;
use crate::settings::{FieldDiff, Reading};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::narrowing::Loss;

const PART: ConditionType = ConditionType::PolicyInSync;
/// Versions that a managed policy may have (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const MAX_VERSIONS: usize = 5;

/// Plans the policy; returns the steps after which the user has its permissions.
pub(super) fn plan(
    planner: &mut Planner<'_>,
    desired: &Desired,
    observed: &Observed,
    new_user: bool,
    base: &[usize],
) -> Vec<usize> {
    let first = planner.plan.steps.len();
    let mut steps = match desired.policy.kind {
        PolicyType::Inline => inline(planner, desired, observed, new_user, base),
        PolicyType::Managed => managed(planner, desired, observed, new_user, base),
    };
    if withheld(planner, desired, observed, first) {
        steps.clear();
    }
    if let Reading::Unreadable(problem) = &observed.versioning {
        planner.unreadable(PART, problem);
    }
    remove_earlier(planner, desired, observed, !new_user, &steps);
    steps
}

/// Removes the steps from `first` on if they would give permissions to an unaccounted key; returns whether they did.
fn withheld(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, first: usize) -> bool {
    let unknown = Owners::of(planner.remembered, observed).strangers(&observed.keys);
    let grants = |step: &Step| {
        let written = matches!(step.action, Action::PutInlinePolicy { .. } | Action::CreatePolicy { .. });
        written || matches!(step.action, Action::UpdatePolicy { .. } | Action::AttachPolicy { .. })
    };
    let enforced = desired.management.of("policy") == ManagementMode::Enforce;
    if planner.frozen || unknown.is_empty() || !enforced || !planner.plan.steps[first..].iter().any(grants) {
        return false;
    }
    planner.plan.steps.truncate(first);
    let message = format!(
        "IAM user {user} has active access keys that this operator did not issue ({}), and they would get the permissions of the policy, so the operator does not write it; delete them (aws iam delete-access-key --user-name {user} --access-key-id ...), or make them Inactive",
        unknown.join(", "),
        user = desired.user.name,
    );
    planner.stall(PART, Reason::ForeignAccessKeys, message);
    // For a user that was found by its tag alone, the tag is all that is known.
    planner.frozen |= planner.remembered.user.is_none();
    true
}

fn inline(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, new_user: bool, base: &[usize]) -> Vec<usize> {
    let DesiredPolicy { name, document, adopt, .. } = &desired.policy;
    let whole = || (vec![FieldDiff::new("policy", None, Some(document.to_json()))], Vec::new());
    let (diffs, losses) = match &observed.inline_policy {
        _ if new_user => whole(),
        Reading::Unset => whole(),
        Reading::NotRead => return Vec::new(),
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            return Vec::new();
        }
        Reading::Set(live) => {
            let ours = owns_inline(planner, desired, live);
            if !(ours || *adopt || planner.plan.hands_off) {
                let message = format!(
                    "IAM user {} has an inline policy {name} that this BucketConnection did not write: the operator does not change it; choose another policy.name, or set policy.adopt: true to adopt it",
                    desired.user.name
                );
                planner.freeze(PART, Reason::PolicyNotOwned, message);
                return Vec::new();
            }
            if !ours {
                planner.adopts.push(PART);
            }
            if document.same_as(live) {
                return Vec::new();
            }
            (document.diffs("policy", live), document.losses(live))
        }
    };
    let action = Action::PutInlinePolicy { name: name.clone(), document: document.clone() };
    write(planner, action, diffs, losses, base).into_iter().collect()
}

fn write(planner: &mut Planner<'_>, action: Action, diffs: Vec<FieldDiff>, losses: Vec<Loss>, base: &[usize]) -> Option<usize> {
    let step = planner.write(PART, action, diffs, base)?;
    planner.plan.steps[step].losses = losses;
    Some(step)
}

/// Whether the inline policy with the desired name is managed: it has the operator's default name, or the status
/// records that the operator wrote it. A connection that was applied again, without recorded state, recognizes its
/// policy by the document.
pub(super) fn owns_inline(planner: &Planner<'_>, desired: &Desired, live: &Value) -> bool {
    let found_again = planner.remembered.user.is_none() && desired.policy.document.same_as(live);
    desired.policy.name == names::INLINE_POLICY || planner.remembered.policy(desired).is_some() || found_again
}

fn managed(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, new_user: bool, base: &[usize]) -> Vec<usize> {
    let policy = &desired.policy;
    let document = policy.document.clone();
    let mut steps = Vec::new();
    match &observed.managed_policy {
        Reading::NotRead if planner.remembered.seen => {}
        Reading::NotRead | Reading::Unset => {
            let diff = FieldDiff::new("policy", None, Some(document.to_json()));
            steps.push(planner.step(PART, Action::CreatePolicy { document, tags: desired.marks() }, vec![diff], base));
        }
        Reading::Unreadable(problem) => planner.unreadable(PART, problem),
        Reading::Set(live) => {
            let ownership = live.tags.as_ref().map(|tags| Ownership::of(tags, desired));
            let ours = owned(planner, desired, live);
            let left = |why: &str| {
                format!("managed policy {} {why}: the operator does not change it; choose another policy.name", policy.name)
            };
            if let (Some(Ownership::Foreign(owner)), false) = (&ownership, ours) {
                let message = left(&format!("belongs to {}", desired.whose(owner)));
                planner.freeze_foreign(PART, Reason::PolicyNotOwned, message);
                return steps;
            }
            if let (Some(Ownership::EarlierNamespace), false) = (&ownership, ours) {
                let message = of_earlier_namespace(&format!("managed policy {}", policy.name));
                planner.freeze_foreign(PART, Reason::PolicyNotOwned, message);
                return steps;
            }
            if !(ours || policy.adopt || planner.plan.hands_off) {
                let message =
                    left("exists and was not created by this BucketConnection") + ", or set policy.adopt: true to adopt it";
                planner.freeze(PART, Reason::PolicyNotOwned, message);
                return steps;
            }
            if !ours {
                planner.adopts.push(PART);
            }
            steps.extend(mark(planner, desired, live, ours, base));
            if !document.same_as(&live.document) {
                let (diffs, losses) = (document.diffs("policy", &live.document), document.losses(&live.document));
                let full = live.other_versions.len() + 1 >= MAX_VERSIONS;
                let prune = live.other_versions.first().filter(|_| full).cloned();
                steps.extend(write(planner, Action::UpdatePolicy { document, prune }, diffs, losses, base));
            }
        }
    }
    let attached = match &observed.attached {
        _ if new_user => false,
        Reading::Set(arns) => arns.contains(&policy.arn),
        Reading::Unset => false,
        Reading::NotRead => true,
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

/// Marks the policy as managed, if its tags were read and do not say so, or name another namespace.
fn mark(planner: &mut Planner<'_>, desired: &Desired, live: &ManagedPolicy, ours: bool, base: &[usize]) -> Option<usize> {
    let tags = live.tags.clone().or_else(|| (!ours).then(Tags::new))?;
    let set: Tags = desired.marks().into_iter().filter(|(key, value)| tags.get(key) != Some(value)).collect();
    let diff = |(key, value): (&String, &String)| {
        FieldDiff::new(format!("policy.tags[{key}]"), tags.get(key).map(|live| json!(live)), Some(json!(value)))
    };
    let diffs: Vec<_> = set.iter().map(diff).collect();
    let action = Action::TagPolicy { arn: desired.policy.arn.clone(), set, remove: Vec::new() };
    (!diffs.is_empty()).then(|| planner.step(PART, action, diffs, base))
}

/// Withdraws the user's permissions if the bucket is no longer managed. They are written again once it is.
pub(super) fn withdraw(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) {
    let ours = matches!(&observed.user, Reading::Set(user) if super::user::owned(planner, desired, user));
    let enforced = desired.management.of("policy") == ManagementMode::Enforce;
    if !(ours && enforced) {
        return;
    }
    // The spec may have changed while the permissions are still those of the previous one.
    remove_earlier(planner, desired, observed, true, &[]);
    let action = match (&observed.inline_policy, &observed.managed_policy) {
        (Reading::Set(live), _) if owns_inline(planner, desired, live) => {
            Action::DeleteInlinePolicy { name: desired.policy.name.clone() }
        }
        (_, Reading::Set(live)) if owned(planner, desired, live) => Action::RemovePolicy { arn: desired.policy.arn.clone() },
        _ => return,
    };
    let diff = FieldDiff::new("policy", Some(json!("present")), None);
    let step = planner.step(PART, action, vec![diff], &[]);
    planner.plan.steps[step].drift = false;
}

/// Whether the policy is managed: by its tags, or without tags by the id that the status records.
pub(super) fn owned(planner: &Planner<'_>, desired: &Desired, policy: &ManagedPolicy) -> bool {
    match policy.tags.as_ref().map(|tags| Ownership::of(tags, desired)) {
        Some(Ownership::Ours) => true,
        None | Some(Ownership::Untagged | Ownership::EarlierNamespace) => {
            planner.remembered.owns_policy(&desired.policy.arn, policy.id.as_ref())
        }
        Some(Ownership::Foreign(_)) => false,
    }
}

/// Deletes policies of earlier specs once the new one is in place: the user is never without permissions in between. A
/// managed policy is deleted only if its tag says that it is managed; an inline one because the status names only those
/// that the operator wrote.
pub(super) fn remove_earlier(
    planner: &mut Planner<'_>,
    desired: &Desired,
    observed: &Observed,
    user: bool,
    after: &[usize],
) -> Vec<usize> {
    let remembered = planner.remembered;
    let mut steps = Vec::new();
    for earlier in remembered.earlier_policies(desired) {
        let action = match &earlier.arn {
            None if user => Action::DeleteInlinePolicy { name: earlier.name.clone() },
            None => continue,
            Some(arn) => match observed.earlier_policies.get(arn) {
                // Tags written by earlier versions name no namespace.
                Some(Reading::Set(tags))
                    if matches!(Ownership::of(tags, desired), Ownership::Ours | Ownership::EarlierNamespace) =>
                {
                    Action::RemovePolicy { arn: arn.clone() }
                }
                Some(Reading::Unreadable(problem)) => {
                    planner.unreadable(PART, problem);
                    continue;
                }
                _ => continue,
            },
        };
        let diff = FieldDiff::new(format!("policy({})", earlier.name), Some(json!("present")), None);
        let step = planner.step(PART, action, vec![diff], after);
        // It was managed until the spec changed.
        planner.plan.steps[step].drift = false;
        steps.push(step);
    }
    steps
}
