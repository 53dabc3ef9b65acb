//! All settings of a bucket in a real run: set, changed by others and reverted, while the foreign parts stay the same
//! bytes.

use aws_sdk_s3::types as sdk;
use serde_json::{Value, json};

use crate::support::harness::{Harness, told, writes};

const BUCKET: &str = "bucket-settings";

const FOREIGN: &str = r#"{ "Sid":"Theirs", "Effect" : "Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-settings"}"#;

fn spec() -> Value {
    json!({
        "preset": "IlluminaICA",
        "illuminaICA": { "copyTags": true, "crossAccountCopy": {} },
        "bucket": {
            "versioning": "Enabled",
            "objectLock": { "mode": "GOVERNANCE", "days": 3 },
            "acceleration": "Suspended",
            "logging": { "targetBucket": "bucket-settings-logs", "targetPrefix": "a/" },
            "encryption": { "type": "SSE-S3", "blockedTypes": ["SSE-C"] },
            "tags": { "team": "a" },
            "tls": { "minimumVersion": "1.2" },
            "policyStatements": [
                { "sid": "Guard", "effect": "Deny", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:DeleteObject"] },
                { "sid": "Auditors", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:GetObject"] },
            ],
            "lifecycle": { "rules": [
                { "id": "uploads", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } },
                {
                    "id": "versions",
                    "filter": { "prefix": "runs/", "tags": { "keep": "no" }, "objectSizeGreaterThan": 1024 },
                    "noncurrentVersionExpiration": { "noncurrentDays": 30, "newerNoncurrentVersions": 2 },
                    "transitions": [{ "days": 30, "storageClass": "STANDARD_IA" }],
                },
            ] },
        },
    })
}

async fn policy(harness: &Harness) -> String {
    harness.s3().get_bucket_policy().bucket(BUCKET).send().await.unwrap().policy.unwrap()
}

/// The next reconcile changes only this, and the one after it nothing.
async fn reverted(harness: &Harness, action: &str, path: &str) {
    harness.proxy.take();
    let object = harness.check("c").await;
    assert_eq!(told(&object, "Ready").0, "True", "{:?}", told(&object, "Ready"));
    let requests = harness.proxy.take();
    let journal = object.status.unwrap().drift.unwrap_or_default().journal;
    assert_eq!(writes(&requests), [action], "{:?} {journal:?}", crate::support::harness::actions(&requests));
    assert!(journal.iter().any(|entry| entry.path == path), "no {path} in {journal:#?}");
    quiet(harness).await;
}

async fn quiet(harness: &Harness) {
    harness.proxy.take();
    harness.check("c").await;
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "a further check writes");
}

