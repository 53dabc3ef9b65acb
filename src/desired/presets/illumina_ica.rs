//! Illumina Connected Analytics, as in its guide "Connect AWS S3 Bucket": the CORS rule for browsers and three
//! statements. Other pages of the guide list more permissions: those for buckets with versions are added if the bucket
//! has versions, those for tags and for copies between projects only if the spec asks for them.

use super::{Parts, Scope, allow};
use crate::desired::SpecError;
use crate::settings::bucket_policy::{BucketStatement, ICA_COPY};
use crate::settings::cors::CorsRule;
use crate::vocabulary::policy_language::Effect;

/// Regions with limits in ICA itself, and what the limits are (guide, table of regions).
pub const LIMITED_REGIONS: [(&str, &str); 1] =
    [("ap-northeast-2", "ICA in South Korea has no BaseSpace Sequence Hub: sequencer integration is limited")];

/// The role with which ICA copies between projects, in the regions for which a working bucket policy was published. The
/// names seem to follow a pattern, but it does not show which of two regions is meant, so the operator does not guess.
const COPY_ROLES: [(&str, &str); 2] = [
    ("us-east-1", "arn:aws:iam::079623148045:role/ica_use1_crossacct"),
    ("ap-southeast-2", "arn:aws:iam::079623148045:role/ica_aps2_crossacct"),
];

const TAGS: [&str; 4] =
    ["s3:GetObjectTagging", "s3:PutObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectVersionTagging"];

pub(super) fn parts(scope: &Scope<'_>) -> Result<Parts, SpecError> {
    let text = |items: &[&str]| items.iter().map(|&i| i.to_owned()).collect::<Vec<_>>();
    // Section "Create AWS IAM Policy". The bucket statement has no condition on a prefix: ICA's pages have none.
    let mut bucket = vec!["s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation"];
    let mut objects = vec!["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"];
    if scope.versioned {
        // The page on IAM users has another policy for buckets whose versioning is enabled or suspended.
        bucket.extend(["s3:ListBucketVersions", "s3:GetBucketVersioning"]);
        objects.extend(["s3:DeleteObjectVersion", "s3:GetObjectVersion"]);
    }
    if scope.illumina_ica.is_some_and(|ica| ica.copy_tags) {
        objects.extend(TAGS);
    }
    Ok(Parts {
        // Section "Configure Bucket CORS Permission".
        cors: Some(vec![CorsRule {
            id: None,
            allowed_headers: text(&["*"]),
            allowed_methods: text(&["HEAD", "GET", "PUT", "POST", "DELETE"]),
            allowed_origins: text(&["https://ica.illumina.com"]),
            expose_headers: text(&["ETag", "x-amz-meta-custom-header"]),
            max_age_seconds: None,
        }]),
        statements: vec![
            allow(None, &bucket, &[scope.bucket_arn]),
            allow(None, &objects, &[scope.objects_arn]),
            allow(None, &["sts:GetFederationToken"], &["*"]),
        ],
        bucket_statements: cross_account_copy(scope)?.into_iter().collect(),
    })
}

/// ICA's own page does not list all permissions of the role; these come from two published bucket policies that work.
fn cross_account_copy(scope: &Scope<'_>) -> Result<Option<BucketStatement>, SpecError> {
    let Some(copy) = scope.illumina_ica.and_then(|ica| ica.cross_account_copy.as_ref()) else { return Ok(None) };
    let known = COPY_ROLES.iter().find(|(region, _)| *region == scope.region).map(|(_, role)| (*role).to_owned());
    let Some(role) = copy.role_arn.clone().or(known) else {
        let message = format!(
            "roleArn is required in {}: the operator knows ICA's role only in us-east-1 and ap-southeast-2; ask Illumina for the ARN",
            scope.region
        );
        return Err(SpecError::new("spec.illuminaICA.crossAccountCopy", message));
    };
    let mut actions =
        vec!["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"];
    if scope.versioned {
        actions.extend(["s3:GetObjectVersion", "s3:DeleteObjectVersion"]);
    }
    if scope.versioned || scope.illumina_ica.is_some_and(|ica| ica.copy_tags) {
        actions.extend(TAGS);
    }
    Ok(Some(BucketStatement {
        sid: ICA_COPY.to_owned(),
        effect: Effect::Allow,
        principals: [("AWS".to_owned(), vec![role])].into(),
        actions: actions.into_iter().map(str::to_owned).collect(),
        resources: Vec::new(),
        conditions: Default::default(),
        unknown: Default::default(),
    }))
}
