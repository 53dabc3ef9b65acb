//! Object ownership: whether ACLs apply, and who owns the objects that other accounts write.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, Imported, Setting, SettingId, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Who owns the objects that others write to the bucket. BucketOwnerEnforced turns ACLs off: new buckets have it, and ICA needs
/// it to copy between projects. Omitted: left as it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Ownership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

impl Setting for Ownership {
    type Spec = Self;
    type Desired = Self;
    /// As AWS spells it: an unknown newer value is a difference, not an error.
    type Live = String;
    type Write = Self;

    const FIELD: &'static str = "bucket.ownership";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketOwnershipControls", "s3:PutBucketOwnershipControls"];
    const SUBRESOURCE: &'static str = "ownershipControls";
    const UNSET: Unset = Unset::Code("OwnershipControlsNotFoundError");
    const DOCS: Docs = Docs { purpose: "object ownership", weaker: "turning ACLs on", kept: "" };

    fn desired(spec: Option<&Self>, _: &Context<'_>) -> Result<Option<Self>, String> {
        Ok(spec.copied())
    }

    fn reaches(spec: &Self) -> Vec<Reach> {
        match spec {
            Self::BucketOwnerEnforced => Vec::new(),
            Self::BucketOwnerPreferred | Self::ObjectWriter => {
                vec![Reach::new(Self::FIELD, Need::weaker(SettingId::Ownership))]
            }
        }
    }

    fn of_new_bucket() -> Option<String> {
        Self::after(&Self::BucketOwnerEnforced)
    }

    fn change(desired: &Self, live: Option<&String>) -> Option<Change<Self>> {
        if live.is_some_and(|live| json!(desired) == json!(live)) {
            return None;
        }
        let enforced = live.is_some_and(|live| json!(Self::BucketOwnerEnforced) == json!(live));
        let change = Change::whole(Self::FIELD, live.map(|l| json!(l)), Some(json!(desired)), *desired);
        Some(change.weakening(enforced.then(|| "turns ACLs on".to_owned())))
    }

    fn after(write: &Self) -> Option<String> {
        json!(write).as_str().map(str::to_owned)
    }

    fn imported(live: &String) -> Imported<Self> {
        let known = serde_json::from_value(json!(live));
        known.map_or_else(|_| Imported::nothing(format!("{live} is not an ownership that the operator knows")), Imported::whole)
    }

    fn example() -> Example<Self> {
        let body = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
        Example::new(Self::ObjectWriter, body)
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{ObjectOwnership, OwnershipControls, OwnershipControlsRule};

    use super::Ownership;
    use crate::sdk::{BucketCalls, build, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<String>, Problem> {
        let call = b.s3.get_bucket_ownership_controls().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketOwnershipControls", call.send()).await;
        let controls = unset(answer, &["OwnershipControlsNotFoundError"])?.and_then(|answer| answer.ownership_controls);
        Ok(controls.and_then(|c| c.rules.into_iter().next()).map(|rule| rule.object_ownership.as_str().to_owned()))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, ownership: &Ownership) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutBucketOwnershipControls";
        let value = match ownership {
            Ownership::BucketOwnerEnforced => ObjectOwnership::BucketOwnerEnforced,
            Ownership::BucketOwnerPreferred => ObjectOwnership::BucketOwnerPreferred,
            Ownership::ObjectWriter => ObjectOwnership::ObjectWriter,
        };
        let rule = build(ACTION, OwnershipControlsRule::builder().object_ownership(value).build())?;
        let controls = build(ACTION, OwnershipControls::builder().rules(rule).build())?;
        let call = b.s3.put_bucket_ownership_controls().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call(ACTION, call.ownership_controls(controls).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_buckets_enforce_the_owner_already() {
        assert_eq!(Ownership::change(&Ownership::BucketOwnerEnforced, Ownership::of_new_bucket().as_ref()), None);
        assert_eq!(
            Ownership::change(&Ownership::ObjectWriter, Ownership::of_new_bucket().as_ref()).unwrap().write,
            Ownership::ObjectWriter
        );
    }

    #[test]
    fn unset_and_unknown_values_differ() {
        let wanted = Ownership::BucketOwnerEnforced;
        assert!(Ownership::change(&wanted, None).is_some());
        assert!(Ownership::change(&wanted, Some(&"SomethingNew".into())).is_some());
        assert_eq!(Ownership::change(&wanted, Some(&"BucketOwnerEnforced".into())), None);
    }
}
