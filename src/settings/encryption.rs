//! Default encryption of the bucket.
//!
//! Always managed: if the field is omitted, the bucket must have some encryption. The operator sets SSE-S3 if there is
//! none, and never weakens an existing encryption.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html>

use std::collections::BTreeSet;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset};
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::rules;

/// Default encryption of new objects.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(self.type != 'SSE-S3') == has(self.kmsKeyArn)").message("kmsKeyArn is needed with type SSE-KMS and DSSE-KMS, and only then: without it S3 would use the AWS managed key aws/s3, whose key policy cannot be changed, so that no other account, such as ICA's, could ever be given rights on it"))]
#[x_kube(validation = Rule::new("self.type == 'SSE-KMS' || !has(self.bucketKey) || !self.bucketKey").message("bucketKey: true goes with type SSE-KMS only: S3 has no bucket keys for the others"))]
#[serde(rename_all = "camelCase")]
pub struct EncryptionSpec {
    /// SSE-S3: a key that S3 keeps. SSE-KMS: a key of yours in AWS KMS. DSSE-KMS: the same, in two layers. Each is stronger than the
    /// one before: going back needs bucket.allowWeaker.
    #[serde(rename = "type")]
    pub kind: EncryptionType,

    /// Full ARN of the KMS key, in the region and account of the bucket. There is no default: the AWS managed key aws/s3 cannot be shared
    /// with another account. Aliases are not accepted: S3 would resolve an alias in the account of the caller that writes an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::KMS_KEY_ARN).message("kmsKeyArn must be the full ARN of a key, such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab; an alias or a key id is not enough"))]
    #[schemars(length(min = 1, max = 256))]
    pub kms_key_arn: Option<String>,

    /// SSE-KMS: S3 calls KMS once for many objects, which costs less. Omitted: on if the operator sets the encryption, else left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,

    /// Types of encryption that uploads may not use: a list with SSE-C, as new buckets have it, or with NONE. Omitted: left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub blocked_types: Option<Vec<BlockedType>>,
}

impl EncryptionSpec {
    /// SSE-KMS with a key, and defaults for the rest.
    pub fn with_key(arn: String) -> Self {
        Self { kind: EncryptionType::SseKms, kms_key_arn: Some(arn), bucket_key: None, blocked_types: None }
    }

    /// Whether objects are encrypted by a key in AWS KMS.
    pub fn uses_kms(&self) -> bool {
        self.kind != EncryptionType::SseS3
    }
}

/// Types of encryption that uploads may not use.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum BlockedType {
    #[serde(rename = "SSE-C")]
    SseC,
    #[serde(rename = "NONE")]
    None,
}

/// Kinds of default encryption.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum EncryptionType {
    #[serde(rename = "SSE-S3")]
    SseS3,
    #[serde(rename = "SSE-KMS")]
    SseKms,
    #[serde(rename = "DSSE-KMS")]
    DsseKms,
}

impl EncryptionType {
    /// As AWS spells it.
    fn algorithm(self) -> &'static str {
        match self {
            Self::SseS3 => SSE_S3,
            Self::SseKms => SSE_KMS,
            Self::DsseKms => DSSE_KMS,
        }
    }
}

/// The setting.
pub struct Encryption;

/// The desired encryption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DesiredEncryption {
    /// Any encryption; SSE-S3 if there is none.
    Some,
    /// Exactly this encryption.
    Exactly(EncryptionSpec),
}

/// A default encryption rule, as AWS returns it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionRule {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// The key of SSE-KMS, as it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Whether S3 uses a bucket key.
    #[serde(default)]
    pub bucket_key: bool,
    /// Types of encryption that uploads may not use (`SSE-C` by default since April 2026). Sent back as they are: a
    /// write without them might remove them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<String>,
}

const SSE_S3: &str = "AES256";
const SSE_KMS: &str = "aws:kms";
const DSSE_KMS: &str = "aws:kms:dsse";
const UNBLOCKED: &str = "NONE";
const BLOCKED_BY_DEFAULT: &str = "SSE-C";

