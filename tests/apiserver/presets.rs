//! What each preset allows the issued key, tried with that key.

use aws_sdk_s3::error::ProvideErrorMetadata;
use serde_json::{Value, json};

use crate::support::harness::{Harness, told};

/// What a key may do, as far as the emulator evaluates it: list, get, put, delete under the prefix; then the same
/// outside of it.
async fn rights(harness: &Harness, bucket: &str) -> String {
    let s3 = harness.s3_with_key("c-s3", "us-east-1").await;
    for key in ["runs/there", "elsewhere/there"] {
        harness.s3().put_object().bucket(bucket).key(key).send().await.unwrap();
    }
    let mut allowed = String::new();
    for prefix in ["runs/", "elsewhere/"] {
        let object = format!("{prefix}there");
        let tried = [
            (
                "list",
                s3.list_objects_v2()
                    .bucket(bucket)
                    .prefix(prefix)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| e.code().map(str::to_owned)),
            ),
            ("get", s3.get_object().bucket(bucket).key(&object).send().await.map(drop).map_err(|e| e.code().map(str::to_owned))),
            ("put", s3.put_object().bucket(bucket).key(&object).send().await.map(drop).map_err(|e| e.code().map(str::to_owned))),
            (
                "delete",
                s3.delete_object().bucket(bucket).key(&object).send().await.map(drop).map_err(|e| e.code().map(str::to_owned)),
            ),
        ];
        for (what, result) in tried {
            match result {
                Ok(()) => allowed += &format!("{prefix}:{what} "),
                Err(code) => assert_eq!(code.as_deref(), Some("AccessDenied"), "{what} {object}"),
            }
        }
    }
    allowed.trim_end().to_owned()
}

async fn check(preset: &str, spec: Value, expected: &str) {
    let harness = Harness::new("preset").await;
    let bucket = format!("bucket-{}", preset.to_lowercase());
    let mut object = harness.connection(&bucket, json!({ "preset": preset }));
    crate::support::merge::merge(&mut object["spec"], spec);
    harness.apply(&object).await;
    harness.ready("c").await;
    assert_eq!(rights(&harness, &bucket).await, expected);
}

#[tokio::test]
async fn read_only() {
    check("ReadOnly", json!({}), "runs/:list runs/:get").await;
}

#[tokio::test]
async fn read_write() {
    check("ReadWrite", json!({}), "runs/:list runs/:get runs/:put runs/:delete").await;
}

#[tokio::test]
async fn write_only() {
    check("WriteOnly", json!({}), "runs/:put").await;
}

#[tokio::test]
async fn clc_genomics() {
    check("CLCGenomics", json!({}), "runs/:list runs/:get runs/:put runs/:delete elsewhere/:list").await;
}

#[tokio::test]
async fn illumina_ica_by_default_under_the_prefix_only() {
    check("IlluminaICA", json!({}), "runs/:list runs/:get runs/:put runs/:delete elsewhere/:list").await;
}

/// The bucket decides, if the spec does not say.
#[tokio::test]
async fn illumina_ica_on_a_versioned_bucket() {
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    let harness = Harness::new("ica-versions").await;
    let bucket = "bucket-ica-versions";
    let spec = |team: &str| {
        let copy = json!({ "crossAccountCopy": {} });
        json!({ "preset": "IlluminaICA", "illuminaICA": copy, "user": { "name": "ica" }, "bucket": { "tags": { "team": team } } })
    };
    harness.apply(&harness.connection(bucket, spec("a"))).await;
    harness.ready("c").await;
    harness.check("c").await;
    let policies = async || {
        let user = harness.iam().get_user_policy().user_name("ica").policy_name("bucketconnection").send().await.unwrap();
        let bucket = harness.s3().get_bucket_policy().bucket(bucket).send().await.unwrap();
        [user.policy_document.contains("s3%3AListBucketVersions"), bucket.policy.unwrap().contains("s3:DeleteObjectVersion")]
    };
    assert_eq!(policies().await, [false, false]);
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    harness.s3().put_bucket_versioning().bucket(bucket).versioning_configuration(on).send().await.unwrap();
    harness.apply(&harness.connection(bucket, spec("b"))).await;
    harness.ready("c").await;
    assert_eq!(policies().await, [true, true]);
}

#[tokio::test]
async fn custom_allows_exactly_its_statements() {
    let statements = json!([{ "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::bucket-custom/elsewhere/*"] }]);
    check("Custom", json!({ "policy": { "statements": statements } }), "elsewhere/:get").await;
}

