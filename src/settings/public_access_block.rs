//! Public access block of the bucket.
//!
//! Always managed: if the field is omitted, all four blocks are on, as on a new bucket. AWS combines them with the
//! account's own block, which the operator does not read.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset};
use crate::vocabulary::conditions::ConditionType;

/// The setting.
pub use PublicAccessBlockSpec as PublicAccessBlock;

/// The four blocks against public access. Each is on unless it is set to false here.
#[derive(KubeSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublicAccessBlockSpec {
    /// Refuses requests that make the bucket or an object public by an ACL.
    #[serde(default = "on")]
    pub block_public_acls: bool,
    /// Ignores existing public ACLs.
    #[serde(default = "on")]
    pub ignore_public_acls: bool,
    /// Refuses a bucket policy that is public.
    #[serde(default = "on")]
    pub block_public_policy: bool,
    /// Restricts access to AWS services and principals of this account if the bucket policy is public.
    #[serde(default = "on")]
    pub restrict_public_buckets: bool,
}

fn on() -> bool {
    true
}

const ALL_ON: PublicAccessBlock = PublicAccessBlock {
    block_public_acls: true,
    ignore_public_acls: true,
    block_public_policy: true,
    restrict_public_buckets: true,
};

impl Setting for PublicAccessBlock {
    type Spec = Self;
    type Desired = Self;
    type Live = Self;
    type Write = Self;

    const FIELD: &'static str = "bucket.publicAccessBlock";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"];
    const SUBRESOURCE: &'static str = "publicAccessBlock";
    const UNSET: Unset = Unset::Code("NoSuchPublicAccessBlockConfiguration");
    const DOCS: Docs = Docs { purpose: "public access block", weaker: "turning a block off", kept: "" };

    fn desired(spec: Option<&Self>, _: &Context<'_>) -> Result<Option<Self>, String> {
        Ok(Some(spec.copied().unwrap_or(ALL_ON)))
    }

    fn reaches(spec: &Self) -> Vec<Reach> {
        let Self { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } = spec;
        let all_on = *block_public_acls && *ignore_public_acls && *block_public_policy && *restrict_public_buckets;
        let off = (!all_on).then(|| Reach::new(Self::FIELD, Need::weaker(SettingId::PublicAccessBlock)));
        off.into_iter().collect()
    }

    fn of_new_bucket() -> Option<Self> {
        Some(ALL_ON)
    }

    fn change(desired: &Self, live: Option<&Self>) -> Option<Change<Self>> {
        let fields = |block: &Self| match json!(block) {
            Value::Object(fields) => fields,
            _ => Default::default(),
        };
        let Some(live) = live.map(fields) else {
            return Some(Change::whole(Self::FIELD, None, Some(json!(desired)), *desired));
        };
        let fewer: Vec<_> = fields(desired)
            .into_iter()
            .filter(|(name, value)| *value == json!(false) && live.get(name) == Some(&json!(true)))
            .map(|(name, _)| name)
            .collect();
        let diffs: Vec<_> = fields(desired)
            .into_iter()
            .filter(|(name, value)| live.get(name) != Some(value))
            .map(|(name, value)| FieldDiff::new(format!("{}.{name}", Self::FIELD), live.get(&name).cloned(), Some(value)))
            .collect();
        let weakens = (!fewer.is_empty()).then(|| format!("turns {} off", fewer.join(" and ")));
        Some(Change::of(diffs, *desired)?.weakening(weakens))
    }

    fn after(write: &Self) -> Option<Self> {
        Some(*write)
    }

    fn imported(live: &Self) -> Imported<Self> {
        Imported::whole(*live)
    }

    fn example() -> Example<Self> {
        let body = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
            <BlockPublicPolicy>false</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
        Example::new(Self { block_public_policy: false, ..ALL_ON }, body)
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::PublicAccessBlockConfiguration;

    use super::PublicAccessBlock;
    use crate::sdk::{BucketCalls, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<PublicAccessBlock>, Problem> {
        let call = b.s3.get_public_access_block().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketPublicAccessBlock", call.send()).await;
        let block = unset(answer, &["NoSuchPublicAccessBlockConfiguration"])?;
        Ok(block.and_then(|answer| answer.public_access_block_configuration).map(|live| PublicAccessBlock {
            block_public_acls: live.block_public_acls.unwrap_or(false),
            ignore_public_acls: live.ignore_public_acls.unwrap_or(false),
            block_public_policy: live.block_public_policy.unwrap_or(false),
            restrict_public_buckets: live.restrict_public_buckets.unwrap_or(false),
        }))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, block: &PublicAccessBlock) -> Result<(), Problem> {
        let configuration = PublicAccessBlockConfiguration::builder()
            .block_public_acls(block.block_public_acls)
            .ignore_public_acls(block.ignore_public_acls)
            .block_public_policy(block.block_public_policy)
            .restrict_public_buckets(block.restrict_public_buckets)
            .build();
        let call = b.s3.put_public_access_block().bucket(b.name).expected_bucket_owner(b.account);
        let call = call.public_access_block_configuration(configuration);
        b.sdk.call("s3:PutBucketPublicAccessBlock", call.send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_and_default_are_both_understood() {
        assert_eq!(PublicAccessBlock::change(&ALL_ON, PublicAccessBlock::of_new_bucket().as_ref()), None);
        assert_eq!(PublicAccessBlock::change(&ALL_ON, Some(&ALL_ON)), None);
        let change = PublicAccessBlock::change(&ALL_ON, None).unwrap();
        assert_eq!(change.diffs, [FieldDiff::new("bucket.publicAccessBlock", None, Some(json!(ALL_ON)))]);
    }

    #[test]
    fn one_field_is_one_diff() {
        let live = PublicAccessBlock { block_public_policy: false, ..ALL_ON };
        let change = PublicAccessBlock::change(&ALL_ON, Some(&live)).unwrap();
        assert_eq!(
            change.diffs,
            [FieldDiff::new("bucket.publicAccessBlock.blockPublicPolicy", Some(json!(false)), Some(json!(true)))]
        );
        assert_eq!(change.write, ALL_ON);
    }
}