impl Setting for Encryption {
    type Spec = EncryptionSpec;
    type Desired = DesiredEncryption;
    type Live = EncryptionRule;
    type Write = EncryptionRule;

    const FIELD: &'static str = "bucket.encryption";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"];
    const SUBRESOURCE: &'static str = "encryption";
    const UNSET: Unset = Unset::Code("ServerSideEncryptionConfigurationNotFoundError");
    const DOCS: Docs = Docs {
        purpose: "default encryption",
        weaker: "a step back from DSSE-KMS to SSE-KMS to SSE-S3, or from a type that the operator does not know; unblocking a blocked type",
        kept: "blocked types, bucket key",
    };

    fn desired(spec: Option<&EncryptionSpec>, context: &Context<'_>) -> Result<Option<DesiredEncryption>, String> {
        let Some(spec) = spec else { return Ok(Some(DesiredEncryption::Some)) };
        if let Some(arn) = &spec.kms_key_arn {
            let home = format!("arn:{}:kms:{}:{}:key/", context.partition, context.region, context.account_id);
            if !arn.starts_with(&home) {
                return Err(format!(
                    "kmsKeyArn {arn} is not a key in the region and account of the bucket; its ARN must begin with {home}"
                ));
            }
        }
        Ok(Some(DesiredEncryption::Exactly(spec.clone())))
    }

    fn reaches(spec: &EncryptionSpec) -> Vec<Reach> {
        let EncryptionSpec { kind: _, kms_key_arn, bucket_key: _, blocked_types } = spec;
        let key = kms_key_arn.iter().map(|arn| Reach::new("bucket.encryption.kmsKeyArn", Need::KmsKey(arn.clone())));
        let unblocks = blocked_types.as_ref().is_some_and(|types| types.contains(&BlockedType::None));
        let weaker = unblocks.then(|| Reach::new("bucket.encryption.blockedTypes", Need::weaker(SettingId::Encryption)));
        key.chain(weaker).collect()
    }

    fn of_new_bucket() -> Option<EncryptionRule> {
        Some(EncryptionRule { algorithm: SSE_S3.into(), blocked: vec![BLOCKED_BY_DEFAULT.into()], ..EncryptionRule::default() })
    }

    fn change(desired: &DesiredEncryption, live: Option<&EncryptionRule>) -> Option<Change<EncryptionRule>> {
        let (kind, key, bucket_key) = match desired {
            DesiredEncryption::Some if live.is_some() => return None,
            DesiredEncryption::Some => (EncryptionType::SseS3, None, None),
            // S3 does not document what it does with a bucket key for other algorithms.
            DesiredEncryption::Exactly(spec) => {
                (spec.kind, spec.kms_key_arn.as_ref(), spec.bucket_key.filter(|_| spec.kind == EncryptionType::SseKms))
            }
        };
        let algorithm = kind.algorithm();
        let (mut diffs, there) = (Vec::new(), live.is_some());
        if !there {
            let wanted = EncryptionSpec { kind, kms_key_arn: key.cloned(), bucket_key, blocked_types: None };
            diffs.push(FieldDiff::new(Self::FIELD, None, Some(json!(wanted))));
        }
        let mut differ = |field: &str, live, desired| {
            if there && live != desired {
                diffs.push(FieldDiff::new(format!("{}.{field}", Self::FIELD), live, desired));
            }
        };
        differ("type", live.map(|l| json!(spelled(&l.algorithm))), Some(json!(spelled(algorithm))));
        if kind != EncryptionType::SseS3 {
            differ("kmsKeyArn", live.and_then(|l| l.kms_key.as_ref()).map(|k| json!(k)), key.map(|k| json!(k)));
        }
        if let Some(wanted) = bucket_key {
            differ("bucketKey", live.map(|l| json!(l.bucket_key)), Some(json!(wanted)));
        }
        let blocked = live.map_or_else(|| vec![BLOCKED_BY_DEFAULT.to_owned()], |l| l.blocked.clone());
        let blocked = match desired {
            DesiredEncryption::Exactly(EncryptionSpec { blocked_types: Some(types), .. }) => {
                let types: Vec<_> = types.iter().map(|kind| json!(kind).as_str().unwrap_or(UNBLOCKED).to_owned()).collect();
                // "NONE" and an empty list mean the same.
                let real = |list: &[String]| list.iter().filter(|kind| *kind != UNBLOCKED).cloned().collect::<BTreeSet<_>>();
                if real(&types) == real(&blocked) {
                    blocked
                } else {
                    differ("blockedTypes", live.map(|l| json!(l.blocked)), Some(json!(types)));
                    types
                }
            }
            _ => blocked,
        };
        let unblocks = live.is_some_and(|live| live.blocked.iter().any(|kind| *kind != UNBLOCKED && !blocked.contains(kind)));
        let write = EncryptionRule {
            algorithm: algorithm.to_owned(),
            kms_key: key.cloned(),
            bucket_key: kind == EncryptionType::SseKms
                && bucket_key.unwrap_or_else(|| live.filter(|l| l.algorithm == SSE_KMS).is_none_or(|l| l.bucket_key)),
            blocked,
        };
        let weaker = live.filter(|live| strength(&live.algorithm) > strength(algorithm));
        let weakens = match (weaker, unblocks) {
            (Some(live), _) => Some(format!("goes from {} back to {}", spelled(&live.algorithm), spelled(algorithm))),
            (_, true) => Some("lets uploads use an encryption that was blocked".to_owned()),
            _ => None,
        };
        Some(Change::of(diffs, write)?.weakening(weakens))
    }