#[tokio::test]
async fn a_statement_in_the_spec_adds_to_the_preset() {
    let statements = json!([{ "sid": "Keep", "effect": "Deny", "actions": ["s3:DeleteObject"] }]);
    check("ReadWrite", json!({ "policy": { "statements": statements } }), "runs/:list runs/:get runs/:put").await;
}

#[tokio::test]
async fn the_secret_serves_both_platforms() {
    let harness = Harness::new("secret").await;
    harness.apply(&harness.connection("bucket-hand-off", json!({ "preset": "CLCGenomics" }))).await;
    harness.ready("c").await;
    let data = harness.secret("c-s3").await;
    let names: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "BUCKET",
            "PREFIX",
            "connectionName",
            "credentials",
            "partition",
            "region"
        ]
    );
    for (name, value) in [
        ("AWS_REGION", "us-east-1"),
        ("region", "us-east-1"),
        ("partition", "aws"),
        ("connectionName", "c"),
        ("BUCKET", "bucket-hand-off"),
        ("PREFIX", "runs/"),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    let expected = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        data["AWS_ACCESS_KEY_ID"], data["AWS_SECRET_ACCESS_KEY"]
    );
    assert_eq!(data["credentials"], expected);

    let secret = harness.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references, None, "the garbage collector would delete it");
    let owner = &secret.metadata.annotations.as_ref().unwrap()["bucketconnection.dev/owner"];
    assert!(owner.ends_with(&format!("/{}/c", harness.namespace)), "{owner}");
    assert_eq!(secret.metadata.labels.unwrap()["app.kubernetes.io/managed-by"], "bucketconnection");
    // Created, so that it overwrites no other; applied from then on.
    let manager =
        secret.metadata.managed_fields.unwrap().into_iter().find(|m| m.manager.as_deref() == Some("bucketconnection/secret"));
    assert_eq!(manager.unwrap().operation.as_deref(), Some("Update"));
}

/// Every prefix that the schema accepts is sent unchanged: in a form to IAM, in the path and the query to S3.
#[tokio::test]
async fn every_character_of_a_prefix_works() {
    let harness = Harness::new("characters").await;
    let prefix = "a b/ @(!)/x=+,:-_./";
    let verification = json!({ "objects": true });
    let spec = json!({ "bucket": { "prefix": prefix }, "verification": verification, "policy": { "type": "Managed" } });
    harness.apply(&harness.connection("bucket-characters", spec)).await;
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").2, format!("the issued key works on s3://bucket-characters/{prefix}"));
    harness.patch("c", json!({ "spec": { "policy": { "type": "Inline" } } })).await;
    harness.ready("c").await;
}

#[tokio::test]
async fn a_region_other_than_us_east_1_is_named_in_the_request() {
    let harness = Harness::new("region").await;
    harness.apply(&harness.connection("bucket-frankfurt", json!({ "region": "eu-central-1" }))).await;
    harness.ready("c").await;
    let location = harness.s3().get_bucket_location().bucket("bucket-frankfurt").send().await;
    // The administrator's client is in us-east-1: the emulator redirects it, as AWS does.
    assert!(location.is_err());
    let config = harness.aws("eu-central-1");
    let location = crate::support::harness::s3(&config).get_bucket_location().bucket("bucket-frankfurt").send().await.unwrap();
    assert_eq!(location.location_constraint().map(|c| c.as_str().to_owned()), Some("eu-central-1".to_owned()));
    let create = harness.proxy.take().into_iter().find(|request| request.action == "s3:CreateBucket").unwrap();
    assert!(create.text.contains("<LocationConstraint>eu-central-1</LocationConstraint>"), "{}", create.text);

    harness
        .apply(&{
            let mut object = harness.connection("bucket-virginia", json!({}));
            object["metadata"]["name"] = json!("virginia");
            object
        })
        .await;
    harness.ready("virginia").await;
    let create = harness.proxy.take().into_iter().find(|request| request.action == "s3:CreateBucket").unwrap();
    assert!(!create.text.contains("LocationConstraint"), "{}", create.text);
}

