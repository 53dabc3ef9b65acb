//! Object Lock: how long each new object version can be neither overwritten nor deleted.
//!
//! The write of its default retention turns it on, for a new bucket as for an existing one, once versioning is enabled.
//! It can never be turned off again. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Object Lock with a default retention for new objects. Needs versioning: Enabled. Omitted: left as it is; S3 cannot turn
/// Object Lock off again.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.days) != has(self.years)").message("objectLock needs days or years, and not both"))]
#[serde(rename_all = "camelCase")]
pub struct ObjectLockSpec {
    /// GOVERNANCE: callers with s3:BypassGovernanceRetention can still delete. COMPLIANCE: no one can, not even the account's root user.
    pub mode: RetentionMode,
    /// Retention period, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<i32>,
    /// Retention period, in years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub years: Option<i32>,
}

/// How strict a retention is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum RetentionMode {
    #[serde(rename = "GOVERNANCE")]
    Governance,
    #[serde(rename = "COMPLIANCE")]
    Compliance,
}

/// The setting.
pub struct ObjectLock;

/// Object Lock as it is read and sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default)]
pub struct Retention {
    /// The mode as AWS spells it; `None` if there is no default retention.
    pub mode: Option<String>,
    /// Retention period, in days.
    pub days: Option<i32>,
    /// Retention period, in years.
    pub years: Option<i32>,
    /// An event hold of this many days and years; sent back as it is.
    pub event_hold: Option<(Option<i32>, Option<i32>)>,
}

/// The number of days, precise enough for a comparison.
fn days(days: Option<i32>, years: Option<i32>) -> i64 {
    i64::from(days.unwrap_or(0)) + 365 * i64::from(years.unwrap_or(0))
}

impl Setting for ObjectLock {
    type Spec = ObjectLockSpec;
    type Desired = ObjectLockSpec;
    type Live = Retention;
    type Write = Retention;

    const FIELD: &'static str = "bucket.objectLock";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"];
    const SUBRESOURCE: &'static str = "object-lock";
    const UNSET: Unset = Unset::Code("ObjectLockConfigurationNotFoundError");
    const DOCS: Docs = Docs { purpose: "Object Lock", weaker: "a shorter period; COMPLIANCE to GOVERNANCE", kept: "event hold" };

    fn desired(spec: Option<&ObjectLockSpec>, _: &Context<'_>) -> Result<Option<ObjectLockSpec>, String> {
        Ok(spec.cloned())
    }

    fn reaches(spec: &ObjectLockSpec) -> Vec<Reach> {
        let ObjectLockSpec { mode, days: _, years: _ } = spec;
        match mode {
            RetentionMode::Governance => Vec::new(),
            RetentionMode::Compliance => vec![Reach::new("bucket.objectLock.mode COMPLIANCE", Need::ComplianceRetention)],
        }
    }

    fn of_new_bucket() -> Option<Retention> {
        None
    }

    fn change(desired: &ObjectLockSpec, live: Option<&Retention>) -> Option<Change<Retention>> {
        let mode = json!(desired.mode);
        let write = Retention {
            mode: mode.as_str().map(str::to_owned),
            days: desired.days,
            years: desired.years,
            event_hold: live.and_then(|live| live.event_hold),
        };
        let Some(live) = live.filter(|live| live.mode.is_some()) else {
            return Some(Change::whole(Self::FIELD, None, Some(json!(desired)), write));
        };
        let fields = [
            ("mode", live.mode.as_ref().map(|m| json!(m)), Some(mode)),
            ("days", live.days.map(Value::from), desired.days.map(Value::from)),
            ("years", live.years.map(Value::from), desired.years.map(Value::from)),
        ];
        let differ = fields.into_iter().filter(|(_, live, desired)| live != desired);
        let diffs =
            differ.map(|(name, live, desired)| FieldDiff::new(format!("{}.{name}", Self::FIELD), live, desired)).collect();
        let softer = live.mode.as_deref() == Some("COMPLIANCE") && desired.mode < RetentionMode::Compliance;
        let shorter = days(desired.days, desired.years) < days(live.days, live.years);
        let weakens = match (softer, shorter) {
            (true, _) => Some("goes from COMPLIANCE to GOVERNANCE".to_owned()),
            (_, true) => Some("shortens the retention of new objects".to_owned()),
            _ => None,
        };
        Some(Change::of(diffs, write)?.weakening(weakens))
    }

