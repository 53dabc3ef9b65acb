//! The part of a plan for the IAM user.

use serde_json::json;

use super::{Action, Planner, of_earlier_namespace, presence_diff, tag_changes};
use crate::api::PolicyType;
use crate::desired::Desired;
use crate::observed::{Observed, Ownership, User};
use crate::settings::{FieldDiff, Reading};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::join_names;

const PART: ConditionType = ConditionType::UserReady;

/// Plans the user; returns the step that creates it, if there is one.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Option<usize> {
    let name = &desired.user.name;
    match &observed.user {
        Reading::NotRead if planner.remembered.seen => None,
        Reading::NotRead | Reading::Unset => {
            let tags = desired.user.tags.ours.clone();
            Some(planner.step(PART, Action::CreateUser { tags }, presence_diff("user", false), &[]))
        }
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            None
        }
        Reading::Set(user) if !(owned(planner, desired, user) || may_look(planner, desired, user)) => {
            let left = |whose: &str, or: &str| {
                format!(
                    "IAM user {name} {whose}: the operator does not change it; create a BucketConnection with another user.name{or}"
                )
            };
            match Ownership::of(&user.tags, desired) {
                Ownership::Foreign(owner) => {
                    let message = left(&format!("belongs to {}", desired.whose(&owner)), "");
                    planner.freeze_foreign(PART, Reason::UserNotOwned, message);
                }
                Ownership::EarlierNamespace => {
                    planner.freeze_foreign(PART, Reason::UserNotOwned, of_earlier_namespace(&format!("IAM user {name}")));
                }
                Ownership::Ours | Ownership::Untagged => {
                    let or = ", or set user.adopt: true to adopt it";
                    let message = left("exists and was not created by this BucketConnection", or);
                    planner.freeze(PART, Reason::UserNotOwned, message);
                }
            }
            None
        }
        Reading::Set(user) if user.path != desired.user.path && !planner.plan.hands_off => {
            let message = if owned(planner, desired, user) {
                format!(
                    "IAM user {name} is under the path {}, not {}: something moved it; move it back (aws iam update-user --new-path)",
                    user.path, desired.user.path
                )
            } else {
                format!(
                    "IAM user {name} is under the path {path}, not {}: to adopt it as it is, create this BucketConnection again with user.path: {path}, which cannot be changed later",
                    desired.user.path,
                    path = user.path
                )
            };
            planner.freeze(PART, Reason::UserNotOwned, message);
            None
        }
        Reading::Set(user) => {
            if !owned(planner, desired, user) {
                planner.adopts.push(PART);
                refuse_rights_of_its_own(planner, desired, observed);
            }
            bound(planner, desired, user);
            let diffs = desired.user.tags.diffs("user.tags", &user.tags);
            if !diffs.is_empty() {
                let (set, remove) = tag_changes(&user.tags, &desired.user.tags.merged(&user.tags));
                planner.write(PART, Action::TagUser { set, remove }, diffs, &[]);
            }
            None
        }
    }
}

/// A user that is adopted must have no permissions and no keys of its own. Otherwise its new key would have those
/// permissions too, and each old key would get the permissions of the connection.
fn refuse_rights_of_its_own(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) {
    if !observed.takes_user(desired, planner.remembered) || planner.plan.hands_off {
        return;
    }
    let (name, policy) = (&desired.user.name, &desired.policy);
    let mut own = Vec::new();
    match (&observed.rights, &observed.attached, &observed.keys) {
        (Reading::Unreadable(problem), ..) | (_, Reading::Unreadable(problem), _) | (.., Reading::Unreadable(problem)) => {
            planner.unreadable(PART, problem);
        }
        (rights, attached, keys) => {
            let rights = rights.set().cloned().unwrap_or_default();
            let inline = rights.inline.into_iter().filter(|name| policy.kind != PolicyType::Inline || *name != policy.name);
            own.extend(inline.map(|name| format!("inline policy {name}")));
            let attached = attached.set().into_iter().flatten();
            own.extend(attached.filter(|arn| **arn != policy.arn).map(|arn| format!("policy {arn}")));
            own.extend(rights.groups.into_iter().map(|group| format!("group {group}")));
            own.extend(keys.set().into_iter().flatten().map(|key| format!("access key {}", key.id)));
        }
    }
    if !own.is_empty() {
        let message = format!(
            "IAM user {name} has permissions or access keys of its own ({}), so it is not adopted; remove them, or create a BucketConnection with another user.name",
            join_names(&own)
        );
        planner.freeze(PART, Reason::UserNotOwned, message);
    }
}

/// Sets the permissions boundary of a managed user. The operator never removes a boundary, and never replaces one that
/// someone else set: it may be what restricts the user.
fn bound(planner: &mut Planner<'_>, desired: &Desired, user: &User) {
    let Some(arn) = desired.user.boundary.as_ref().filter(|arn| user.boundary.as_ref() != Some(arn)) else { return };
    let set_by_us = |arn: &String| planner.remembered.user.as_ref().is_some_and(|user| user.permissions_boundaries.contains(arn));
    if let Some(there) = user.boundary.as_ref().filter(|there| !(set_by_us(there) || planner.plan.hands_off)) {
        let message = format!(
            "IAM user {} has the permissions boundary {there}, which this BucketConnection did not set, so the operator does not replace it with {arn}; set user.permissionsBoundary to the existing one, or change it in IAM (aws iam put-user-permissions-boundary)",
            desired.user.name
        );
        planner.freeze(PART, Reason::BoundaryNotOwned, message);
        return;
    }
    let diff = FieldDiff::new("user.permissionsBoundary", user.boundary.as_ref().map(|b| json!(b)), Some(json!(arn)));
    planner.write(PART, Action::SetPermissionsBoundary { arn: arn.clone() }, vec![diff], &[]);
}

/// The user has no owner, and is to be adopted or only observed.
fn may_look(planner: &Planner<'_>, desired: &Desired, user: &User) -> bool {
    (desired.user.adopt || planner.plan.hands_off) && Ownership::of(&user.tags, desired) == Ownership::Untagged
}

/// Whether the user is managed: by its tags, or without tags by its id, which AWS never reuses.
pub(super) fn owned(planner: &Planner<'_>, desired: &Desired, user: &User) -> bool {
    match Ownership::of(&user.tags, desired) {
        Ownership::Ours => true,
        Ownership::Untagged | Ownership::EarlierNamespace => {
            planner.remembered.user.as_ref().is_some_and(|known| known.id == user.id)
        }
        Ownership::Foreign(_) => false,
    }
}
