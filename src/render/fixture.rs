//! The connections that the tests of several modules are about.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::connection::Schedule;
use crate::api::BucketConnection;
use crate::vocabulary::conditions::ConditionType;

/// How often its operator reconciles and records.
pub const SCHEDULE: Schedule = Schedule { longest: SignedDuration::from_mins(11), heartbeat: SignedDuration::from_hours(1) };

/// The time of the tests.
pub fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// A condition of the fixture.
pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 2,
        "lastTransitionTime": "2026-11-25T11:00:00Z",
    })
}

/// A connection that works, reconciled five minutes ago.
pub fn object() -> Value {
    let mut conditions = vec![condition("Ready", "True", "Connected", "the issued key works on s3://lab-bucket/runs/")];
    conditions.extend(ConditionType::PARTS.map(|part| condition(&part.to_string(), "True", "InSync", "as specified")));
    json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "genomics", "namespace": "lab", "generation": 2, "creationTimestamp": "2026-11-20T12:00:00Z" },
        "spec": {
            "preset": "ReadWrite", "region": "eu-west-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" },
            "credentials": { "rotation": { "interval": "90d" } },
        },
        "status": {
            "observedGeneration": 2, "conditions": conditions, "accountId": "123456789012",
            "lastCheckedAt": "2026-11-25T11:55:00Z",
            "bucket": { "arn": "arn:aws:s3:::lab-bucket", "region": "eu-west-1" },
            "user": { "name": "lab.genomics", "arn": "arn:aws:iam::123456789012:user/bucketconnection/lab.genomics", "id": "AIDA1" },
            "policy": { "type": "Inline", "name": "bucketconnection" },
            "credentials": {
                "secretName": "genomics-s3", "accessKeyId": "AKIAGENOMICS00000002", "phase": "Verified",
                "createdAt": "2026-11-21T12:00:00Z", "verifiedAt": "2026-11-25T11:00:00Z", "nextRotationAt": "2027-02-18T12:00:00Z",
            },
            "capabilities": {
                "s3": { "state": "Valid", "message": "works" },
                "read": { "state": "NotConfigured", "message": "not verified" },
                "write": { "state": "NotConfigured", "message": "not verified" },
            },
            "drift": {
                "count": 1,
                "journal": [{
                    "path": "cors.rules[0].allowedOrigins", "live": "[\"*\"]", "desired": "[\"https://a\"]",
                    "detectedAt": "2026-11-25T11:30:00Z", "revertedAt": "2026-11-25T11:30:00Z",
                }],
            },
            "access": { "groups": ["lab-readers"] },
        },
    })
}

/// A connection `lab/c` with this status.
pub fn with_status(status: Value) -> BucketConnection {
    serde_json::from_value(json!({
        "apiVersion": "bucketconnection.dev/v1alpha1",
        "kind": "BucketConnection",
        "metadata": { "namespace": "lab", "name": "c", "generation": 2 },
        "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "bucket" } },
        "status": status,
    }))
    .unwrap()
}