    fn after(write: &Retention) -> Option<Retention> {
        Some(write.clone())
    }

    fn imported(live: &Retention) -> Imported<ObjectLockSpec> {
        let mode = live.mode.as_ref().and_then(|mode| serde_json::from_value(json!(mode)).ok());
        match mode.filter(|_| live.days.is_some() != live.years.is_some()) {
            Some(mode) => Imported::whole(ObjectLockSpec { mode, days: live.days, years: live.years }),
            None => Imported::nothing("Object Lock without a default retention of a known mode"),
        }
    }

    fn example() -> Example<Retention> {
        let retention = Retention { mode: Some("GOVERNANCE".to_owned()), days: Some(3), ..Retention::default() };
        let body = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>\
            <Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        Example::new(retention, body)
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{
        DefaultRetention, EventHoldDuration, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    };

    use super::Retention;
    use crate::sdk::{BucketCalls, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<Retention>, Problem> {
        let call = b.s3.get_object_lock_configuration().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketObjectLockConfiguration", call.send()).await;
        let answer = unset(answer, &["ObjectLockConfigurationNotFoundError"])?;
        let Some(configuration) = answer.and_then(|answer| answer.object_lock_configuration) else { return Ok(None) };
        let retention = configuration.rule.and_then(|rule| rule.default_retention);
        Ok(Some(retention.map_or_else(Retention::default, |live| Retention {
            mode: live.mode.map(|mode| mode.as_str().to_owned()),
            // Some servers return 0 for a missing element.
            days: live.days.filter(|days| *days > 0),
            years: live.years.filter(|years| *years > 0),
            event_hold: live.default_event_hold.map(|hold| (hold.days, hold.years)),
        })))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, retention: &Retention) -> Result<(), Problem> {
        let hold = |(days, years)| EventHoldDuration::builder().set_days(days).set_years(years).build();
        let retention = DefaultRetention::builder()
            .set_mode(retention.mode.as_deref().map(ObjectLockRetentionMode::from))
            .set_days(retention.days)
            .set_years(retention.years)
            .set_default_event_hold(retention.event_hold.map(hold))
            .build();
        let rule = ObjectLockRule::builder().default_retention(retention).build();
        let configuration = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build();
        let call = b.s3.put_object_lock_configuration().bucket(b.name).expected_bucket_owner(b.account);
        let call = call.object_lock_configuration(configuration);
        b.sdk.call("s3:PutBucketObjectLockConfiguration", call.send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mode: RetentionMode, days: Option<i32>, years: Option<i32>) -> ObjectLockSpec {
        ObjectLockSpec { mode, days, years }
    }

    #[test]
    fn shorter_and_softer_weaken() {
        use RetentionMode::{Compliance, Governance};
        let live = ObjectLock::change(&spec(Compliance, None, Some(1)), None).unwrap().write;
        for (desired, written, weakens) in [
            (spec(Compliance, None, Some(1)), false, false),
            (spec(Compliance, None, Some(2)), true, false),
            (spec(Compliance, Some(364), None), true, true),
            (spec(Compliance, Some(366), None), true, false),
            (spec(Governance, None, Some(1)), true, true),
        ] {
            let change = ObjectLock::change(&desired, Some(&live));
            assert_eq!(change.map(|c| c.weakens.is_some()), written.then_some(weakens), "{desired:?}");
        }
    }

    #[test]
    fn on_without_a_default_is_no_default_and_an_event_hold_stays() {
        let desired = spec(RetentionMode::Governance, Some(7), None);
        assert_eq!(ObjectLock::change(&desired, Some(&Retention::default())).unwrap().diffs[0].path, "bucket.objectLock");
        let live = Retention { mode: Some("GOVERNANCE".into()), days: Some(5), years: None, event_hold: Some((Some(3), None)) };
        let change = ObjectLock::change(&desired, Some(&live)).unwrap();
        assert_eq!((change.diffs[0].path.as_str(), change.write.event_hold), ("bucket.objectLock.days", Some((Some(3), None))));
    }
}
