//! What a plan takes away, in words: what it destroys, which protection it removes, and who is cut off.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::because::creates;
use crate::desired::Desired;
use crate::observed::RbacKind;
use crate::plan::{Action, Plan, Step};
use crate::settings::{FieldDiff, SettingId};

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

/// What the steps of `plan` take away.
pub fn consequences(plan: &Plan, desired: &Desired) -> Consequences {
    let mut found = Consequences::default();
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
                }
                None
            }
            Action::PutInlinePolicy { .. } | Action::UpdatePolicy { prune: None, .. } => {
                self.permissions(&step.diffs, user);
                None
            }
            Action::UpdatePolicy { prune: Some(version), .. } => {
                self.permissions(&step.diffs, user);
                self.destroys.insert(format!("version {version} of managed policy {}", desired.policy.name));
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
                let lost = lost(&step.diffs, |diff, value| if diff.path.contains("groups") { texts(value) } else { Vec::new() });
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
                let origins = lost(diffs, |diff, value| named(diff, value, "allowedOrigins"));
                self.cuts_off.extend(origins.iter().map(|origin| format!("web pages of {origin}, from bucket {bucket}")));
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
            SettingId::BucketPolicy => {
                let removed = diffs.iter().filter(|diff| diff.live.as_ref().is_some_and(|live| live["Effect"] == "Allow"));
                self.cuts_off
                    .extend(removed.map(|diff| format!("everyone to whom only {} of bucket {bucket} gives access", diff.path)));
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
            SettingId::Ownership
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

    /// Actions and resources that a policy loses.
    fn permissions(&mut self, diffs: &[FieldDiff], user: &str) {
        let actions = lost(diffs, |diff, value| named(diff, value, "Action"));
        let resources = lost(diffs, |diff, value| named(diff, value, "Resource"));
        self.cuts_off.extend(actions.iter().map(|action| format!("IAM user {user}, which loses {action}")));
        self.cuts_off.extend(
            resources
                .iter()
                .filter(|resource| *resource != "*")
                .map(|resource| format!("IAM user {user}, which loses {resource}")),
        );
    }
}

/// The texts that only the observed values of `diffs` have, and no desired one.
fn lost(diffs: &[FieldDiff], of: impl Fn(&FieldDiff, &Value) -> Vec<String>) -> BTreeSet<String> {
    let all = |which: fn(&FieldDiff) -> Option<&Value>| {
        diffs.iter().filter_map(|diff| Some(of(diff, which(diff)?))).flatten().collect::<BTreeSet<_>>()
    };
    let desired = all(|diff| diff.desired.as_ref());
    all(|diff| diff.live.as_ref()).difference(&desired).cloned().collect()
}

/// The texts of the field `name` in a value: the field itself, or an object or document that has it.
fn named(diff: &FieldDiff, value: &Value, name: &str) -> Vec<String> {
    if diff.path.to_lowercase().ends_with(&format!(".{}", name.to_lowercase())) {
        return texts(value);
    }
    let inner = [value.get("Statement"), Some(value)].into_iter().flatten().find(|value| value.is_array() || value.is_object());
    let items = match inner {
        Some(Value::Array(items)) => items.as_slice(),
        Some(object) => std::slice::from_ref(object),
        None => &[],
    };
    items.iter().filter(|item| item["Effect"] != "Deny").flat_map(|item| texts(&item[name])).collect()
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
