//! Access keys.

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_iam::error::SdkError;
use aws_sdk_iam::types::StatusType;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Aws;
use crate::api::LastUsed;
use crate::credentials::{KeyPair, Sensitive};
use crate::fence::Fence;
use crate::observed::AccessKey;
use crate::sdk::{ATTEMPT_TIMEOUT, unset};
use crate::vocabulary::problem::{Class, Problem, ignore_not_found};

/// Why a key was not issued.
pub enum IssueError {
    /// AWS refused: there is no key.
    Refused(Problem),
    /// No answer came: there may be a lost key.
    Unknown(Problem),
}

impl Aws {
    /// The user's keys; `None` if the user does not exist. Always passes the user: without it, IAM uses the caller.
    pub async fn keys(&self, user: &str) -> Result<Option<Vec<AccessKey>>, Problem> {
        let answer = self.sdk.call("iam:ListAccessKeys", self.sdk.iam.list_access_keys().user_name(user).send()).await;
        let keys = unset(answer, &["NoSuchEntity"])?.map(|answer| answer.access_key_metadata);
        Ok(keys.map(|keys| {
            let key = |key: aws_sdk_iam::types::AccessKeyMetadata| {
                let active = key.status == Some(StatusType::Active);
                let expired = key.status.as_ref().is_some_and(|status| status.as_str() == "Expired");
                let created_at = key.create_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
                key.access_key_id.map(|id| AccessKey { id, active, expired, created_at })
            };
            keys.into_iter().filter_map(key).collect()
        }))
    }

    /// Creates an access key: the only call that is never sent twice. The SDK would repeat it after a lost answer and
    /// leave a lost key, so retries are off here.
    ///
    /// It is sent only if `fence` stays open for as long as the call may take.
    pub async fn create_key(&self, user: &str, fence: &Fence) -> Result<KeyPair, IssueError> {
        let call = self.sdk.iam.create_access_key().user_name(user).customize();
        let once = aws_sdk_iam::config::Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(ATTEMPT_TIMEOUT).build());
        let mut closed = None;
        // Checked at the last moment: the waits before a call, for budget and permits, may take long.
        let send = async {
            fence.ensure_valid_for(ATTEMPT_TIMEOUT).map_err(|problem| {
                closed = Some(problem.clone());
                SdkError::construction_failure(problem)
            })?;
            call.config_override(once).send().await
        };
        let answer = self.sdk.call("iam:CreateAccessKey", send).await;
        if let Some(problem) = closed {
            return Err(IssueError::Refused(problem));
        }
        let answer = answer.map_err(|problem| match problem.class {
            Class::Unavailable => IssueError::Unknown(problem),
            _ => IssueError::Refused(problem),
        })?;
        match answer.access_key {
            Some(key) => Ok(KeyPair { id: key.access_key_id, secret: Sensitive::new(key.secret_access_key) }),
            None => Err(IssueError::Unknown(Problem::new(
                Class::Unavailable,
                "iam:CreateAccessKey",
                "NoKey",
                "the answer has no key",
            ))),
        }
    }

    /// When and where a key was last used; `None` if it never was. AWS reports it with a delay of up to hours
    /// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html>).
    pub async fn last_used(&self, id: &str) -> Result<Option<LastUsed>, Problem> {
        let call = self.sdk.iam.get_access_key_last_used().access_key_id(id);
        let answer = unset(self.sdk.call("iam:GetAccessKeyLastUsed", call.send()).await, &["NoSuchEntity"])?;
        Ok(answer.and_then(|answer| answer.access_key_last_used).and_then(|used| {
            let at = Time(Timestamp::from_second(used.last_used_date?.secs()).ok()?);
            Some(LastUsed { at: Some(at), service: used.service_name, region: used.region })
        }))
    }

    /// Activates or deactivates a key; both can be reversed.
    pub async fn set_active(&self, user: &str, id: &str, active: bool) -> Result<(), Problem> {
        let status = if active { StatusType::Active } else { StatusType::Inactive };
        let call = self.sdk.iam.update_access_key().user_name(user).access_key_id(id).status(status);
        self.sdk.call("iam:UpdateAccessKey", call.send()).await.map(drop)
    }

    /// Deletes a key; a missing key counts as deleted.
    pub async fn delete_key(&self, user: &str, id: &str) -> Result<(), Problem> {
        let call = self.sdk.iam.delete_access_key().user_name(user).access_key_id(id);
        ignore_not_found(self.sdk.call("iam:DeleteAccessKey", call.send()).await)
    }
}
