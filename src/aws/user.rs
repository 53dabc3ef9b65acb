//! IAM users.

use aws_sdk_iam::types::Tag;

use super::Aws;
use crate::desired::DesiredUser;
use crate::observed::User;
use crate::sdk::{build, unset};
use crate::settings::tags::Tags;
use crate::vocabulary::problem::{Problem, ignore_not_found};

impl Aws {
    /// Reads the user; `None` if no user has that name.
    pub async fn user(&self, name: &str) -> Result<Option<User>, Problem> {
        let answer = self.sdk.call("iam:GetUser", self.sdk.iam.get_user().user_name(name).send()).await;
        Ok(unset(answer, &["NoSuchEntity"])?.and_then(|answer| answer.user).map(|user| User {
            tags: user.tags().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            id: user.user_id,
            path: user.path,
            boundary: user.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
        }))
    }

    /// Creates the user with path, tags and boundary in one call; returns its id.
    pub async fn create_user(&self, user: &DesiredUser, tags: &Tags) -> Result<String, Problem> {
        const ACTION: &str = "iam:CreateUser";
        let call = self.sdk.iam.create_user().user_name(&user.name).path(&user.path).set_tags(Some(iam_tags(ACTION, tags)?));
        let call = call.set_permissions_boundary(user.boundary.clone());
        let answer = self.sdk.call(ACTION, call.send()).await?;
        Ok(answer.user.map(|user| user.user_id).unwrap_or_default())
    }

    /// Sets the managed policy `arn` as the permissions boundary of the user.
    pub async fn bound_user(&self, name: &str, arn: &str) -> Result<(), Problem> {
        let call = self.sdk.iam.put_user_permissions_boundary().user_name(name).permissions_boundary(arn);
        self.sdk.call("iam:PutUserPermissionsBoundary", call.send()).await.map(drop)
    }

    /// Sets some tags of the user and removes others.
    pub async fn tag_user(&self, name: &str, set: &Tags, remove: &[String]) -> Result<(), Problem> {
        const ACTION: &str = "iam:TagUser";
        if !set.is_empty() {
            let call = self.sdk.iam.tag_user().user_name(name).set_tags(Some(iam_tags(ACTION, set)?));
            self.sdk.call(ACTION, call.send()).await?;
        }
        if !remove.is_empty() {
            let call = self.sdk.iam.untag_user().user_name(name).set_tag_keys(Some(remove.to_vec()));
            self.sdk.call("iam:UntagUser", call.send()).await?;
        }
        Ok(())
    }

    /// Deletes the user; a missing user counts as deleted.
    pub async fn delete_user(&self, name: &str) -> Result<(), Problem> {
        ignore_not_found(self.sdk.call("iam:DeleteUser", self.sdk.iam.delete_user().user_name(name).send()).await)
    }
}

/// Tags in the form of the IAM SDK.
pub(super) fn iam_tags(action: &str, tags: &Tags) -> Result<Vec<Tag>, Problem> {
    tags.iter().map(|(key, value)| build(action, Tag::builder().key(key).value(value).build())).collect()
}
