//! Server access logging: where S3 writes its log of requests to the bucket.
//!
//! The operator cannot turn it off: it is an audit trail, and omitting the field leaves it as it is. The operator keeps
//! its key format and grants. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html>

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, Unset};
use crate::vocabulary::conditions::ConditionType;

/// Server access logging. Omitted: left as it is. The target bucket's policy must let logging.s3.amazonaws.com put objects.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LoggingSpec {
    /// Bucket that gets the logs: another one, in the same region and account.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$"))]
    pub target_bucket: String,
    /// What the keys of the logs begin with, such as logs/genomics/.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub target_prefix: String,
}

/// The setting.
pub struct Logging;

/// Logging as it is read and sent: includes what the spec does not know, so that a write keeps it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LiveLogging {
    /// Bucket that gets the logs.
    pub target_bucket: String,
    /// Prefix of their keys.
    pub target_prefix: String,
    /// The rest of their keys.
    pub key_format: Option<KeyFormat>,
    /// Who else can read them.
    pub grants: Vec<Grant>,
}

/// The rest of the keys of logs, after the prefix.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub enum KeyFormat {
    /// By time only.
    Simple,
    /// By account, region, bucket and day, with the date of the event or of the delivery.
    Partitioned(Option<String>),
}

/// A grant on the logs, for buckets with ACLs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub struct Grant {
    pub permission: Option<String>,
    pub kind: Option<String>,
    pub id: Option<String>,
    pub uri: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
}

impl Setting for Logging {
    type Spec = LoggingSpec;
    type Desired = LoggingSpec;
    type Live = LiveLogging;
    type Write = LiveLogging;

    const FIELD: &'static str = "bucket.logging";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketLogging", "s3:PutBucketLogging"];
    const SUBRESOURCE: &'static str = "logging";
    const UNSET: Unset = Unset::Empty("BucketLoggingStatus");
    const DOCS: Docs =
        Docs { purpose: "server access logging", weaker: "moving the logs to another bucket", kept: "key format, grants" };

    fn desired(spec: Option<&LoggingSpec>, context: &Context<'_>) -> Result<Option<LoggingSpec>, String> {
        if spec.is_some_and(|spec| context.bucket_arn.ends_with(&format!(":::{}", spec.target_bucket))) {
            return Err("targetBucket is the bucket itself, and each log would cause the next: choose another bucket".to_owned());
        }
        Ok(spec.cloned())
    }

    fn reaches(spec: &LoggingSpec) -> Vec<Reach> {
        let LoggingSpec { target_bucket, target_prefix: _ } = spec;
        vec![Reach::new("bucket.logging.targetBucket", Need::Bucket(target_bucket.clone()))]
    }

    fn of_new_bucket() -> Option<LiveLogging> {
        None
    }

    fn change(desired: &LoggingSpec, live: Option<&LiveLogging>) -> Option<Change<LiveLogging>> {
        let write = LiveLogging {
            target_bucket: desired.target_bucket.clone(),
            target_prefix: desired.target_prefix.clone(),
            ..live.cloned().unwrap_or_default()
        };
        let Some(live) = live else {
            return Some(Change::whole(Self::FIELD, None, Some(json!(desired)), write));
        };
        let fields = [
            ("targetBucket", &live.target_bucket, &desired.target_bucket),
            ("targetPrefix", &live.target_prefix, &desired.target_prefix),
        ];
        let differ = fields.into_iter().filter(|(_, live, desired)| live != desired);
        let diffs = differ.map(|(name, live, desired)| {
            FieldDiff::new(format!("{}.{name}", Self::FIELD), Some(json!(live)), Some(json!(desired)))
        });
        // A tool that reads the logs in the old bucket would see no new logs.
        let moves = live.target_bucket != desired.target_bucket;
        let weakens = moves.then(|| format!("takes the access log away from bucket {}", live.target_bucket));
        Some(Change::of(diffs.collect(), write)?.weakening(weakens))
    }

    fn after(write: &LiveLogging) -> Option<LiveLogging> {
        Some(write.clone())
    }

    fn imported(live: &LiveLogging) -> Imported<LoggingSpec> {
        let LiveLogging { target_bucket, target_prefix, key_format: _, grants: _ } = live;
        Imported::whole(LoggingSpec { target_bucket: target_bucket.clone(), target_prefix: target_prefix.clone() })
    }

