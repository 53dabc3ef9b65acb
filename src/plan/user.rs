//! The IAM user's part of a plan.

use serde_json::json;

use super::{Action, Planner, tag_changes, whole};
use crate::api::conditions::{ConditionType, Reason};
use crate::desired::Desired;
use crate::observed::{Observed, Ownership, User};
use crate::settings::{FieldDiff, Reading};

const PART: ConditionType = ConditionType::UserReady;

/// Plans the user; returns the step that creates it, if there is one.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Option<usize> {
    let name = &desired.user.name;
    match &observed.user {
        Reading::NotLooked if planner.remembered.seen => None,
        Reading::NotLooked | Reading::Unset => {
            let tags = desired.user.tags.ours.clone();
            Some(planner.step(PART, Action::CreateUser { tags }, whole("user", false), &[]))
        }
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            None
        }
        Reading::Set(user) if !(owned(planner, desired, user) || may_adopt(desired, user) || planner.plan.hands_off) => {
            let whose = match Ownership::of(&user.tags, desired) {
                Ownership::Foreign(owner) => format!("belongs to another BucketConnection ({owner})"),
                _ => "exists and was not created by this BucketConnection".to_owned(),
            };
            let untagged = Ownership::of(&user.tags, desired) == Ownership::Untagged;
            let or = if untagged { ", or set user.adopt: true to take it over" } else { "" };
            let message =
                format!("IAM user {name} {whose}: it is left alone; create a BucketConnection with another user.name{or}");
            planner.freeze(PART, Reason::UserNotOwned, message);
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
            }
            // Omitted or not: a boundary is never taken away.
            if let Some(arn) = &desired.user.boundary
                && user.boundary.as_ref() != Some(arn)
            {
                let diff = FieldDiff::new("user.permissionsBoundary", user.boundary.as_ref().map(|b| json!(b)), Some(json!(arn)));
                planner.write(PART, Action::BoundUser { arn: arn.clone() }, vec![diff], &[]);
            }
            let diffs = desired.user.tags.diffs("user.tags", &user.tags);
            if !diffs.is_empty() {
                let (set, remove) = tag_changes(&user.tags, &desired.user.tags.merged(&user.tags));
                planner.write(PART, Action::TagUser { set, remove }, diffs, &[]);
            }
            None
        }
    }
}

/// Nobody's, and to be taken over.
fn may_adopt(desired: &Desired, user: &User) -> bool {
    desired.user.adopt && Ownership::of(&user.tags, desired) == Ownership::Untagged
}

/// Ours by its tag; without a tag, by the id that AWS never gives twice.
pub(super) fn owned(planner: &Planner<'_>, desired: &Desired, user: &User) -> bool {
    match Ownership::of(&user.tags, desired) {
        Ownership::Ours => true,
        Ownership::Untagged => planner.remembered.user.as_ref().is_some_and(|known| known.id == user.id),
        Ownership::Foreign(_) => false,
    }
}
