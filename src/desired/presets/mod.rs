//! What each preset supplies: CORS rules and the permissions of the user. One file per preset, or per family of
//! presets.

mod clc_genomics;
mod illumina_ica;
mod objects;

use std::collections::BTreeSet;

use super::{SpecError, names};
use crate::api::{Effect, IlluminaICASpec, PolicyStatement, Preset};
use crate::settings::bucket_policy::BucketStatement;
use crate::settings::cors::CorsRule;
use crate::vocabulary::policy_language::WrittenConditions;

pub use illumina_ica::LIMITED_REGIONS;

/// The input of a preset: names that are already validated.
pub struct Scope<'a> {
    /// ARN of the bucket.
    pub bucket_arn: &'a str,
    /// ARN pattern of the objects that the policy covers, by `policy.scope`.
    pub objects_arn: &'a str,
    /// The prefix to which listing can be limited; `None` if the whole bucket is in scope.
    pub prefix: Option<&'a str>,
    /// Full ARN of the KMS key that encrypts the bucket.
    pub kms_key_arn: Option<&'a str>,
    /// Whether the bucket has or had versions, according to the spec or the bucket itself.
    pub versioned: bool,
    /// Region of the bucket.
    pub region: &'a str,
    /// Options of the preset IlluminaICA.
    pub illumina_ica: Option<&'a IlluminaICASpec>,
}

/// What a preset supplies.
#[derive(Default)]
pub struct Parts {
    /// CORS rules; `None` leaves CORS unmanaged.
    pub cors: Option<Vec<CorsRule>>,
    /// Permissions of the user.
    pub statements: Vec<PolicyStatement>,
    /// Statements of the bucket policy.
    pub bucket_statements: Vec<BucketStatement>,
}

/// The parts of `preset` in `scope`, or the error in its options.
pub fn parts(preset: Preset, scope: &Scope<'_>) -> Result<Parts, SpecError> {
    let mut parts = match preset {
        Preset::IlluminaICA => illumina_ica::parts(scope)?,
        Preset::CLCGenomics => clc_genomics::parts(scope),
        Preset::ReadOnly => objects::read_only(scope),
        Preset::ReadWrite => objects::read_write(scope),
        Preset::WriteOnly => objects::write_only(scope),
        Preset::Custom => Parts::default(),
    };
    if let Some(key) = scope.kms_key_arn
        && !matches!(preset, Preset::Custom)
    {
        // SSE-KMS: reading needs Decrypt, writing GenerateDataKey, multipart uploads both; ICA's page also lists
        // Encrypt. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
        let actions: &[&str] = match preset {
            Preset::ReadOnly => &["kms:Decrypt"],
            Preset::IlluminaICA => &["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
            _ => &["kms:Decrypt", "kms:GenerateDataKey"],
        };
        parts.statements.push(PolicyStatement { conditions: through_s3(scope), ..allow(None, actions, &[key]) });
    }
    Ok(parts)
}

/// The conditions on the use of the bucket's KMS key: through S3 in the bucket's region, for this bucket. S3 passes KMS
/// the ARN of the object, or the ARN of the bucket if it uses a bucket key.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context>
pub(super) fn through_s3(scope: &Scope<'_>) -> WrittenConditions {
    // Outside the partition aws, it is not documented which of the two ARNs KMS receives.
    let partition = names::partition_of(scope.region);
    let hosts = BTreeSet::from(["amazonaws.com", names::dns_suffix(partition)]);
    let services = hosts.into_iter().map(|suffix| format!("s3.{}.{suffix}", scope.region)).collect();
    let context = vec![scope.bucket_arn.to_owned(), scope.objects_arn.to_owned()];
    WrittenConditions::from([
        ("StringEquals".to_owned(), [("kms:ViaService".to_owned(), services)].into()),
        ("StringLike".to_owned(), [("kms:EncryptionContext:aws:s3:arn".to_owned(), context)].into()),
    ])
}

fn allow(sid: Option<&str>, actions: &[&str], resources: &[&str]) -> PolicyStatement {
    PolicyStatement {
        sid: sid.map(str::to_owned),
        effect: Effect::Allow,
        actions: actions.iter().map(|&a| a.to_owned()).collect(),
        resources: resources.iter().map(|&r| r.to_owned()).collect(),
        conditions: Default::default(),
        unknown: Default::default(),
    }
}
