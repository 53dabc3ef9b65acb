//! An endpoint that does not answer and never did for this connection: it is more likely misspelled than unavailable.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::verdict::Verdict;
use crate::api::BucketConnection;
use crate::vocabulary::conditions::{ConditionType, Reason, find};

/// How long a transient failure leaves the last state in place, and is not reported as something that a person must
/// fix.
pub(super) const GRACE_SECONDS: i64 = 300;

/// The verdict on `part`, if AWS does not answer for longer than a transient failure lasts, and this connection has
/// nothing there yet.
pub(super) fn silent(object: &BucketConnection, part: ConditionType, verdict: &Verdict, now: Timestamp) -> Option<Verdict> {
    use ConditionType::{AccountReady, BucketReady, CORSInSync, RegionMatched};
    let status = object.status.as_ref()?;
    if verdict.reason != Reason::AWSUnavailable || verdict.stalled || !outlasts(&status.conditions, now) {
        return None;
    }
    let advice = match part {
        AccountReady if status.memory.account_id.is_none() => {
            format!(
                "AWS does not answer, and this connection never signed in: check spec.region and spec.endpoints of AWSAccount {}, then network and proxy",
                object.spec.account_ref.name
            )
        }
        RegionMatched | BucketReady | CORSInSync if status.memory.bucket.is_none() => format!(
            "S3 in region {region} does not answer, and this connection has no bucket there yet: check that {region} is the right region, and enabled for the account (AWS console, Account, AWS Regions), then network and proxy",
            region = object.spec.region
        ),
        _ => return None,
    };
    let message = format!("{}; {advice}", verdict.message);
    Some(Verdict { holds: Some(false), reason: Reason::RegionUnavailable, message, stalled: true, transient: false })
}

/// Whether the failure in `conditions` has lasted longer than a transient one.
pub(super) fn outlasts(conditions: &[Condition], now: Timestamp) -> bool {
    let is = |kind: ConditionType| find(conditions, kind).filter(|condition| condition.status == "True");
    let since = is(ConditionType::Reconciling).map(|condition| condition.last_transition_time.0);
    let told = is(ConditionType::Stalled).is_some_and(|condition| condition.reason == Reason::RegionUnavailable.to_string());
    told || since.is_some_and(|since| now.as_second() - since.as_second() >= GRACE_SECONDS)
}
