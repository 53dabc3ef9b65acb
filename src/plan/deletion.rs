//! The plan for an object that is being deleted. It creates nothing, and removes only managed resources.
//!
//! `Retain` reads nothing from AWS and needs no account: the operator releases the Secret, and everything else stays as
//! it is. `Delete` deletes the key first, so that no one can use what is about to be deleted. Then it deletes policy,
//! user, Secret and the access to it, and the bucket if it is empty or `forceDestroy` is set.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Action, Plan, Planner, access, adoption, modes, policy, user};
use crate::api::{BucketConnection, ManagementMode};
use crate::desired::{Desired, Destroy, names};
use crate::keys::Owners;
use crate::observed::{Access, Bucket, Contents, Observed, Ownership, Remembered, Secret};
use crate::settings::tags::Tags;
use crate::settings::{self, FieldDiff, Reading, SettingId};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::Class;

/// Plans `deletionPolicy: Retain`. Consumers that can read the Secrets can still read them.
pub fn retain(remembered: &Remembered, secrets: &BTreeMap<String, Secret>, readers: &BTreeMap<String, Access>) -> Plan {
    let mut planner = Planner::new(remembered);
    for (name, secret) in secrets {
        match secret {
            Secret::Ours(_) => {
                let diff = FieldDiff::new(format!("secret({name}).metadata"), Some(json!("owned")), Some(json!("released")));
                let action = Action::ReleaseSecret { name: name.clone() };
                planner.step(ConditionType::CredentialsReady, action, vec![diff], &[]);
            }
            Secret::Unreadable(problem) => planner.unreadable(ConditionType::CredentialsReady, problem),
            Secret::NotRead | Secret::Absent | Secret::UserProvided(_) | Secret::Foreign(_) => {}
        }
    }
    access::release(&mut planner, readers);
    Plan { deletes: true, ..planner.finish() }
}

/// Names of the Secrets of an object that may never have been resolved.
pub fn retained_secrets(object: &BucketConnection, remembered: &Remembered) -> BTreeSet<String> {
    if object.spec.existing_secret().is_some() {
        return BTreeSet::new();
    }
    let mut names = remembered.secrets();
    if remembered.credentials.secret_name.is_none() {
        names.insert(names::secret(object));
    }
    // An invalid name cannot be that of a Secret.
    names.retain(|name| names::is_object_name(name));
    names
}

/// Plans `deletionPolicy: Delete`.
pub fn delete(desired: &Desired, observed: &Observed, remembered: &Remembered) -> Plan {
    let mut planner = Planner { place: desired.place(), ..Planner::new(remembered) };
    for (name, readers) in &observed.access {
        access::remove(&mut planner, name, readers, &[]);
    }
    let keys = identity(&mut planner, desired, observed);
    secrets(&mut planner, desired, observed, &keys);
    bucket(&mut planner, desired, observed, &keys);
    for step in &mut planner.plan.steps {
        step.drift = false;
    }
    let mut plan = Plan { deletes: true, ..planner.finish() };
    modes::apply_modes(&mut plan, &desired.management);
    plan.observed.clear();
    // Foreign resources stay, so they must not depend on the object.
    let mut planner = Planner { plan, place: desired.place(), ..Planner::new(remembered) };
    if desired.management.of("credentials") != ManagementMode::Enforce && matches!(observed.secret, Secret::Ours(_)) {
        let action = Action::ReleaseSecret { name: desired.secret.name.clone() };
        planner.step(ConditionType::CredentialsReady, action, Vec::new(), &[]);
    }
    if desired.management.of("access") != ManagementMode::Enforce {
        access::release(&mut planner, &observed.access);
    }
    Plan { deletes: true, ..planner.finish() }
}