#[tokio::test]
async fn all_of_them() {
    let harness = Harness::new("settings-all").await;
    let s3 = harness.s3();
    // The target of the logs: S3 requires a bucket of the same owner that allows its log delivery to write.
    s3.create_bucket().bucket("bucket-settings-logs").send().await.unwrap();
    let deliver = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "Service": "logging.s3.amazonaws.com" }, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket-settings-logs/*" }] });
    s3.put_bucket_policy().bucket("bucket-settings-logs").policy(deliver.to_string()).send().await.unwrap();

    harness.apply(&harness.connection(BUCKET, spec())).await;
    let object = harness.ready("c").await;
    quiet(&harness).await;
    let owned = object.status.unwrap().memory.bucket.unwrap().owned;
    assert_eq!(owned["lifecycle"], ["uploads", "versions"]);
    assert_eq!(owned["policyStatements"].len(), 5);

    let retention = sdk::DefaultRetention::builder().mode(sdk::ObjectLockRetentionMode::Governance).days(1).build();
    let lock = sdk::ObjectLockConfiguration::builder()
        .object_lock_enabled(sdk::ObjectLockEnabled::Enabled)
        .rule(sdk::ObjectLockRule::builder().default_retention(retention).build())
        .build();
    s3.put_object_lock_configuration().bucket(BUCKET).object_lock_configuration(lock).send().await.unwrap();
    reverted(&harness, "s3:PutBucketObjectLockConfiguration", "bucket.objectLock.days").await;

    let accelerate = sdk::AccelerateConfiguration::builder().status(sdk::BucketAccelerateStatus::Enabled).build();
    s3.put_bucket_accelerate_configuration().bucket(BUCKET).accelerate_configuration(accelerate).send().await.unwrap();
    reverted(&harness, "s3:PutAccelerateConfiguration", "bucket.acceleration").await;

    s3.put_bucket_logging()
        .bucket(BUCKET)
        .bucket_logging_status(sdk::BucketLoggingStatus::builder().build())
        .send()
        .await
        .unwrap();
    reverted(&harness, "s3:PutBucketLogging", "bucket.logging").await;

    s3.delete_bucket_lifecycle().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "s3:PutLifecycleConfiguration", "bucket.lifecycle.rules[versions]").await;

    s3.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "s3:PutBucketPolicy", "bucket.tls.minimumVersion").await;
}

#[tokio::test]
async fn foreign_parts_stay() {
    let harness = Harness::new("settings-foreign").await;
    let s3 = harness.s3();
    let mut wanted = spec();
    for field in ["objectLock", "logging", "acceleration"] {
        wanted["bucket"].as_object_mut().unwrap().remove(field);
    }
    harness.apply(&harness.connection(BUCKET, wanted.clone())).await;
    harness.ready("c").await;

    s3.put_bucket_versioning()
        .bucket(BUCKET)
        .versioning_configuration(sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Suspended).build())
        .send()
        .await
        .unwrap();
    reverted(&harness, "s3:PutBucketVersioning", "bucket.versioning").await;

    // Others add foreign parts, and break managed ones.
    let mut statements: Vec<Value> =
        serde_json::from_str::<Value>(&policy(&harness).await).unwrap()["Statement"].as_array().unwrap().clone();
    statements.retain(|statement| statement["Sid"] != "Guard");
    let ours: Vec<_> = statements.iter().map(Value::to_string).collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{FOREIGN},{}]}}"#, ours.join(","));
    s3.put_bucket_policy().bucket(BUCKET).policy(text).send().await.unwrap();
    reverted(&harness, "s3:PutBucketPolicy", "bucket.policyStatements[Guard]").await;
    assert!(policy(&harness).await.contains(FOREIGN), "{}", policy(&harness).await);

    let rules = s3.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.unwrap().rules.unwrap();
    #[allow(deprecated, reason = "the outdated form is what others may have")]
    let theirs = sdk::LifecycleRule::builder()
        .id("theirs")
        .prefix("x/")
        .status(sdk::ExpirationStatus::Enabled)
        .noncurrent_version_expiration(
            sdk::NoncurrentVersionExpiration::builder().noncurrent_days(3).newer_noncurrent_versions(5).build(),
        )
        .build()
        .unwrap();
    let uploads = rules.iter().find(|rule| rule.id() == Some("uploads")).unwrap().clone();
    let all = sdk::BucketLifecycleConfiguration::builder().rules(theirs.clone()).rules(uploads).build().unwrap();
    let size = sdk::TransitionDefaultMinimumObjectSize::VariesByStorageClass;
    let call = s3.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(all);
    call.transition_default_minimum_object_size(size.clone()).send().await.unwrap();
    reverted(&harness, "s3:PutLifecycleConfiguration", "bucket.lifecycle.rules[versions]").await;

    let queue = sdk::QueueConfiguration::builder()
        .id("theirs")
        .queue_arn("arn:aws:sqs:us-east-1:123456789012:queue")
        .events(sdk::Event::S3ObjectCreatedPut)
        .build()
        .unwrap();
    let notifications = sdk::NotificationConfiguration::builder().queue_configurations(queue).build();
    let call = s3.put_bucket_notification_configuration().bucket(BUCKET).notification_configuration(notifications);
    call.skip_destination_validation(true).send().await.unwrap();
    let notified = s3.get_bucket_notification_configuration().bucket(BUCKET).send().await.unwrap();

    // All managed parts are removed; a Deny only if that is allowed.
    wanted["bucket"]["policyStatements"] = json!([]);
    wanted["bucket"]["lifecycle"] = json!({ "rules": [] });
    for field in ["tls", "tags"] {
        wanted["bucket"].as_object_mut().unwrap().remove(field);
    }
    wanted.as_object_mut().unwrap().remove("illuminaICA");
    harness.apply(&harness.connection(BUCKET, wanted.clone())).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "BucketReady");
    assert_eq!(reason, "WouldWeaken");
    assert!(message.contains("Guard") && message.contains("BucketConnectionTLSOnly"), "{message}");
    assert!(policy(&harness).await.contains("Guard"));

    wanted["bucket"]["allowWeaker"] = json!(["policyStatements"]);
    harness.apply(&harness.connection(BUCKET, wanted)).await;
    harness.ready("c").await;
    assert_eq!(policy(&harness).await, format!(r#"{{"Version":"2012-10-17","Statement":[{FOREIGN}]}}"#));
    let left = s3.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.unwrap();
    assert_eq!((left.transition_default_minimum_object_size(), left.rules()), (Some(&size), &[theirs][..]));
    let now = s3.get_bucket_notification_configuration().bucket(BUCKET).send().await.unwrap();
    assert_eq!(now.queue_configurations(), notified.queue_configurations());
    quiet(&harness).await;
}

#[tokio::test]
async fn impossible_specs_are_refused() {
    let harness = Harness::new("settings-specs").await;
    let refused = |change: Value| {
        let object = harness.connection(BUCKET, change);
        let harness = &harness;
        async move {
            let patch = kube::api::Patch::Apply(&object);
            let answer = harness.objects().patch("c", &kube::api::PatchParams::apply("user").force(), &patch).await;
            answer.expect_err("it is accepted").to_string()
        }
    };
    let statement = |sid: &str, action: &str| json!({ "bucket": { "policyStatements": [{ "sid": sid, "effect": "Allow", "principals": { "AWS": ["123456789012"] }, "actions": [action] }] } });
    let rule = |rule: Value| json!({ "bucket": { "lifecycle": { "rules": [rule] } } });
    for (spec, text) in [
        (json!({ "bucket": { "objectLock": { "mode": "GOVERNANCE", "days": 1 } } }), "objectLock needs versioning: Enabled"),
        (
            json!({ "bucket": { "versioning": "Enabled", "objectLock": { "mode": "GOVERNANCE", "days": 1, "years": 1 } } }),
            "objectLock needs days or years, and not both",
        ),
        (json!({ "bucket": { "tls": { "minimumVersion": "1.1" } } }), "supported values: \"1.2\", \"1.3\""),
        (statement("a-b", "s3:GetObject"), "sid may contain letters and digits only"),
        (statement("BucketConnectionX", "s3:GetObject"), "must not begin with BucketConnection"),
        (statement("A", "iam:*"), "actions must be written like s3:GetObject"),
        (
            json!({ "bucket": { "lifecycle": { "rules": [{ "id": "a", "expiration": { "days": 1 } }, { "id": "a", "expiration": { "days": 2 } }] } } }),
            "each lifecycle rule needs an id of its own",
        ),
        (rule(json!({ "id": "a" })), "a lifecycle rule needs at least one of expiration"),
        (rule(json!({ "id": "a", "expiration": { "days": 1, "date": "2030-01-01" } })), "expiration needs exactly one of"),
        (json!({ "illuminaICA": { "copyTags": true } }), "illuminaICA is allowed only with preset IlluminaICA"),
        (json!({ "bucket": { "acceleration": "Enabled" } }), "supported values: \"Suspended\""),
    ] {
        let error = refused(spec.clone()).await;
        assert!(error.contains(text), "{spec}: {error}");
    }
}
