//! Transfer acceleration of the bucket. The operator can only turn it off: it costs money per byte, ICA does not use
//! it, and a bucket with a dot in its name cannot have it.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/transfer-acceleration.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::Reach;
use super::{Change, Context, Docs, Example, Imported, Setting, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Transfer acceleration. Suspended turns it off. Omitted: left as it is. Enabled is not offered: each byte costs more with it, no platform
/// that a preset is for uses it, and no bucket with a dot in its name can have it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Acceleration {
    Suspended,
}

impl Setting for Acceleration {
    type Spec = Self;
    type Desired = Self;
    /// As AWS spells it.
    type Live = String;
    type Write = Self;

    const FIELD: &'static str = "bucket.acceleration";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetAccelerateConfiguration", "s3:PutAccelerateConfiguration"];
    const SUBRESOURCE: &'static str = "accelerate";
    const UNSET: Unset = Unset::Empty("AccelerateConfiguration");
    const DOCS: Docs = Docs { purpose: "transfer acceleration", weaker: "", kept: "" };

    fn desired(spec: Option<&Self>, _: &Context<'_>) -> Result<Option<Self>, String> {
        Ok(spec.copied())
    }

    fn reaches(_: &Self) -> Vec<Reach> {
        Vec::new()
    }

    fn of_new_bucket() -> Option<String> {
        None
    }

    fn change(desired: &Self, live: Option<&String>) -> Option<Change<Self>> {
        let live = live.filter(|live| *live != "Suspended")?;
        Some(Change::whole(Self::FIELD, Some(json!(live)), Some(json!(desired)), *desired))
    }

    fn after(_: &Self) -> Option<String> {
        Some("Suspended".to_owned())
    }

    fn imported(live: &String) -> Imported<Self> {
        match live.as_str() {
            "Suspended" => Imported::whole(Self::Suspended),
            _ => Imported::nothing(format!("transfer acceleration is {live}; the operator can only turn it off")),
        }
    }

    fn example() -> Example<Self> {
        Example::new(Self::Suspended, "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>")
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{AccelerateConfiguration, BucketAccelerateStatus};

    use super::Acceleration;
    use crate::sdk::{BucketCalls, unset};
    use crate::vocabulary::problem::Problem;

    /// Regions without acceleration answer that the call is not supported.
    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<String>, Problem> {
        let call = b.s3.get_bucket_accelerate_configuration().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetAccelerateConfiguration", call.send()).await;
        let answer = unset(answer, &["MethodNotAllowed", "UnsupportedArgument"])?;
        Ok(answer.and_then(|answer| answer.status).map(|status| status.as_str().to_owned()))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, _: &Acceleration) -> Result<(), Problem> {
        let configuration = AccelerateConfiguration::builder().status(BucketAccelerateStatus::Suspended).build();
        let call = b.s3.put_bucket_accelerate_configuration().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call("s3:PutAccelerateConfiguration", call.accelerate_configuration(configuration).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_is_turned_off() {
        assert_eq!(Acceleration::change(&Acceleration::Suspended, None), None);
        assert_eq!(Acceleration::change(&Acceleration::Suspended, Some(&"Suspended".into())), None);
        assert!(Acceleration::change(&Acceleration::Suspended, Some(&"Enabled".into())).is_some());
    }
}