/// Plans `deletionPolicy: Release`: as `Retain`, and the operator removes its tags, so that another connection can
/// adopt the resources.
pub fn release(desired: &Desired, observed: &Observed, remembered: &Remembered) -> Plan {
    let mut secrets = observed.earlier_secrets.clone();
    secrets.insert(desired.secret.name.clone(), observed.secret.clone());
    let plan = retain(remembered, &secrets, &observed.access);
    let mut planner = Planner { plan, place: desired.place(), ..Planner::new(remembered) };
    let ours = |key: &String| key.starts_with(names::TAG_PREFIX);
    let marked = |tags: &Tags| Ownership::of(tags, desired) == Ownership::Ours;
    let diffs = |path: &str, tags: &Tags| {
        let marks = tags.iter().filter(|(key, _)| ours(key));
        marks.map(|(key, value)| FieldDiff::new(format!("{path}[{key}]"), Some(json!(value)), None)).collect::<Vec<_>>()
    };
    let marks = |tags: &Tags| tags.keys().filter(|key| ours(key)).cloned().collect::<Vec<_>>();
    match &observed.bucket {
        Bucket::Unreadable(problem) => planner.unreadable(ConditionType::BucketReady, problem),
        bucket => {
            if let Some(tags) = bucket.tags().filter(|tags| marked(tags)) {
                let left =
                    tags.in_order().filter(|(key, _)| !ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
                let field = SettingId::BucketTags.field();
                let action = Action::WriteSetting(settings::Write::BucketTags(left));
                planner.step(ConditionType::BucketReady, action, diffs(field, &tags), &[]);
            }
        }
    }
    match &observed.user {
        Reading::Unreadable(problem) => planner.unreadable(ConditionType::UserReady, problem),
        Reading::Set(user) if marked(&user.tags) => {
            let action = Action::TagUser { set: Tags::new(), remove: marks(&user.tags) };
            planner.step(ConditionType::UserReady, action, diffs("user.tags", &user.tags), &[]);
        }
        _ => {}
    }
    match &observed.managed_policy {
        Reading::Unreadable(problem) => planner.unreadable(ConditionType::PolicyInSync, problem),
        // A policy read without tags was recognized by its version, which the status records.
        Reading::Set(policy) if policy.tags.as_ref().is_none_or(marked) => {
            let remove = policy.tags.as_ref().map_or_else(|| vec![names::OWNER_TAG.to_owned()], marks);
            let action = Action::TagPolicy { arn: desired.policy.arn.clone(), set: Tags::new(), remove };
            let diff = FieldDiff::new(format!("policy.tags[{}]", names::OWNER_TAG), Some(json!(desired.owner)), None);
            planner.step(ConditionType::PolicyInSync, action, vec![diff], &[]);
        }
        _ => {}
    }
    for step in &mut planner.plan.steps {
        step.drift = false;
    }
    Plan { deletes: true, ..planner.finish() }
}

fn absence_diff(path: &str) -> Vec<FieldDiff> {
    vec![FieldDiff::new(path, Some(json!("present")), None)]
}

/// Keys, policies and the user; returns the steps that delete keys.
fn identity(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Vec<usize> {
    use ConditionType::{CredentialsReady, PolicyInSync, UserReady};
    let mut keys = Vec::new();
    let mut rights = Vec::new();
    let has_user = match &observed.user {
        Reading::Set(user) => user::owned(planner, desired, user),
        Reading::Unreadable(problem) => {
            planner.unreadable(UserReady, problem);
            false
        }
        Reading::NotRead | Reading::Unset => false,
    };
    let mut foreign = Vec::new();
    if has_user {
        match &observed.keys {
            Reading::Set(listed) => {
                let owners = Owners::of(planner.remembered, observed);
                for key in listed {
                    if owners.ours(&key.id) || owners.orphan() == Some(&key.id) || desired.force_destroy == Destroy::Yes {
                        let diff = FieldDiff::new("accessKey", Some(json!(key.id)), None);
                        keys.push(planner.step(CredentialsReady, Action::DeleteKey { id: key.id.clone() }, vec![diff], &[]));
                    } else {
                        foreign.push(key.id.clone());
                    }
                }
            }
            Reading::Unreadable(problem) => planner.unreadable(CredentialsReady, problem),
            Reading::NotRead | Reading::Unset => {}
        }
        match &observed.inline_policy {
            Reading::Set(live) if policy::owns_inline(planner, desired, live) => {
                let action = Action::DeleteInlinePolicy { name: desired.policy.name.clone() };
                rights.push(planner.step(PolicyInSync, action, absence_diff("policy"), &keys));
            }
            Reading::Unreadable(problem) => planner.unreadable(PolicyInSync, problem),
            Reading::NotRead | Reading::Unset | Reading::Set(_) => {}
        }
    }
    let denied = planner.remembered.credentials.revocation.is_some() || matches!(observed.denial, Reading::Set(_));
    if has_user && denied {
        let diff = FieldDiff::new("user.access", Some(json!("denied to earlier sessions")), None);
        rights.push(planner.step(CredentialsReady, Action::RemoveDenyPolicy, vec![diff], &keys));
    }
    match &observed.managed_policy {
        Reading::Set(policy) => {
            if policy::owned(planner, desired, policy) {
                let action = Action::RemovePolicy { arn: desired.policy.arn.clone() };
                rights.push(planner.step(PolicyInSync, action, absence_diff("policy"), &keys));
            }
        }
        Reading::Unreadable(problem) => planner.unreadable(PolicyInSync, problem),
        Reading::NotRead | Reading::Unset => {}
    }
    rights.extend(policy::remove_earlier(planner, desired, observed, has_user, &keys));
    if has_user && !foreign.is_empty() {
        let message = format!(
            "IAM user {} has access keys that this operator did not issue ({}), so it is not deleted; delete these keys, or set forceDestroy: true to delete them too, or deletionPolicy: Retain to keep everything",
            desired.user.name,
            foreign.join(", ")
        );
        planner.stall(UserReady, Reason::ForeignAccessKeys, message);
    } else if has_user {
        let mut after = keys.clone();
        after.extend(&rights);
        planner.step(UserReady, Action::DeleteUser, absence_diff("user"), &after);
    }
    keys
}

fn secrets(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, keys: &[usize]) {
    let part = ConditionType::CredentialsReady;
    for (name, secret) in std::iter::once((&desired.secret.name, &observed.secret)).chain(&observed.earlier_secrets) {
        match secret {
            Secret::Ours(_) => {
                planner.step(part, Action::DeleteSecret { name: name.clone() }, absence_diff(&format!("secret({name})")), keys);
            }
            Secret::Unreadable(problem) => planner.unreadable(part, problem),
            Secret::NotRead | Secret::Absent | Secret::UserProvided(_) | Secret::Foreign(_) => {}
        }
    }
}

fn bucket(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, keys: &[usize]) {
    let part = ConditionType::BucketReady;
    match &observed.bucket {
        Bucket::Unreadable(problem) if problem.class == Class::Denied && planner.remembered.bucket.is_none() => {}
        Bucket::Unreadable(problem) => planner.unreadable(part, problem),
        // Only the tag allows the deletion of a bucket; the recorded state is not enough.
        Bucket::There(_) if observed.bucket.is_ours(desired) => {
            if let Some(message) = lacks_consent(desired, observed) {
                return planner.stall(part, Reason::AwaitingApproval, message);
            }
            let adopted = observed.bucket.tags().is_some_and(|tags| tags.contains_key(names::ADOPTED_TAG));
            match &observed.contents {
                Reading::Unreadable(problem) => planner.unreadable(part, problem),
                Reading::Set(contents) if contents.versions + contents.uploads > 0 => {
                    if desired.force_destroy == Destroy::Yes && !adopted {
                        let diff = FieldDiff::new("bucket.contents", Some(json!(describe(contents))), None);
                        let emptied = planner.step(part, Action::EmptyBucket, vec![diff], keys);
                        planner.step(part, Action::DeleteBucket, absence_diff("bucket"), &[emptied]);
                    } else if contents.versions > 0 {
                        let ways_out = match desired.force_destroy {
                            _ if adopted => {
                                "it existed before this BucketConnection, so forceDestroy does not empty it: empty it yourself"
                            }
                            Destroy::NotAllowed => "the AWSAccount does not allow forceDestroy: empty it yourself",
                            Destroy::No | Destroy::Yes => "empty it, or set forceDestroy: true to delete them with it",
                        };
                        let message = format!(
                            "bucket {} contains {}, so it is not deleted: {ways_out}, or set deletionPolicy: Retain to keep the bucket",
                            desired.bucket.name,
                            describe(contents)
                        );
                        planner.stall(part, Reason::BucketNotEmpty, message);
                    } else {
                        // Unfinished uploads do not prevent S3 from deleting the bucket.
                        planner.step(part, Action::DeleteBucket, absence_diff("bucket"), keys);
                    }
                }
                _ => {
                    planner.step(part, Action::DeleteBucket, absence_diff("bucket"), keys);
                }
            }
        }
        Bucket::NotRead | Bucket::Absent | Bucket::Elsewhere(_) | Bucket::There(_) => {}
    }
}

/// A bucket whose ownership tag was missing for a time may have been foreign in between: it is deleted only with
/// consent.
fn lacks_consent(desired: &Desired, observed: &Observed) -> Option<String> {
    observed.bucket.tags()?.get(names::RESTORED_TAG)?;
    let hash = adoption::hash(desired, &[FieldDiff::new("bucket", Some(json!("present")), None)]);
    let name = &desired.bucket.name;
    (desired.approval.own.as_ref() != Some(&hash)).then(|| {
        format!("the ownership tag of bucket {name} was removed once, and the operator restored it: the bucket is deleted only if you approve it; to delete it, set spec.approvedPlan: {hash}; to keep it, set deletionPolicy: Retain")
    })
}

/// "3 objects", "3 objects (7 versions and delete markers)", "at least 1000 objects".
fn describe(contents: &Contents) -> String {
    let plural = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let mut text = plural(contents.objects, "object");
    if contents.versions != contents.objects {
        text = format!("{text} ({} counting old versions and delete markers)", contents.versions);
    }
    if contents.uploads > 0 {
        text = format!("{text} and {}", plural(contents.uploads, "unfinished upload"));
    }
    if contents.more { format!("at least {text}") } else { text }
}
