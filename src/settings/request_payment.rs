//! Request payment: who pays for requests to the bucket and for downloads from it.
//!
//! Every bucket has a payer, by default its owner, so this module reads the owner as "not set". Neither value protects
//! more than the other. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::Reach;
use super::{Change, Context, Docs, Example, Imported, Setting, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Who pays for requests and downloads. Requester: the account that makes them; AWS refuses anonymous requests, and requests from other
/// accounts need the header x-amz-request-payer. BucketOwner: this account pays. Omitted: left as it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum RequestPayment {
    Requester,
    BucketOwner,
}

impl Setting for RequestPayment {
    type Spec = Self;
    type Desired = Self;
    /// As AWS spells it.
    type Live = String;
    type Write = Self;

    const FIELD: &'static str = "bucket.requestPayment";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketRequestPayment", "s3:PutBucketRequestPayment"];
    const SUBRESOURCE: &'static str = "requestPayment";
    const UNSET: Unset = Unset::Empty("RequestPaymentConfiguration");
    const DOCS: Docs = Docs { purpose: "request payment: who pays for requests and downloads", weaker: "", kept: "" };

    fn desired(spec: Option<&Self>, _: &Context<'_>) -> Result<Option<Self>, String> {
        Ok(spec.copied())
    }

    /// It names no other account: each requester pays for its own requests.
    fn reaches(spec: &Self) -> Vec<Reach> {
        match spec {
            Self::Requester | Self::BucketOwner => Vec::new(),
        }
    }

    fn of_new_bucket() -> Option<String> {
        Self::after(&Self::BucketOwner)
    }

    fn change(desired: &Self, live: Option<&String>) -> Option<Change<Self>> {
        let live = live.map_or_else(|| json!(Self::BucketOwner), |live| json!(live));
        (live != json!(desired)).then(|| Change::whole(Self::FIELD, Some(live), Some(json!(desired)), *desired))
    }

    fn after(write: &Self) -> Option<String> {
        match write {
            Self::Requester => Some("Requester".to_owned()),
            Self::BucketOwner => None,
        }
    }

    fn imported(live: &String) -> Imported<Self> {
        let known = serde_json::from_value(json!(live));
        known.map_or_else(|_| Imported::nothing(format!("{live} is not a payer that the operator knows")), Imported::whole)
    }

    fn example() -> Example<Self> {
        let body = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
        Example::new(Self::Requester, body)
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{Payer, RequestPaymentConfiguration};

    use super::RequestPayment;
    use crate::sdk::{BucketCalls, build};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<String>, Problem> {
        let call = b.s3.get_bucket_request_payment().bucket(b.name).expected_bucket_owner(b.account);
        let payer = b.sdk.call("s3:GetBucketRequestPayment", call.send()).await?.payer;
        Ok(payer.filter(|payer| *payer != Payer::BucketOwner).map(|payer| payer.as_str().to_owned()))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, payment: &RequestPayment) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutBucketRequestPayment";
        let payer = match payment {
            RequestPayment::Requester => Payer::Requester,
            RequestPayment::BucketOwner => Payer::BucketOwner,
        };
        let configuration = build(ACTION, RequestPaymentConfiguration::builder().payer(payer).build())?;
        let call = b.s3.put_bucket_request_payment().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call(ACTION, call.request_payment_configuration(configuration).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_pays_unless_somebody_else_was_set() {
        assert_eq!(RequestPayment::change(&RequestPayment::BucketOwner, None), None);
        let change = RequestPayment::change(&RequestPayment::Requester, None).unwrap();
        assert_eq!((change.diffs[0].live.clone(), change.weakens), (Some(json!("BucketOwner")), None));
        let back = RequestPayment::change(&RequestPayment::BucketOwner, Some(&"Requester".to_owned())).unwrap();
        assert_eq!((back.write, back.weakens), (RequestPayment::BucketOwner, None));
        assert!(RequestPayment::change(&RequestPayment::Requester, Some(&"SomebodyNew".to_owned())).is_some());
    }
}
