//! The part of a plan for the bucket and its settings.

use serde_json::json;

use super::{Action, Blocker, Planner, of_earlier_namespace, presence_diff};
use crate::api::ManagementMode;
use crate::desired::{Desired, names};
use crate::observed::{Bucket, Observed, Ownership};
use crate::settings::{self, Facts, FieldDiff, Reading, SettingChange, SettingId};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::{Class, Problem, join_names};

/// Plans the bucket and its settings; returns the step that makes it managed by creating or tagging it, if there is
/// one.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Option<usize> {
    use ConditionType::{BucketReady, RegionMatched};
    let name = &desired.bucket.name;
    let remembered = planner.remembered.bucket.as_ref().is_some_and(|known| known.arn == desired.bucket.arn);
    match &observed.bucket {
        Bucket::NotRead if planner.remembered.seen => None,
        Bucket::NotRead | Bucket::Absent => {
            let tags = desired.bucket.settings.tags.as_ref().map(|tags| tags.ours.clone()).unwrap_or_default();
            let new = settings::Live { tags: Reading::Set(tags.clone().into()), ..settings::Live::of_new_bucket() };
            let create = planner.step(BucketReady, Action::CreateBucket { tags }, presence_diff("bucket", false), &[]);
            // Nothing is read, so nothing can be unreadable.
            let (changes, _) = desired.bucket.settings.changes(&new);
            settings(planner, desired, changes, &[create]);
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
                    "bucket {name} belongs to another AWS account, or the operator is not allowed to read it ({problem}); choose another bucket.name if it is not yours"
                );
                let blocker = Blocker { message, ..Blocker::unreadable(BucketReady, problem, &planner.place) };
                planner.plan.blockers.push(blocker);
            } else {
                planner.unreadable(BucketReady, problem);
            }
            // A bucket that is not recorded as managed may be foreign: grant nothing on it.
            planner.frozen |= !remembered;
            None
        }
        Bucket::There(live) => there(planner, desired, observed, live),
    }
}

/// Plans an existing bucket: its owner and its settings; returns the step that marks it as managed, if there is one.
fn there(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, live: &settings::Live) -> Option<usize> {
    use ConditionType::BucketReady;
    let name = &desired.bucket.name;
    let known = identity(planner, desired, observed);
    let ownership = Ownership::of(&observed.bucket.tags().unwrap_or_default(), desired);
    let adopt = desired.bucket.adopt || planner.plan.hands_off;
    match (&ownership, &known) {
        (Ownership::Foreign(owner), _) => {
            let message = format!("bucket {name} belongs to {}: choose another bucket.name", desired.whose(owner));
            planner.freeze_foreign(BucketReady, Reason::BucketNotOwned, message);
            planner.withdraws = true;
            return None;
        }
        (Ownership::EarlierNamespace, Identity::Another | Identity::Unknown) => {
            let message = of_earlier_namespace(&format!("bucket {name}"));
            planner.freeze_foreign(BucketReady, Reason::BucketNotOwned, message);
            planner.withdraws = true;
            return None;
        }
        (Ownership::Untagged | Ownership::EarlierNamespace, Identity::Unclear(problem)) => {
            planner.unreadable(BucketReady, problem);
            planner.frozen = true;
            return None;
        }
        (Ownership::Untagged, Identity::Another) if !adopt => {
            let message = format!(
                "bucket {name} is not the one that this BucketConnection created: that one was deleted, and someone else created another one under its name. The operator changes nothing in it, and removes the permissions of the access key on it; choose another bucket.name, or set bucket.adopt: true to adopt it"
            );
            return not_ours(planner, known, message);
        }
        (Ownership::Untagged, Identity::Unknown | Identity::Undated) if !adopt => {
            let message = format!(
                "bucket {name} exists and was not created by this BucketConnection: the operator does not change it; choose another bucket.name, or set bucket.adopt: true to adopt it"
            );
            return not_ours(planner, known, message);
        }
        _ => {}
    }
    let same = matches!(known, Identity::Same);
    let adopts = ownership == Ownership::Untagged && !same;
    let (mut changes, mut unread) = desired.bucket.settings.changes(live);
    if adopt && (adopts || changes.iter().any(|change| !change.foreign.is_empty())) {
        (changes, unread) = desired.bucket.settings.adopting().changes(live);
        // Foreign parts with names that the spec lists are replaced only with approval, even in a managed bucket.
        planner.adopts.push(BucketReady);
    }
    if ownership == Ownership::Untagged && same {
        changes.iter_mut().for_each(mark_restored);
    }
    // Mark it first: then the operator grants nothing on an unmarked bucket, and an interrupted adoption continues.
    let (marks, changes): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| adopts && change.setting == SettingId::BucketTags);
    let (first, hands_off) = (planner.plan.steps.len(), planner.plan.hands_off);
    let marks = marks.into_iter().map(|change| if hands_off { change } else { marked_as_adopted(change) }).collect();
    settings(planner, desired, marks, &[]);
    let marked = (planner.plan.steps.len() > first).then_some(first);
    if adopts {
        planner.replaced = matches!(known, Identity::Another);
    }
    settings(planner, desired, changes, &marked.into_iter().collect::<Vec<_>>());
    for (setting, problem) in unread {
        planner.plan.open.insert(setting.name());
        planner.unreadable(setting.facts().part, &problem);
    }
    marked
}

