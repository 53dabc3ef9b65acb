//! What exists in the account with a name that begins with `bc-live-`. Only reads.

use std::fmt;

use super::clients::{Aws, fail};

/// Something that a run may have created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Bucket { name: String, region: String },
    User { name: String },
    Policy { name: String, arn: String },
}

impl Found {
    pub fn name(&self) -> &str {
        match self {
            Self::Bucket { name, .. } | Self::User { name } | Self::Policy { name, .. } => name,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { name, region } => write!(f, "bucket {name} in {region}"),
            Self::User { name } => write!(f, "user {name}"),
            Self::Policy { name, .. } => write!(f, "policy {name}"),
        }
    }
}

/// Everything whose name begins with `prefix`: buckets, then users, then policies. In this order it can be deleted.
pub async fn find(aws: &Aws, prefix: &str) -> Result<Vec<Found>, String> {
    let mut found = buckets(aws, prefix).await?;
    let (iam, mut marker) = (aws.iam(), None);
    loop {
        let page = iam.list_users().max_items(1000).set_marker(marker).send().await.map_err(|e| fail("iam:ListUsers", &e))?;
        let names = page.users().iter().map(|user| user.user_name()).filter(|name| name.starts_with(prefix));
        found.extend(names.map(|name| Found::User { name: name.to_owned() }));
        marker = page.marker;
        if !page.is_truncated || marker.is_none() {
            break;
        }
    }
    let mut marker = None;
    loop {
        let list = iam.list_policies().scope(aws_sdk_iam::types::PolicyScopeType::Local).max_items(1000);
        let page = list.set_marker(marker).send().await.map_err(|e| fail("iam:ListPolicies", &e))?;
        let parts = page.policies().iter().filter_map(|policy| Some((policy.policy_name()?, policy.arn()?)));
        let parts = parts.filter(|(name, _)| name.starts_with(prefix));
        found.extend(parts.map(|(name, arn)| Found::Policy { name: name.to_owned(), arn: arn.to_owned() }));
        marker = page.marker;
        if !page.is_truncated || marker.is_none() {
            return Ok(found);
        }
    }
}

async fn buckets(aws: &Aws, prefix: &str) -> Result<Vec<Found>, String> {
    let (s3, mut found, mut token) = (aws.s3(&aws.region), Vec::new(), None);
    loop {
        let list = s3.list_buckets().prefix(prefix).max_buckets(1000).set_continuation_token(token).send().await;
        let page = list.map_err(|e| fail("s3:ListAllMyBuckets", &e))?;
        for bucket in page.buckets().iter().filter(|bucket| bucket.name().is_some_and(|name| name.starts_with(prefix))) {
            let region = bucket.bucket_region().unwrap_or(&aws.region).to_owned();
            found.push(Found::Bucket { name: bucket.name().unwrap_or_default().to_owned(), region });
        }
        token = page.continuation_token;
        if token.is_none() {
            return Ok(found);
        }
    }
}
