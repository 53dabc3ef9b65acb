//! What a plan takes away, in words: what it destroys, which protection it removes, and who is cut off.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::because::creates;
use crate::api::{BucketConnectionSpec, DeletionPolicy};
use crate::desired::{Desired, Destroy, Identity};
use crate::observed::RbacKind;
use crate::plan::{Action, Plan, Step};
use crate::settings::{FieldDiff, SettingId};
use crate::vocabulary::narrowing::Loss;
use crate::vocabulary::wildcard::rule_matches;

/// What a plan takes away.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consequences {
    /// What is gone afterwards.
    pub destroys: BTreeSet<String>,
    /// Protection that the bucket loses.
    pub weakens: BTreeSet<String>,
    /// Who loses access.
    pub cuts_off: BTreeSet<String>,
}

/// What the steps of `plan` take away. `applied` is the spec in the cluster, if the plan is for another one.
pub fn consequences(plan: &Plan, desired: &Desired, applied: Option<&BucketConnectionSpec>) -> Consequences {
    let mut found = Consequences::default();
    found.weakens.extend(applied.and_then(|applied| deletion(applied, desired)));
    for step in &plan.steps {
        found.weakens.extend(step.weakens.iter().map(|what| format!("bucket {}: {what}", desired.bucket.name)));
        found.add(plan, step, desired);
    }
    found
}

impl Consequences {
    /// Whether nothing is taken away.
    pub fn is_empty(&self) -> bool {
        self.lines().next().is_none()
    }

    /// Each consequence with its kind.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let destroys = self.destroys.iter().map(|what| ("destroys", what));
        let weakens = self.weakens.iter().map(|what| ("weakens", what));
        destroys.chain(weakens).chain(self.cuts_off.iter().map(|what| ("cuts off", what)))
    }

    fn add(&mut self, plan: &Plan, step: &Step, desired: &Desired) {
        let (bucket, user) = (&desired.bucket.name, &desired.user.name);
        let cut = |text: String| Some(text);
        let cut_off: Option<String> = match &step.action {
            Action::WriteSetting(write) => {
                if !creates(plan, step, |action| matches!(action, Action::CreateBucket { .. })) {
                    self.setting(write.setting(), &step.diffs, bucket);
                    self.cuts_off.extend(step.losses.iter().map(|loss| of_bucket(loss, bucket)));
                }
                None
            }
            Action::PutInlinePolicy { .. } | Action::UpdatePolicy { .. } => {
                self.cuts_off.extend(step.losses.iter().map(|loss| of_user(loss, user)));
                if let Action::UpdatePolicy { prune: Some(version), .. } = &step.action {
                    self.destroys.insert(format!("version {version} of managed policy {}", desired.policy.name));
                }
                None
            }
            Action::SetPermissionsBoundary { arn } => {
                cut(format!("IAM user {user}, from all that the permissions boundary {arn} does not allow"))
            }
            Action::DeleteInlinePolicy { name } if plan.frozen || plan.deletes => {
                cut(format!("IAM user {user}, from all that its inline policy {name} allows"))
            }
            Action::RemovePolicy { arn } => {
                self.destroys.insert(format!("managed policy {arn}"));
                let removes = plan.frozen || plan.deletes;
                removes.then(|| format!("IAM user {user}, from all that managed policy {arn} allows"))
            }
            Action::DeactivateKey { id } => cut(format!("programs that still use access key {id}")),
            Action::DeleteKey { id } => {
                self.destroys.insert(format!("access key {id} of IAM user {user}"));
                cut(format!("programs that still use access key {id}"))
            }
            Action::DeleteSecret { name } => {
                self.destroys.insert(format!("Secret {name}"));
                cut(format!("programs that read Secret {name}"))
            }
            Action::DenyAllAccess { sessions_before: None } => {
                cut(format!("everyone who uses an access key of IAM user {user}, or a session made with one"))
            }
            Action::DenyAllAccess { sessions_before: Some(before) } => {
                cut(format!("sessions of IAM user {user} that began before {before}"))
            }
            Action::WriteRoleBinding { .. } => {
                let same = |own: &str, text: &str| own == text;
                let lost = lost(&step.diffs, same, |diff, value| if diff.path.contains("groups") { texts(value) } else { Vec::new() });
                self.cuts_off.extend(lost.iter().map(|group| format!("group {group}, from reading Secret {}", desired.secret.name)));
                None
            }
            Action::DeleteRbac { kind: RbacKind::RoleBinding, name } => {
                cut(format!("the groups that read the Secret through RoleBinding {name}"))
            }
            Action::EmptyBucket => {
                self.destroys.insert(format!("every object, version and upload in bucket {bucket}"));
                None
            }
            Action::DeleteBucket => {
                self.destroys.insert(format!("bucket {bucket}"));
                None
            }
            Action::DeleteUser => {
                self.destroys.insert(format!("IAM user {user}"));
                None
            }
            // The user has the new policy before the earlier one is deleted.
            Action::DeleteInlinePolicy { .. }
            | Action::CreateBucket { .. }
            | Action::CreateUser { .. }
            | Action::TagUser { .. }
            | Action::CreatePolicy { .. }
            | Action::TagPolicy { .. }
            | Action::AttachPolicy { .. }
            // The key that it replaces works until the end of its overlap.
            | Action::IssueKey { .. }
            | Action::RecordKeys { .. }
            | Action::ActivateKey { .. }
            | Action::DryRunSecret { .. }
            | Action::WriteSecret { .. }
            | Action::ReleaseSecret { .. }
            | Action::RemoveDenyPolicy
            | Action::Restart { .. }
            | Action::WriteRole { .. }
            // Its RoleBinding is deleted too.
            | Action::DeleteRbac { kind: RbacKind::Role, .. }
            | Action::ReleaseRbac { .. }
            | Action::Verify { .. } => None,
        };
        self.cuts_off.extend(cut_off);
    }

    /// What a write to a setting of an existing bucket takes away, besides what it weakens.
    fn setting(&mut self, setting: SettingId, diffs: &[FieldDiff], bucket: &str) {
        let set_to = |value: &str| diffs.iter().any(|diff| diff.desired.as_ref().is_some_and(|desired| desired == value));
        match setting {
            SettingId::Cors => {
                let origins = lost(diffs, rule_matches, origins);
                self.cuts_off.extend(origins.iter().map(|origin| format!("web pages of {origin}, from bucket {bucket}")));
                for (field, what) in [(".allowedMethods", "the method"), (".allowedHeaders", "the header")] {
                    let of = |diff: &FieldDiff, value: &Value| if diff.path.ends_with(field) { texts(value) } else { Vec::new() };
                    let lost = lost(diffs, |pattern, text| pattern == "*" || pattern.eq_ignore_ascii_case(text), of);
                    self.cuts_off
                        .extend(lost.iter().map(|text| format!("web pages that use {what} {text}, from bucket {bucket}")));
                }
            }
            SettingId::PublicAccessBlock => {
                let on =
                    |value: &Value| value == true || value.as_object().is_some_and(|all| all.values().any(|one| one == true));
                let blocks = diffs.iter().any(|diff| diff.desired.as_ref().is_some_and(on));
                self.cuts_off.extend(blocks.then(|| format!("everyone who uses public access to bucket {bucket}")));
            }
            SettingId::Ownership if set_to("BucketOwnerEnforced") => {
                self.cuts_off.insert(format!("everyone who reads or writes bucket {bucket} by ACLs"));
            }
            SettingId::RequestPayment if set_to("Requester") => {
                self.cuts_off.insert(format!("requests to bucket {bucket} that do not agree to pay (x-amz-request-payer)"));
            }
            SettingId::Lifecycle => {
                let expires = |diff: &&FieldDiff| {
                    let text = diff.desired.as_ref().map(Value::to_string).unwrap_or_default();
                    diff.path.to_lowercase().contains("expiration") && diff.desired.is_some()
                        || text.to_lowercase().contains("expiration")
                };
                let rules = diffs.iter().filter(expires);
                self.destroys.extend(rules.map(|diff| format!("objects of bucket {bucket} that {} expires", diff.path)));
            }
            // Its losses say more than its fields.
            SettingId::BucketPolicy
            | SettingId::Ownership
            | SettingId::RequestPayment
            | SettingId::Encryption
            | SettingId::BucketTags
            | SettingId::Versioning
            | SettingId::ObjectLock
            | SettingId::Acceleration
            | SettingId::Logging
            | SettingId::IntelligentTiering => {}
        }
    }
}

