//! The bucket's part of a plan.

use super::{Action, Blocker, Planner, whole};
use crate::api::ManagementMode;
use crate::api::conditions::{ConditionType, Reason};
use crate::desired::Desired;
use crate::observed::{Bucket, Observed, Ownership};
use crate::problem::Class;
use crate::settings::{self, SettingChange};

/// Plans the bucket and its settings; returns the step that makes it ours, by creating or by tagging it, if there is one.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Option<usize> {
    use ConditionType::{BucketReady, RegionMatched};
    let name = &desired.bucket.name;
    let remembered = planner.remembered.bucket_arn.as_ref() == Some(&desired.bucket.arn);
    match &observed.bucket {
        Bucket::NotLooked if planner.remembered.seen => None,
        Bucket::NotLooked | Bucket::Absent => {
            let tags = desired.bucket.settings.tags.as_ref().map(|tags| tags.ours.clone()).unwrap_or_default();
            let create = planner.step(BucketReady, Action::CreateBucket { tags }, whole("bucket", false), &[]);
            settings(planner, desired, desired.bucket.settings.on_new_bucket(), &[create]);
            Some(create)
        }
        Bucket::Elsewhere(region) => {
            let actual = region.as_deref().unwrap_or("another region");
            let message = format!(
                "bucket {name} is in {actual}, but spec.region says {}: a bucket never moves; create a BucketConnection with the right region, or choose another bucket.name",
                desired.region
            );
            planner.freeze(RegionMatched, Reason::RegionMismatch, message);
            None
        }
        Bucket::Unreadable(problem) => {
            if problem.class == Class::Denied {
                let message = format!(
                    "bucket {name} belongs to another AWS account, or the operator may not read it ({problem}); choose another bucket.name if it is not yours"
                );
                let blocker = Blocker { message, ..Blocker::unreadable(BucketReady, problem, &planner.place) };
                planner.plan.blockers.push(blocker);
            } else {
                planner.unreadable(BucketReady, problem);
            }
            // What we do not remember as ours may be anybody's: grant nothing on it.
            planner.frozen |= !remembered;
            None
        }
        Bucket::There(live) => {
            let tags = observed.bucket.tags().unwrap_or_default();
            match Ownership::of(&tags, desired) {
                Ownership::Foreign(owner) => planner.freeze_foreign(
                    BucketReady,
                    Reason::BucketNotOwned,
                    format!("bucket {name} belongs to {}: choose another bucket.name", desired.whose(&owner)),
                ),
                Ownership::Untagged if !(remembered || desired.bucket.adopt || planner.plan.hands_off) => planner.freeze(
                    BucketReady,
                    Reason::BucketNotOwned,
                    format!("bucket {name} exists and was not created by this BucketConnection: it is left alone; choose another bucket.name, or set bucket.adopt: true to take it over"),
                ),
                ownership => {
                    let (changes, unread) = desired.bucket.settings.changes(live);
                    let adopts = ownership == Ownership::Untagged && !remembered;
                    // Ours first: then nothing is granted on what is not, and a takeover that is broken off goes on.
                    let (marks, changes): (Vec<_>, Vec<_>) =
                        changes.into_iter().partition(|change| adopts && change.field == "bucket.tags");
                    let first = planner.plan.steps.len();
                    settings(planner, desired, marks, &[]);
                    let marked = (planner.plan.steps.len() > first).then_some(first);
                    if adopts {
                        planner.adopts.push(BucketReady);
                    }
                    settings(planner, desired, changes, &marked.into_iter().collect::<Vec<_>>());
                    for (field, part, problem) in unread {
                        planner.plan.open.insert(settings::short_name(field));
                        planner.unreadable(part, &problem);
                    }
                    return marked;
                }
            }
            None
        }
    }
}

fn settings(planner: &mut Planner<'_>, desired: &Desired, changes: Vec<SettingChange>, after: &[usize]) {
    for change in changes {
        let name = settings::short_name(change.field);
        let enforced = desired.management.of(name) == ManagementMode::Enforce;
        if let Some(text) = change.blocked {
            planner.stall(change.part, Reason::ForeignStatement, format!("{}: {text}", change.field));
            planner.plan.open.insert(name);
            continue;
        }
        // Putting back what was in force already is no loosening.
        if let Some(weakens) = change.weakens
            && enforced
            && !planner.wrote(name)
            && !desired.bucket.allow_weaker.iter().any(|allowed| allowed == name)
        {
            let message =
                format!("{}: {weakens}, so it is not done: add {name} to bucket.allowWeaker if that is meant", change.field);
            planner.stall(change.part, Reason::WouldWeaken, message);
            planner.plan.open.insert(name);
            continue;
        }
        let action = Action::WriteSetting { field: change.field, write: change.write };
        planner.write(change.part, action, change.diffs, after);
    }
}
