//! Reads resources that no connection manages yet, for `import`.

use super::Aws;
use super::policy::decoded;
use crate::api::PolicyType;
use crate::observed::{Bucket, ExistingPolicy, ExistingUser};
use crate::sdk::unset;
use crate::settings::{self, Live, SettingId};
use crate::vocabulary::problem::{Class, Problem};

impl Aws {
    /// The region of a bucket and all its settings; it is searched for in `region` first. `None` if the account has no such bucket.
    pub async fn existing_bucket(&self, region: &str, name: &str, account: &str) -> Result<Option<(String, Live)>, Problem> {
        let mut region = region.to_owned();
        loop {
            let live = settings::read(&self.bucket(&region, name, account), SettingId::ALL).await;
            match Bucket::from_reads(live) {
                Bucket::Elsewhere(Some(there)) if there != region => region = there,
                Bucket::There(live) => return Ok(Some((region, live))),
                Bucket::Unreadable(problem) => return Err(problem),
                Bucket::Absent | Bucket::NotRead => return Ok(None),
                Bucket::Elsewhere(_) => {
                    let text = format!("bucket {name} is in another region than {region}");
                    return Err(Problem::new(Class::Refused, "s3:GetBucketTagging", "OtherRegion", &text));
                }
            }
        }
    }

    /// An IAM user with everything that gives it permissions; `None` if there is none of that name.
    pub async fn existing_user(&self, name: &str) -> Result<Option<ExistingUser>, Problem> {
        let Some(user) = self.user(name).await? else { return Ok(None) };
        let (keys, rights, attached) = futures::try_join!(self.keys(name), self.user_rights(name), self.attached_policies(name))?;
        let rights = rights.unwrap_or_default();
        let mut policies = Vec::new();
        for inline in rights.inline {
            let document = self.inline_policy(name, &inline).await?.unwrap_or_default();
            policies.push(ExistingPolicy { kind: PolicyType::Inline, name: inline, arn: None, document });
        }
        for arn in attached.unwrap_or_default() {
            let document = self.policy_document(&arn).await?;
            let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
            policies.push(ExistingPolicy { kind: PolicyType::Managed, name, arn: Some(arn), document });
        }
        let keys = keys.unwrap_or_default();
        Ok(Some(ExistingUser { name: name.to_owned(), user, policies, groups: rights.groups, keys }))
    }

    /// The document of the default version of a managed policy.
    async fn policy_document(&self, arn: &str) -> Result<serde_json::Value, Problem> {
        let absent = &["NoSuchEntity"];
        let policy = unset(self.sdk.call("iam:GetPolicy", self.sdk.iam.get_policy().policy_arn(arn).send()).await, absent)?;
        let version = policy.and_then(|answer| answer.policy).and_then(|policy| policy.default_version_id);
        let call = self.sdk.iam.get_policy_version().policy_arn(arn).version_id(version.unwrap_or_default());
        let answer = unset(self.sdk.call("iam:GetPolicyVersion", call.send()).await, absent)?;
        let document = answer.and_then(|answer| answer.policy_version).and_then(|version| version.document);
        Ok(decoded(&document.unwrap_or_default()))
    }
}
