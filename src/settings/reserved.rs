//! S3 actions that need an extra entry before a tenant's statements may allow them: actions on the bucket's own
//! configuration, on access to its objects, and on retention.
//!
//! With these actions, a key could rewrite the ownership tag, by which the operator and other tenants know the owner of
//! the bucket, or undo what the operator manages.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>

use crate::vocabulary::wildcard::policy_matches;

/// Groups of actions, each with the pattern that matches all of them, including those that AWS may add.
const GROUPS: [(&str, &[&str]); 9] = [
    (
        "s3:PutBucket*",
        &[
            "s3:PutBucketAbac",
            "s3:PutBucketAcl",
            "s3:PutBucketCORS",
            "s3:PutBucketLogging",
            "s3:PutBucketNotification",
            "s3:PutBucketObjectLockConfiguration",
            "s3:PutBucketOwnershipControls",
            "s3:PutBucketPolicy",
            "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketRequestPayment",
            "s3:PutBucketTagging",
            "s3:PutBucketVersioning",
            "s3:PutBucketWebsite",
        ],
    ),
    (
        "s3:Put*Configuration",
        &[
            "s3:PutAccelerateConfiguration",
            "s3:PutAnalyticsConfiguration",
            "s3:PutEncryptionConfiguration",
            "s3:PutIntelligentTieringConfiguration",
            "s3:PutInventoryConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:PutMetricsConfiguration",
            "s3:PutReplicationConfiguration",
        ],
    ),
    ("s3:CreateBucket*", &["s3:CreateBucket", "s3:CreateBucketMetadataTableConfiguration"]),
    (
        "s3:DeleteBucket*",
        &["s3:DeleteBucket", "s3:DeleteBucketMetadataTableConfiguration", "s3:DeleteBucketPolicy", "s3:DeleteBucketWebsite"],
    ),
    (
        "s3:UpdateBucket*",
        &["s3:UpdateBucketMetadataInventoryTableConfiguration", "s3:UpdateBucketMetadataJournalTableConfiguration"],
    ),
    ("s3:*agResource", &["s3:TagResource", "s3:UntagResource"]),
    ("s3:PutObject*Acl", &["s3:PutObjectAcl", "s3:PutObjectVersionAcl"]),
    ("s3:Replicate*", &["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"]),
    (
        "",
        &[
            "s3:BypassGovernanceRetention",
            "s3:InitiateReplication",
            "s3:ObjectOwnerOverrideToBucketOwner",
            "s3:PutObjectLegalHold",
            "s3:PutObjectRetention",
        ],
    ),
];

/// The reserved actions that `action` matches; it may have wildcards.
fn among(action: &str) -> impl Iterator<Item = &'static str> {
    let action = action.to_lowercase();
    GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).filter(move |name| policy_matches(&action, &name.to_lowercase()))
}

/// Whether `action` matches a reserved action; it may have wildcards.
pub fn is_reserved(action: &str) -> bool {
    among(action).next().is_some()
}

/// Whether an action has wildcards.
pub fn has_wildcards(action: &str) -> bool {
    action.contains(['*', '?'])
}

/// The actions to deny if `actions` with wildcards are allowed: the reserved actions that they match, except those that
/// `allowed` allows.
pub fn denied(actions: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let wide: Vec<_> = actions.iter().filter(|action| has_wildcards(action)).flat_map(|action| among(action)).collect();
    let mut denied = Vec::new();
    for (pattern, names) in GROUPS {
        let these: Vec<_> = names.iter().filter(|name| wide.contains(name) && !allowed(name)).collect();
        if these.len() == names.len() && !pattern.is_empty() {
            denied.push(pattern.to_owned());
        } else {
            denied.extend(these.into_iter().map(|&name| name.to_owned()));
        }
    }
    denied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_their_groups() {
        for (pattern, names) in GROUPS.iter().filter(|(pattern, _)| !pattern.is_empty()) {
            assert!(names.iter().all(|name| policy_matches(pattern, name)), "{pattern}");
        }
        // No pattern denies an action on data.
        let data = [
            "s3:GetObject",
            "s3:PutObject",
            "s3:PutObjectTagging",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:ListBucket",
            "s3:GetBucketTagging",
            "s3:AbortMultipartUpload",
            "s3:RestoreObject",
        ];
        for action in data {
            assert!(!GROUPS.iter().any(|(pattern, _)| policy_matches(pattern, action)) && !is_reserved(action), "{action}");
        }
    }

    #[test]
    fn wildcards_reach_what_they_stand_for() {
        for (action, expected) in [
            ("s3:*", true),
            ("s3:Put*", true),
            ("s3:putbuckettagging", true),
            ("s3:PutBucketTaggin?", true),
            ("s3:*Tagging", true),
            ("s3:UntagResource", true),
            ("s3:Get*", false),
            ("s3:List*", false),
            ("s3:DeleteObject*", false),
            ("s3:PutObject", false),
            ("s3:PutObjectTag*", false),
            ("kms:*", false),
        ] {
            assert_eq!(is_reserved(action), expected, "{action}");
        }
    }

    #[test]
    fn what_is_denied_beside_wildcards() {
        let all = denied(&["s3:*"], |_| false);
        assert_eq!(all.len(), 13, "{all:?}");
        assert_eq!(denied(&["s3:*Tagging"], |_| false), ["s3:PutBucketTagging"]);
        assert_eq!(denied(&["s3:Get*", "s3:PutBucketTagging"], |_| false), [""; 0], "no wildcard reaches it");
        // If only a part of a group is denied, its actions are listed one by one.
        let but_cors = denied(&["s3:PutBucket*"], |action| action == "s3:PutBucketCORS");
        assert!(but_cors.contains(&"s3:PutBucketTagging".to_owned()) && !but_cors.contains(&"s3:PutBucketCORS".to_owned()));
        assert_eq!(denied(&["s3:*"], |_| true), [""; 0]);
    }
}