/// What a deletion of the connection destroys that it would not destroy with the spec `applied`.
fn deletion(applied: &BucketConnectionSpec, desired: &Desired) -> Option<String> {
    let deletes = |policy: DeletionPolicy| policy == DeletionPolicy::Delete;
    let destroys = desired.force_destroy == Destroy::Yes;
    let more = !deletes(applied.deletion_policy) || (destroys && !applied.force_destroy);
    if !deletes(desired.deletion) || !more {
        return None;
    }
    let bucket = &desired.bucket.name;
    let with_bucket = match &desired.identity {
        Identity::Managed => format!(", IAM user {}, its access key and Secret {}", desired.user.name, desired.secret.name),
        Identity::UserProvided { .. } => String::new(),
    };
    Some(match destroys {
        true => format!(
            "bucket {bucket}: a deletion of the BucketConnection now deletes the bucket with every object and version in it{with_bucket} (deletionPolicy: Delete, forceDestroy: true); a bucket that existed before is never emptied"
        ),
        false => format!(
            "bucket {bucket}: a deletion of the BucketConnection now deletes the bucket if it is empty{with_bucket} (deletionPolicy: Delete)"
        ),
    })
}

/// What a user can no longer do.
fn of_user(Loss { denied, what, .. }: &Loss, user: &str) -> String {
    format!("IAM user {user}, which {} {what}", if *denied { "is denied" } else { "loses" })
}

/// What a bucket policy no longer allows, or denies. What else gives access is not known.
fn of_bucket(Loss { path, denied, what }: &Loss, bucket: &str) -> String {
    if *denied {
        format!("everyone to whom {path} of bucket {bucket} denies {what}")
    } else {
        format!("everyone to whom only {path} of bucket {bucket} allows {what}")
    }
}

/// The texts of the observed values of `diffs` that no text of a desired one covers.
fn lost(
    diffs: &[FieldDiff],
    covers: impl Fn(&str, &str) -> bool,
    of: impl Fn(&FieldDiff, &Value) -> Vec<String>,
) -> BTreeSet<String> {
    let all = |which: fn(&FieldDiff) -> Option<&Value>| {
        diffs.iter().filter_map(|diff| Some(of(diff, which(diff)?))).flatten().collect::<BTreeSet<_>>()
    };
    let desired = all(|diff| diff.desired.as_ref());
    all(|diff| diff.live.as_ref()).into_iter().filter(|text| !desired.iter().any(|own| covers(own, text))).collect()
}

/// The origins of a CORS rule, of which the value is a field or the whole.
fn origins(diff: &FieldDiff, value: &Value) -> Vec<String> {
    texts(if diff.path.ends_with(".allowedOrigins") { value } else { &value["allowedOrigins"] })
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
