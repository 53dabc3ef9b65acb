//! QIAGEN CLC Server: browse, import from and export to S3.
//!
//! Derived, because QIAGEN publishes no policy. A CLC connection has no bucket field: it shows the buckets of the
//! account, so it needs permission to list them. Browsing starts at the root of a bucket, so listing has no condition
//! on a prefix. The server itself connects to S3, so CORS is not needed.

use super::{Parts, Scope, allow};

pub(super) fn parts(scope: &Scope<'_>) -> Parts {
    Parts {
        statements: vec![
            allow(Some("BrowseAccount"), &["s3:ListAllMyBuckets"], &["*"]),
            allow(
                Some("BrowseBucket"),
                &["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                &[scope.bucket_arn],
            ),
            allow(
                Some("ImportAndExport"),
                &["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                &[scope.objects_arn],
            ),
        ],
        ..Parts::default()
    }
}