    fn imported(live: &EncryptionRule) -> Imported<EncryptionSpec> {
        let kinds = [EncryptionType::SseS3, EncryptionType::SseKms, EncryptionType::DsseKms];
        let Some(kind) = kinds.into_iter().find(|kind| kind.algorithm() == live.algorithm) else {
            return Imported::nothing(format!("{} is not an encryption that the operator knows", live.algorithm));
        };
        let key = live.kms_key.clone().filter(|key| key.starts_with("arn:") && key.contains(":key/"));
        if kind != EncryptionType::SseS3 && key.is_none() {
            let key = live.kms_key.as_deref().unwrap_or("aws/s3");
            return Imported::nothing(format!(
                "{} with the key {key}, which is not the full ARN of a key",
                spelled(&live.algorithm)
            ));
        }
        Imported::whole(EncryptionSpec {
            kind,
            kms_key_arn: key.filter(|_| kind != EncryptionType::SseS3),
            bucket_key: (kind == EncryptionType::SseKms).then_some(live.bucket_key),
            blocked_types: (live.blocked == [BLOCKED_BY_DEFAULT]).then(|| vec![BlockedType::SseC]),
        })
    }

    fn after(write: &EncryptionRule) -> Option<EncryptionRule> {
        Some(write.clone())
    }

    fn example() -> Example<EncryptionRule> {
        let key = "arn:aws:kms:us-east-1:123456789012:key/k";
        let blocked = vec![BLOCKED_BY_DEFAULT.to_owned()];
        let rule = EncryptionRule { algorithm: SSE_KMS.to_owned(), kms_key: Some(key.to_owned()), bucket_key: true, blocked };
        let body = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
            <KMSMasterKeyID>arn:aws:kms:us-east-1:123456789012:key/k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>\
            <BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
            </BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>";
        Example::new(rule, body)
    }
}

/// AWS's algorithm as the spec spells it; an unknown algorithm stays as it is.
fn spelled(algorithm: &str) -> &str {
    match algorithm {
        SSE_S3 => "SSE-S3",
        SSE_KMS => "SSE-KMS",
        DSSE_KMS => "DSSE-KMS",
        other => other,
    }
}

