//! IAM policies: inline, and managed with their versions.

use aws_sdk_iam::types::Policy;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Aws;
use super::user::iam_tags;
use crate::desired::{DesiredPolicy, Document};
use crate::observed::{ManagedPolicy, UserRights};
use crate::sdk::unset;
use crate::settings::tags::Tags;
use crate::vocabulary::problem::{Problem, ignore_not_found};

const ABSENT: [&str; 1] = ["NoSuchEntity"];

impl Aws {
    /// The document of an inline policy of the user.
    pub async fn inline_policy(&self, user: &str, name: &str) -> Result<Option<Value>, Problem> {
        let call = self.sdk.iam.get_user_policy().user_name(user).policy_name(name);
        let answer = unset(self.sdk.call("iam:GetUserPolicy", call.send()).await, &ABSENT)?;
        Ok(answer.map(|answer| decoded(&answer.policy_document)))
    }

    /// Writes an inline policy of the user: one idempotent replacement.
    pub async fn put_inline_policy(&self, user: &str, name: &str, document: &Document) -> Result<(), Problem> {
        let call =
            self.sdk.iam.put_user_policy().user_name(user).policy_name(name).policy_document(document.to_json().to_string());
        self.sdk.call("iam:PutUserPolicy", call.send()).await.map(drop)
    }

    /// Deletes an inline policy of the user.
    pub async fn delete_inline_policy(&self, user: &str, name: &str) -> Result<(), Problem> {
        ignore_not_found(
            self.sdk
                .call("iam:DeleteUserPolicy", self.sdk.iam.delete_user_policy().user_name(user).policy_name(name).send())
                .await,
        )
    }

    /// Reads a managed policy. A version never changes, so if `known` is still the default version with the desired
    /// document, one call is enough; otherwise the whole policy is read.
    pub async fn managed_policy(&self, policy: &DesiredPolicy, known: Option<&str>) -> Result<Option<ManagedPolicy>, Problem> {
        if let Some(version) = known
            && let Some((true, document)) = self.policy_version(&policy.arn, version).await?
            && policy.document.same_as(&document)
        {
            return Ok(Some(ManagedPolicy { version: version.to_owned(), document, ..ManagedPolicy::default() }));
        }
        let call = self.sdk.iam.get_policy().policy_arn(&policy.arn);
        let answer = unset(self.sdk.call("iam:GetPolicy", call.send()).await, &ABSENT)?;
        let Some(live) = answer.and_then(|answer| answer.policy) else { return Ok(None) };
        let version = live.default_version_id().unwrap_or_default().to_owned();
        let (document, mut versions) =
            futures::try_join!(self.policy_version(&policy.arn, &version), self.policy_versions(&policy.arn))?;
        versions.retain(|other| *other != version);
        Ok(document.map(|(_, document)| ManagedPolicy {
            id: live.policy_id().map(str::to_owned),
            version,
            document,
            tags: Some(live.tags().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()),
            other_versions: versions,
        }))
    }

    /// Tags of a managed policy.
    pub async fn policy_tags(&self, arn: &str) -> Result<Option<Tags>, Problem> {
        let answer = unset(self.sdk.call("iam:GetPolicy", self.sdk.iam.get_policy().policy_arn(arn).send()).await, &ABSENT)?;
        let tags = |policy: &Policy| policy.tags().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        Ok(answer.and_then(|answer| answer.policy).map(|policy| tags(&policy)))
    }

    /// Whether a version is the default, and its document.
    async fn policy_version(&self, arn: &str, version: &str) -> Result<Option<(bool, Value)>, Problem> {
        let call = self.sdk.iam.get_policy_version().policy_arn(arn).version_id(version);
        let answer = unset(self.sdk.call("iam:GetPolicyVersion", call.send()).await, &ABSENT)?;
        let version = answer.and_then(|answer| answer.policy_version);
        Ok(version.map(|version| (version.is_default_version, decoded(version.document().unwrap_or_default()))))
    }

    /// Versions of a managed policy, oldest first: v1, v2, ... v10.
    async fn policy_versions(&self, arn: &str) -> Result<Vec<String>, Problem> {
        let call = self.sdk.iam.list_policy_versions().policy_arn(arn);
        let answer = self.sdk.call("iam:ListPolicyVersions", call.send()).await?;
        let mut versions: Vec<_> = answer.versions().iter().filter_map(|v| v.version_id.clone()).collect();
        versions.sort_by_key(|version| version.trim_start_matches('v').parse::<u64>().unwrap_or(u64::MAX));
        Ok(versions)
    }