    fn example() -> Example<LiveLogging> {
        let write =
            LiveLogging { target_bucket: "lab-logs".to_owned(), target_prefix: "a/".to_owned(), ..LiveLogging::default() };
        let body = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>lab-logs</TargetBucket><TargetPrefix>a/</TargetPrefix>\
            </LoggingEnabled></BucketLoggingStatus>";
        Example::new(write, body)
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{
        BucketLoggingStatus, BucketLogsPermission, Grantee, LoggingEnabled, PartitionDateSource, PartitionedPrefix, SimplePrefix,
        TargetGrant, TargetObjectKeyFormat, Type,
    };

    use super::{Grant, KeyFormat, LiveLogging};
    use crate::sdk::{BucketCalls, build};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<LiveLogging>, Problem> {
        let call = b.s3.get_bucket_logging().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketLogging", call.send()).await?;
        Ok(answer.logging_enabled.map(|live| LiveLogging {
            target_bucket: live.target_bucket,
            target_prefix: live.target_prefix,
            key_format: live.target_object_key_format.and_then(|format| match format.partitioned_prefix {
                Some(by) => Some(KeyFormat::Partitioned(by.partition_date_source.map(|s| s.as_str().to_owned()))),
                None => format.simple_prefix.map(|_| KeyFormat::Simple),
            }),
            grants: live.target_grants.unwrap_or_default().into_iter().map(grant).collect(),
        }))
    }

    fn grant(grant: TargetGrant) -> Grant {
        let permission = grant.permission.map(|p| p.as_str().to_owned());
        grant.grantee.map_or_else(Grant::default, |to| Grant {
            kind: Some(to.r#type.as_str().to_owned()),
            id: to.id,
            uri: to.uri,
            email: to.email_address,
            name: to.display_name,
            permission,
        })
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, logging: &LiveLogging) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutBucketLogging";
        let format = logging.key_format.as_ref().map(|format| match format {
            KeyFormat::Simple => TargetObjectKeyFormat::builder().simple_prefix(SimplePrefix::builder().build()).build(),
            KeyFormat::Partitioned(by) => {
                let by = by.as_deref().map(PartitionDateSource::from);
                let prefix = PartitionedPrefix::builder().set_partition_date_source(by).build();
                TargetObjectKeyFormat::builder().partitioned_prefix(prefix).build()
            }
        });
        let grant = |grant: &Grant| {
            let to = Grantee::builder()
                .set_type(grant.kind.as_deref().map(Type::from))
                .set_id(grant.id.clone())
                .set_uri(grant.uri.clone())
                .set_email_address(grant.email.clone())
                .set_display_name(grant.name.clone());
            let permission = grant.permission.as_deref().map(BucketLogsPermission::from);
            Ok(TargetGrant::builder().grantee(build(ACTION, to.build())?).set_permission(permission).build())
        };
        let grants = logging.grants.iter().map(grant).collect::<Result<Vec<_>, Problem>>()?;
        let enabled = LoggingEnabled::builder()
            .target_bucket(&logging.target_bucket)
            .target_prefix(&logging.target_prefix)
            .set_target_object_key_format(format)
            .set_target_grants((!grants.is_empty()).then_some(grants));
        let status = BucketLoggingStatus::builder().logging_enabled(build(ACTION, enabled.build())?).build();
        let call = b.s3.put_bucket_logging().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call(ACTION, call.bucket_logging_status(status).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_spec_does_not_know_is_kept_and_moving_weakens() {
        let spec = LoggingSpec { target_bucket: "logs".into(), target_prefix: "a/".into() };
        assert!(Logging::change(&spec, None).unwrap().weakens.is_none());
        let live = LiveLogging {
            key_format: Some(KeyFormat::Simple),
            target_prefix: "b/".into(),
            ..Logging::change(&spec, None).unwrap().write
        };
        let change = Logging::change(&spec, Some(&live)).unwrap();
        assert_eq!(change.diffs[0].path, "bucket.logging.targetPrefix");
        assert_eq!((change.weakens, &change.write.key_format), (None, &Some(KeyFormat::Simple)));
        assert_eq!(Logging::change(&spec, Some(&change.write)), None);
        let elsewhere = LiveLogging { target_bucket: "old".into(), ..change.write };
        assert!(Logging::change(&spec, Some(&elsewhere)).unwrap().weakens.is_some());
    }
}