#[tokio::test]
async fn arns_have_the_partition_of_the_account() {
    let mut harness = Harness::idle("china", crate::support::stack::Stack::cluster(), &[]).await;
    harness.environment.insert("AWS_REGION".into(), "cn-north-1".into());
    harness.start();
    harness
        .apply(&harness.connection("bucket-beijing", json!({ "region": "cn-north-1", "policy": { "type": "Managed" } })))
        .await;
    let object = harness.ready("c").await;
    let status = object.status.unwrap();
    assert_eq!(status.partition.as_deref(), Some("aws-cn"));
    assert_eq!(status.memory.bucket.unwrap().arn, "arn:aws-cn:s3:::bucket-beijing");
    assert!(status.memory.user.unwrap().arn.starts_with("arn:aws-cn:iam::123456789012:user/bucketconnection/"));
    let create = harness.proxy.take().into_iter().find(|request| request.action == "iam:CreatePolicy").unwrap();
    assert!(create.text.contains("arn%3Aaws-cn%3As3%3A%3A%3Abucket-beijing"), "{}", create.text);

    harness
        .apply(&{
            let mut object = harness.connection("bucket-elsewhere", json!({}));
            object["metadata"]["name"] = json!("elsewhere");
            object
        })
        .await;
    let object = harness.condition("elsewhere", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "InvalidSpec");
    assert!(
        message.contains("spec.region: us-east-1 is a region of the partition aws, but") && message.contains("aws-cn"),
        "{message}"
    );
}

#[tokio::test]
async fn every_setting_is_written_and_stays_in_sync() {
    let harness = Harness::new("settings").await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let spec = json!({
        "bucket": {
            "encryption": { "type": "SSE-KMS", "kmsKeyArn": key, "bucketKey": true },
            "publicAccessBlock": { "blockPublicPolicy": false },
            "ownership": "ObjectWriter",
            "allowWeaker": ["ownership", "publicAccessBlock"],
            "tags": { "team": "a", "empty": "", "with space": "ü" },
        },
        "cors": { "rules": [{ "id": "one", "allowedMethods": ["GET"], "allowedOrigins": ["https://*.example.org"], "maxAgeSeconds": 0 }] },
        "user": { "tags": { "team": "a" } },
    });
    harness.apply(&harness.connection("bucket-settings", spec)).await;
    harness.ready("c").await;
    let s3 = harness.s3();
    let encryption = s3.get_bucket_encryption().bucket("bucket-settings").send().await.unwrap();
    let rule = encryption.server_side_encryption_configuration().unwrap().rules()[0].clone();
    assert_eq!(rule.bucket_key_enabled, Some(true));
    assert_eq!(rule.apply_server_side_encryption_by_default().unwrap().kms_master_key_id(), Some(key));
    let block =
        s3.get_public_access_block().bucket("bucket-settings").send().await.unwrap().public_access_block_configuration.unwrap();
    assert_eq!((block.block_public_acls, block.block_public_policy), (Some(true), Some(false)));
    let tags = s3.get_bucket_tagging().bucket("bucket-settings").send().await.unwrap();
    assert!(tags.tag_set().iter().any(|tag| tag.key() == "with space" && tag.value() == "ü"), "{tags:?}");

    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(crate::support::harness::writes(&harness.proxy.take()), [""; 0]);

    // What is removed from the spec: managed tags are removed, the settings that protect stay as they are.
    harness
        .patch("c", json!({ "spec": { "bucket": { "tags": { "team": null }, "encryption": null }, "user": { "tags": null } } }))
        .await;
    harness.ready("c").await;
    let tags = s3.get_bucket_tagging().bucket("bucket-settings").send().await.unwrap();
    assert!(!tags.tag_set().iter().any(|tag| tag.key() == "team"), "{tags:?}");
    let user = harness.iam().get_user().user_name(format!("{}.c", harness.namespace)).send().await.unwrap().user.unwrap();
    assert_eq!(
        user.tags().iter().map(|tag| tag.key()).collect::<Vec<_>>(),
        [
            "bucketconnection.dev/keys",
            "bucketconnection.dev/namespace",
            "bucketconnection.dev/owner",
            "bucketconnection.dev/policy",
            "bucketconnection.dev/preset",
            "bucketconnection.dev/secret"
        ]
    );
    let encryption = s3.get_bucket_encryption().bucket("bucket-settings").send().await.unwrap();
    let rule = encryption.server_side_encryption_configuration().unwrap().rules()[0].clone();
    assert_eq!(rule.apply_server_side_encryption_by_default().unwrap().kms_master_key_id(), Some(key), "omission never weakens");
}