    /// Creates a managed policy; returns its version and its id.
    pub async fn create_policy(
        &self,
        policy: &DesiredPolicy,
        document: &Document,
        tags: &Tags,
    ) -> Result<(String, Option<String>), Problem> {
        const ACTION: &str = "iam:CreatePolicy";
        let call = self.sdk.iam.create_policy().policy_name(&policy.name).path(&policy.path);
        let call = call.policy_document(document.to_json().to_string()).set_tags(Some(iam_tags(ACTION, tags)?));
        let answer = self.sdk.call(ACTION, call.send()).await?;
        let (version, id) = answer.policy.map(|policy| (policy.default_version_id, policy.policy_id)).unwrap_or_default();
        Ok((version.unwrap_or_else(|| "v1".to_owned()), id))
    }

    /// Writes a new default version, after deleting `prune`; returns it.
    pub async fn update_policy(&self, arn: &str, document: &Document, prune: Option<&str>) -> Result<String, Problem> {
        if let Some(version) = prune {
            self.delete_policy_version(arn, version).await?;
        }
        let call = self.sdk.iam.create_policy_version().policy_arn(arn).policy_document(document.to_json().to_string());
        let answer = self.sdk.call("iam:CreatePolicyVersion", call.set_as_default(true).send()).await?;
        Ok(answer.policy_version.and_then(|version| version.version_id).unwrap_or_default())
    }

    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<(), Problem> {
        let call = self.sdk.iam.delete_policy_version().policy_arn(arn).version_id(version);
        ignore_not_found(self.sdk.call("iam:DeletePolicyVersion", call.send()).await)
    }

    /// ARNs of the managed policies attached to the user.
    pub async fn attached_policies(&self, user: &str) -> Result<Option<Vec<String>>, Problem> {
        let call = self.sdk.iam.list_attached_user_policies().user_name(user);
        let answer = unset(self.sdk.call("iam:ListAttachedUserPolicies", call.send()).await, &ABSENT)?;
        let attached = answer.map(|answer| answer.attached_policies.unwrap_or_default());
        Ok(attached.map(|attached| attached.into_iter().filter_map(|policy| policy.policy_arn).collect()))
    }

    /// What gives the user permissions, other than the managed policies attached to it.
    pub async fn user_rights(&self, user: &str) -> Result<Option<UserRights>, Problem> {
        let (inline, groups) =
            (self.sdk.iam.list_user_policies().user_name(user), self.sdk.iam.list_groups_for_user().user_name(user));
        let (inline, groups) = futures::try_join!(
            self.sdk.call("iam:ListUserPolicies", inline.send()),
            self.sdk.call("iam:ListGroupsForUser", groups.send()),
        )?;
        let groups = groups.groups.into_iter().map(|group| group.group_name).collect();
        Ok(Some(UserRights { inline: inline.policy_names, groups }))
    }

    /// Sets some tags of a managed policy and removes others.
    pub async fn tag_policy(&self, arn: &str, set: &Tags, remove: &[String]) -> Result<(), Problem> {
        const ACTION: &str = "iam:TagPolicy";
        if !set.is_empty() {
            let call = self.sdk.iam.tag_policy().policy_arn(arn).set_tags(Some(iam_tags(ACTION, set)?));
            self.sdk.call(ACTION, call.send()).await?;
        }
        if !remove.is_empty() {
            let call = self.sdk.iam.untag_policy().policy_arn(arn).set_tag_keys(Some(remove.to_vec()));
            self.sdk.call("iam:UntagPolicy", call.send()).await?;
        }
        Ok(())
    }

    /// Attaches a managed policy to the user.
    pub async fn attach_policy(&self, user: &str, arn: &str) -> Result<(), Problem> {
        let call = self.sdk.iam.attach_user_policy().user_name(user).policy_arn(arn);
        self.sdk.call("iam:AttachUserPolicy", call.send()).await.map(drop)
    }

    /// Detaches a managed policy from the user and deletes it with all its versions, one by one, as AWS requires.
    pub async fn remove_policy(&self, user: &str, arn: &str) -> Result<(), Problem> {
        let call = self.sdk.iam.detach_user_policy().user_name(user).policy_arn(arn);
        ignore_not_found(self.sdk.call("iam:DetachUserPolicy", call.send()).await)?;
        let call = self.sdk.iam.get_policy().policy_arn(arn);
        let Some(policy) = unset(self.sdk.call("iam:GetPolicy", call.send()).await, &ABSENT)?.and_then(|answer| answer.policy)
        else {
            return Ok(());
        };
        for version in self.policy_versions(arn).await? {
            if Some(version.as_str()) != policy.default_version_id() {
                self.delete_policy_version(arn, &version).await?;
            }
        }
        ignore_not_found(self.sdk.call("iam:DeletePolicy", self.sdk.iam.delete_policy().policy_arn(arn).send()).await)
    }
}

/// IAM returns documents percent-encoded (RFC 3986): decoded exactly once, and not as a form, since `+` and `%3A` may
/// be text. What is not JSON is kept as a string, which never equals a document of the operator.
pub(super) fn decoded(document: &str) -> Value {
    let text = percent_decode_str(document).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
}