/// Rank of an algorithm; an unknown algorithm ranks as the strongest.
fn strength(algorithm: &str) -> usize {
    let known = [SSE_S3, SSE_KMS, DSSE_KMS];
    known.iter().position(|known| *known == algorithm).unwrap_or(known.len())
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{
        BlockedEncryptionTypes, EncryptionType, ServerSideEncryption, ServerSideEncryptionByDefault,
        ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    };

    use super::EncryptionRule;
    use crate::sdk::{BucketCalls, build, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<EncryptionRule>, Problem> {
        let call = b.s3.get_bucket_encryption().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetEncryptionConfiguration", call.send()).await;
        let configuration = unset(answer, &["ServerSideEncryptionConfigurationNotFoundError"])?
            .and_then(|answer| answer.server_side_encryption_configuration);
        let Some(rule) = configuration.and_then(|c| c.rules.into_iter().next()) else { return Ok(None) };
        let blocked = rule.blocked_encryption_types.and_then(|b| b.encryption_type).unwrap_or_default();
        Ok(rule.apply_server_side_encryption_by_default.map(|default| EncryptionRule {
            algorithm: default.sse_algorithm.as_str().to_owned(),
            kms_key: default.kms_master_key_id,
            bucket_key: rule.bucket_key_enabled.unwrap_or(false),
            blocked: blocked.iter().map(|kind| kind.as_str().to_owned()).collect(),
        }))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, rule: &EncryptionRule) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutEncryptionConfiguration";
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::from(rule.algorithm.as_str()))
            .set_kms_master_key_id(rule.kms_key.clone());
        let blocked = rule.blocked.iter().map(|kind| EncryptionType::from(kind.as_str())).collect::<Vec<_>>();
        let blocked = (!blocked.is_empty()).then(|| BlockedEncryptionTypes::builder().set_encryption_type(Some(blocked)).build());
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(build(ACTION, default.build())?)
            .bucket_key_enabled(rule.bucket_key)
            .set_blocked_encryption_types(blocked)
            .build();
        let configuration = build(ACTION, ServerSideEncryptionConfiguration::builder().rules(rule).build())?;
        let call = b.s3.put_bucket_encryption().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call(ACTION, call.server_side_encryption_configuration(configuration).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/k";

    fn sse_s3(blocked: &[&str]) -> EncryptionRule {
        EncryptionRule { algorithm: SSE_S3.into(), blocked: blocked.iter().map(|&b| b.into()).collect(), ..Default::default() }
    }

    fn kms(bucket_key: bool) -> EncryptionRule {
        EncryptionRule { algorithm: SSE_KMS.into(), kms_key: Some(KEY.into()), bucket_key, blocked: vec![] }
    }

    fn exactly(kind: EncryptionType, bucket_key: Option<bool>) -> DesiredEncryption {
        let kms_key_arn = (kind != EncryptionType::SseS3).then(|| KEY.to_owned());
        DesiredEncryption::Exactly(EncryptionSpec { kind, kms_key_arn, bucket_key, blocked_types: None })
    }

    #[test]
    fn omitted_never_weakens_but_sets_where_nothing_is() {
        assert_eq!(Encryption::change(&DesiredEncryption::Some, Some(&kms(true))), None);
        assert_eq!(Encryption::change(&DesiredEncryption::Some, Encryption::of_new_bucket().as_ref()), None);
        assert_eq!(Encryption::change(&DesiredEncryption::Some, None).unwrap().write, sse_s3(&["SSE-C"]));
    }

    #[test]
    fn what_aws_adds_by_itself_is_no_difference_and_is_sent_back() {
        let wanted = exactly(EncryptionType::SseS3, None);
        assert_eq!(Encryption::change(&wanted, Some(&sse_s3(&["SSE-C"]))), None);
        assert_eq!(Encryption::change(&wanted, Some(&EncryptionRule { bucket_key: true, ..sse_s3(&[]) })), None);
        let live = EncryptionRule { blocked: vec!["NONE".into()], ..kms(false) };
        assert_eq!(Encryption::change(&wanted, Some(&live)).unwrap().write.blocked, ["NONE"]);
    }

    #[test]
    fn the_bucket_key_is_kept_unless_the_spec_says() {
        let keeps = exactly(EncryptionType::SseKms, None);
        assert_eq!(Encryption::change(&keeps, Some(&kms(false))), None);
        assert_eq!(Encryption::change(&keeps, Some(&kms(true))), None);
        assert!(Encryption::change(&keeps, Some(&sse_s3(&[]))).unwrap().write.bucket_key);
        assert!(Encryption::change(&keeps, Encryption::of_new_bucket().as_ref()).unwrap().write.bucket_key);
        let off = exactly(EncryptionType::SseKms, Some(false));
        assert_eq!(Encryption::change(&off, Some(&kms(true))).unwrap().diffs[0].path, "bucket.encryption.bucketKey");
        assert!(!Encryption::change(&off, Encryption::of_new_bucket().as_ref()).unwrap().write.bucket_key);
    }

    /// Every step down counts as weakening, also from an unknown algorithm.
    #[test]
    fn encryption_is_never_weakened_silently() {
        use EncryptionType::{DsseKms, SseKms, SseS3};
        let live = |algorithm: &str| EncryptionRule { algorithm: algorithm.into(), ..kms(false) };
        let weakens =
            |kind, algorithm| Encryption::change(&exactly(kind, None), Some(&live(algorithm))).and_then(|change| change.weakens);
        let back = |from: &str, to: &str| Some(format!("goes from {from} back to {to}"));
        let table = [
            (SseS3, SSE_KMS, back("SSE-KMS", "SSE-S3")),
            (SseS3, DSSE_KMS, back("DSSE-KMS", "SSE-S3")),
            (SseKms, DSSE_KMS, back("DSSE-KMS", "SSE-KMS")),
            (DsseKms, "aws:kms:tsse", back("aws:kms:tsse", "DSSE-KMS")),
            (SseKms, SSE_S3, None),
            (DsseKms, SSE_S3, None),
            (DsseKms, SSE_KMS, None),
            (DsseKms, DSSE_KMS, None),
        ];
        for (kind, algorithm, expected) in table {
            assert_eq!(weakens(kind, algorithm), expected, "{algorithm} to {kind:?}");
        }
        let layers = Encryption::change(&exactly(DsseKms, None), Encryption::of_new_bucket().as_ref()).unwrap().write;
        assert_eq!((layers.algorithm.as_str(), layers.kms_key.as_deref(), layers.bucket_key), (DSSE_KMS, Some(KEY), false));
        assert_eq!(
            Encryption::change(&exactly(DsseKms, Some(false)), Some(&EncryptionRule { bucket_key: true, ..layers })),
            None
        );
        // As other tools write it, and as S3 returns it.
        assert_eq!(Encryption::change(&exactly(SseS3, Some(false)), Some(&sse_s3(&["SSE-C"]))), None);
    }

    #[test]
    fn blocked_types_are_kept_unless_the_spec_says_and_unblocking_weakens() {
        let wanted = |kind| {
            DesiredEncryption::Exactly(EncryptionSpec {
                kind: EncryptionType::SseS3,
                kms_key_arn: None,
                bucket_key: None,
                blocked_types: Some(vec![kind]),
            })
        };
        let change = Encryption::change(&wanted(BlockedType::None), Some(&sse_s3(&["SSE-C"]))).unwrap();
        assert_eq!(
            (change.diffs[0].path.as_str(), change.write.blocked.as_slice()),
            ("bucket.encryption.blockedTypes", &["NONE".to_owned()][..])
        );
        assert!(change.weakens.is_some());
        for live in [&["NONE"][..], &[]] {
            assert_eq!(Encryption::change(&wanted(BlockedType::None), Some(&sse_s3(live))), None);
            assert_eq!(Encryption::change(&wanted(BlockedType::SseC), Some(&sse_s3(live))).unwrap().weakens, None);
        }
        assert_eq!(Encryption::change(&wanted(BlockedType::SseC), Encryption::of_new_bucket().as_ref()), None);
    }
}
