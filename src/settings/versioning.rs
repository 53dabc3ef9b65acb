//! Versioning of the bucket.
//!
//! MFA delete stays as it is: a write that does not name it leaves it alone.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::Reach;
use super::{Change, Context, Docs, Example, Imported, Setting, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Whether the bucket keeps earlier versions of its objects. Suspended: those that are there stay, and no new ones are made; a
/// bucket that never had versions is left as it is. Omitted: left as it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Versioning {
    Enabled,
    Suspended,
}

impl Setting for Versioning {
    type Spec = Self;
    type Desired = Self;
    /// As AWS spells it.
    type Live = String;
    type Write = Self;

    const FIELD: &'static str = "bucket.versioning";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketVersioning", "s3:PutBucketVersioning"];
    const SUBRESOURCE: &'static str = "versioning";
    const UNSET: Unset = Unset::Empty("VersioningConfiguration");
    const DOCS: Docs = Docs {
        purpose: "versioning; with preset `IlluminaICA` it is read even if the spec omits it, because the permissions that ICA needs depend on it",
        weaker: "suspending it",
        kept: "MFA delete",
    };

    fn desired(spec: Option<&Self>, _: &Context<'_>) -> Result<Option<Self>, String> {
        Ok(spec.copied())
    }

    /// Suspending weakens only an existing setting: `bucket.allowWeaker` must name it.
    fn reaches(_: &Self) -> Vec<Reach> {
        Vec::new()
    }

    fn of_new_bucket() -> Option<String> {
        None
    }

    fn change(desired: &Self, live: Option<&String>) -> Option<Change<Self>> {
        let same = match (desired, live) {
            (_, Some(live)) => json!(desired) == json!(live),
            // A bucket that never had versioning creates no versions, as a suspended one.
            (desired, None) => *desired == Self::Suspended,
        };
        let change = Change::whole(Self::FIELD, live.map(|l| json!(l)), Some(json!(desired)), *desired);
        let stops = (*desired == Self::Suspended).then(|| "stops keeping earlier versions of objects".to_owned());
        (!same).then(|| change.weakening(stops))
    }

    fn after(write: &Self) -> Option<String> {
        json!(write).as_str().map(str::to_owned)
    }

    fn imported(live: &String) -> Imported<Self> {
        let known = serde_json::from_value(json!(live));
        known.map_or_else(|_| Imported::nothing(format!("{live} is not a versioning that the operator knows")), Imported::whole)
    }

    fn example() -> Example<Self> {
        Example::new(Self::Enabled, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

    use super::Versioning;
    use crate::sdk::BucketCalls;
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<String>, Problem> {
        let call = b.s3.get_bucket_versioning().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketVersioning", call.send()).await?;
        Ok(answer.status.map(|status| status.as_str().to_owned()))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, versioning: &Versioning) -> Result<(), Problem> {
        let status = match versioning {
            Versioning::Enabled => BucketVersioningStatus::Enabled,
            Versioning::Suspended => BucketVersioningStatus::Suspended,
        };
        let configuration = VersioningConfiguration::builder().status(status).build();
        let call = b.s3.put_bucket_versioning().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call("s3:PutBucketVersioning", call.versioning_configuration(configuration).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_only_suspending_weakens() {
        use Versioning::{Enabled, Suspended};
        for (desired, live, written, weakens) in [
            (Enabled, None, true, false),
            (Enabled, Some("Suspended"), true, false),
            (Enabled, Some("Enabled"), false, false),
            (Suspended, None, false, false),
            (Suspended, Some("Suspended"), false, false),
            (Suspended, Some("Enabled"), true, true),
        ] {
            let change = Versioning::change(&desired, live.map(str::to_owned).as_ref());
            let found = change.map(|change| change.weakens.is_some());
            assert_eq!(found, written.then_some(weakens), "{desired:?} {live:?}");
        }
    }
}
