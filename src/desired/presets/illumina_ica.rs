//! Illumina Connected Analytics, as its guide "Connect AWS S3 Bucket" ends: the browser's CORS rule and three statements.

use super::{Parts, Scope, allow};
use crate::settings::cors::CorsRule;

/// Regions where ICA itself has limits, with what they are (guide, table of regions).
pub const LIMITED_REGIONS: [(&str, &str); 1] =
    [("ap-northeast-2", "ICA in South Korea has no BaseSpace Sequence Hub: sequencer integration is limited")];

pub(super) fn parts(scope: &Scope<'_>) -> Parts {
    let text = |items: &[&str]| items.iter().map(|&i| i.to_owned()).collect::<Vec<_>>();
    Parts {
        // Section "Configure Bucket CORS Permission".
        cors: Some(vec![CorsRule {
            id: None,
            allowed_headers: text(&["*"]),
            allowed_methods: text(&["HEAD", "GET", "PUT", "POST", "DELETE"]),
            allowed_origins: text(&["https://ica.illumina.com"]),
            expose_headers: text(&["ETag", "x-amz-meta-custom-header"]),
            max_age_seconds: None,
        }]),
        // Section "Create AWS IAM Policy". The bucket statement has no condition on a prefix: ICA's pages have none.
        statements: vec![
            allow(
                None,
                &["s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation"],
                &[scope.bucket_arn],
            ),
            allow(None, &["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"], &[scope.objects_arn]),
            allow(None, &["sts:GetFederationToken"], &["*"]),
        ],
    }
}