/// Whether a bucket with the desired name is the bucket of the recorded state.
enum Identity<'a> {
    /// It has the creation date of the managed bucket.
    Same,
    /// It has another creation date.
    Another,
    /// The recorded state has no bucket with this name, or the creation date was not read.
    Unknown,
    /// The recorded state has it without a creation date: an older version of the operator recorded neither date nor
    /// namespace.
    Undated,
    /// The creation date could not be read.
    Unclear(&'a Problem),
}

fn identity<'a>(planner: &Planner<'_>, desired: &Desired, observed: &'a Observed) -> Identity<'a> {
    let Some(known) = planner.remembered.bucket.as_ref().filter(|known| known.arn == desired.bucket.arn) else {
        return Identity::Unknown;
    };
    match (&observed.bucket_created, &known.created) {
        (Reading::Unreadable(problem), _) => Identity::Unclear(problem),
        (Reading::Set(at), Some(created)) if created.fits(*at) => Identity::Same,
        (Reading::Set(_) | Reading::Unset, Some(_)) => Identity::Another,
        (_, None) => Identity::Undated,
        (Reading::NotRead, Some(_)) => Identity::Unknown,
    }
}

/// Changes nothing in the bucket. The operator withdraws what it granted on the name while a managed bucket had it.
fn not_ours(planner: &mut Planner<'_>, known: Identity<'_>, message: String) -> Option<usize> {
    planner.freeze(ConditionType::BucketReady, Reason::BucketNotOwned, message);
    planner.withdraws = !matches!(known, Identity::Same);
    None
}

/// Marks a bucket that had lost its tags: it is emptied or deleted only with consent (plan/deletion.rs).
fn mark_restored(change: &mut SettingChange) {
    if let settings::Write::BucketTags(tags) = &mut change.write {
        let mut more = (**tags).clone();
        more.insert(names::RESTORED_TAG.to_owned(), "true".to_owned());
        *tags = tags.replaced(more);
    }
}

/// A write of tags that also records that the bucket existed before: deletion never empties it.
fn marked_as_adopted(mut change: SettingChange) -> SettingChange {
    if let settings::Write::BucketTags(tags) = &mut change.write {
        let mut more = (**tags).clone();
        more.insert(names::ADOPTED_TAG.to_owned(), "true".to_owned());
        *tags = tags.replaced(more);
        change.diffs.push(FieldDiff::new(
            format!("{}[{}]", SettingId::BucketTags.field(), names::ADOPTED_TAG),
            None,
            Some(json!("true")),
        ));
    }
    change
}

fn settings(planner: &mut Planner<'_>, desired: &Desired, changes: Vec<SettingChange>, after: &[usize]) {
    for change in changes {
        let (name, Facts { field, part, .. }) = (change.setting.name(), change.setting.facts());
        let enforced = desired.management.of(name) == ManagementMode::Enforce;
        if let Some(text) = change.blocked {
            planner.stall(part, Reason::ForeignStatement, format!("{field}: {text}"));
            planner.plan.open.insert(name);
            continue;
        }
        if !change.foreign.is_empty() {
            let there = join_names(&change.foreign);
            let message = format!(
                "{there}: exists under that name, and this BucketConnection did not write it, so the operator does not change it; choose another id or sid, remove it in AWS, or set bucket.adopt: true and have the change approved (the AWSAccount must allow adoption.buckets)"
            );
            planner.stall(part, Reason::RuleNotOwned, message);
            planner.plan.open.insert(name);
            if change.diffs.is_empty() {
                continue;
            }
        }
        // Restoring a value that was in force already weakens nothing.
        let weakens = change.weakens.filter(|_| !planner.wrote(name));
        if let Some(weakens) = &weakens
            && enforced
            && !desired.bucket.allow_weaker.contains(&change.setting)
        {
            let message =
                format!("{field}: {weakens}, so the operator does not write it; to allow it, add {name} to bucket.allowWeaker");
            planner.stall(part, Reason::WouldWeaken, message);
            planner.plan.open.insert(name);
            continue;
        }
        let action = Action::WriteSetting(change.write);
        let Some(step) = planner.write(part, action, change.diffs, after) else { continue };
        (planner.plan.steps[step].weakens, planner.plan.steps[step].losses) = (weakens, change.losses);
        if !change.adds.is_empty() {
            planner.plan.adds.insert(name, change.adds);
        }
    }
}
