//! The plain presets: read, read and write, or only write objects under the prefix.

use super::{Parts, Scope, allow};
use crate::api::PolicyStatement;

pub(super) fn read_only(scope: &Scope<'_>) -> Parts {
    parts(vec![location(scope), list(scope, &["s3:ListBucket"]), allow(Some("Objects"), &["s3:GetObject"], &[scope.objects_arn])])
}

pub(super) fn read_write(scope: &Scope<'_>) -> Parts {
    parts(vec![
        location(scope),
        list(scope, &["s3:ListBucket", "s3:ListBucketMultipartUploads"]),
        allow(
            Some("Objects"),
            &["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            &[scope.objects_arn],
        ),
    ])
}

pub(super) fn write_only(scope: &Scope<'_>) -> Parts {
    parts(vec![
        location(scope),
        allow(Some("Objects"), &["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], &[scope.objects_arn]),
    ])
}

fn parts(statements: Vec<PolicyStatement>) -> Parts {
    Parts { statements, ..Parts::default() }
}

/// Clients read the region first.
fn location(scope: &Scope<'_>) -> PolicyStatement {
    allow(Some("Location"), &["s3:GetBucketLocation"], &[scope.bucket_arn])
}

/// Listing, limited to the prefix.
fn list(scope: &Scope<'_>, actions: &[&str]) -> PolicyStatement {
    let mut statement = allow(Some("List"), actions, &[scope.bucket_arn]);
    if let Some(prefix) = scope.prefix {
        let values = [("s3:prefix".to_owned(), vec![format!("{prefix}*")])];
        statement.conditions.insert("StringLike".to_owned(), values.into());
    }
    statement
}
