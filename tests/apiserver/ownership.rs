//! Nothing foreign is changed: foreign buckets, users, policies, keys and Secrets stop the connection, which reports
//! them.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, s3, told, writes};

/// Applies and waits for Stalled; returns reason and message of Ready.
async fn stalled(harness: &Harness, spec: Value) -> (String, String) {
    harness.apply(&harness.connection("bucket-mine", spec)).await;
    let waited = harness.kubectl(&["wait", "--for=condition=Stalled", "bc/c", "--timeout=120s"]);
    assert!(waited.status.success(), "{waited:?}");
    let object = harness.get("c").await;
    assert_eq!((told(&object, "Ready").0.as_str(), told(&object, "Reconciling").0.as_str()), ("False", "False"));
    let (_, reason, message) = told(&object, "Ready");
    (reason, message)
}

#[tokio::test]
async fn an_existing_bucket_is_foreign() {
    let harness = Harness::new("bucket").await;
    harness.s3().create_bucket().bucket("bucket-mine").send().await.unwrap();
    let (reason, message) = stalled(&harness, json!({ "preset": "IlluminaICA" })).await;
    assert_eq!(reason, "BucketNotOwned");
    assert!(message.contains("bucket-mine") && message.contains("choose another bucket.name"), "{message}");
    assert!(harness.s3().get_bucket_cors().bucket("bucket-mine").send().await.is_err(), "its CORS was written");
    assert!(harness.s3().get_bucket_tagging().bucket("bucket-mine").send().await.is_err(), "it was tagged");
    // A user may exist by then, but it has no permission and no key: naming a bucket gives no access to it.
    let user = format!("{}.c", harness.namespace);
    assert_eq!(harness.keys(&user).await, [""; 0]);
    assert!(harness.iam().list_user_policies().user_name(&user).send().await.unwrap().policy_names().is_empty());
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none());
    let events = harness.events("c").await;
    assert_eq!(
        events.iter().filter(|(kind, reason, _)| kind == "Warning" && reason == "BucketNotOwned").count(),
        1,
        "{events:?}"
    );

    // Once the bucket is deleted, the connection becomes ready in the next reconcile.
    harness.s3().delete_bucket().bucket("bucket-mine").send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

#[tokio::test]
async fn another_connections_bucket_is_foreign() {
    let harness = Harness::new("two").await;
    harness.apply(&harness.connection("bucket-mine", json!({}))).await;
    harness.ready("c").await;
    let mut second = harness.connection("bucket-mine", json!({}));
    second["metadata"]["name"] = json!("second");
    harness.apply(&second).await;
    let object = harness.condition("second", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "NameTaken");
    assert!(message.contains(&format!("belongs to BucketConnection {}/c:", harness.namespace)), "{message}");
    // Deleting the refused connection takes nothing from the other.
    harness.patch("second", json!({ "spec": { "deletionPolicy": "Delete", "forceDestroy": true } })).await;
    harness.delete("second").await;
    harness.gone("second").await;
    harness.check("c").await;
    harness.ready("c").await;
    assert_eq!(told(&harness.get("c").await, "DriftDetected").0, "False");
}

#[tokio::test]
async fn a_bucket_in_another_region() {
    let harness = Harness::new("elsewhere").await;
    let west = s3(&harness.aws("eu-west-1"));
    let constraint = aws_sdk_s3::types::BucketLocationConstraint::EuWest1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build();
    west.create_bucket().bucket("bucket-mine").create_bucket_configuration(place).send().await.unwrap();
    let (reason, message) = stalled(&harness, json!({ "region": "eu-central-1" })).await;
    assert_eq!(reason, "RegionMismatch");
    assert!(message.contains("is in eu-west-1") && message.contains("spec.region says eu-central-1"), "{message}");
    assert_eq!(told(&harness.get("c").await, "RegionMatched").0, "False");
}

#[tokio::test]
async fn a_bucket_name_of_another_account() {
    let harness = Harness::new("account").await;
    harness.proxy.fault("s3:CreateBucket", crate::support::proxy::Fault::Answer(409, "BucketAlreadyExists"), 1);
    harness.proxy.fault("s3:GetBucketTagging", crate::support::proxy::Fault::Answer(403, "AccessDenied"), 1000);
    let (_, message) = stalled(&harness, json!({})).await;
    assert!(message.contains("belongs to another AWS account"), "{message}");
    harness.check("c").await;
    let (_, reason, message) = told(&harness.get("c").await, "Ready");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("belongs to another AWS account, or the operator is not allowed to read it"), "{message}");
    assert_eq!(harness.keys(&format!("{}.c", harness.namespace)).await, [""; 0]);
}

#[tokio::test]
async fn an_existing_user_is_foreign() {
    let harness = Harness::new("user").await;
    harness.iam().create_user().user_name("somebody").send().await.unwrap();
    let (reason, message) = stalled(&harness, json!({ "user": { "name": "somebody" } })).await;
    assert_eq!(reason, "UserNotOwned");
    assert!(message.contains("IAM user somebody exists and was not created by this BucketConnection"), "{message}");
    assert_eq!(harness.keys("somebody").await, [""; 0]);
    assert!(harness.iam().list_user_policies().user_name("somebody").send().await.unwrap().policy_names().is_empty());
}

#[tokio::test]
async fn an_existing_managed_policy_is_foreign() {
    let harness = Harness::new("policy").await;
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let create =
        harness.iam().create_policy().policy_name("theirs").path("/bucketconnection/").policy_document(document.to_string());
    let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
    let (reason, message) = stalled(&harness, json!({ "policy": { "type": "Managed", "name": "theirs" } })).await;
    assert_eq!(reason, "PolicyNotOwned");
    assert!(message.contains("choose another policy.name"), "{message}");
    let policy = harness.iam().get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap();
    assert_eq!((policy.default_version_id(), policy.attachment_count), (Some("v1"), Some(0)));
}

#[tokio::test]
async fn an_existing_secret_is_foreign() {
    let harness = Harness::new("secret").await;
    let secret = Secret {
        metadata: ObjectMeta { name: Some("c-s3".into()), ..ObjectMeta::default() },
        string_data: Some([("password".to_owned(), "theirs".to_owned())].into()),
        ..Secret::default()
    };
    harness.secrets().create(&PostParams::default(), &secret).await.unwrap();
    let (reason, message) = stalled(&harness, json!({})).await;
    assert_eq!(reason, "SecretNotOwned");
    assert!(message.contains("Secret c-s3 exists") && message.contains("credentials.secret.name"), "{message}");
    assert_eq!(harness.secret("c-s3").await.len(), 1);
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "no key was issued for a Secret that cannot be written");
    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

#[tokio::test]
async fn foreign_keys_on_the_managed_user_stay() {
    let harness = Harness::new("keys").await;
    harness.apply(&harness.connection("bucket-mine", json!({ "user": { "name": "shared" } }))).await;
    harness.ready("c").await;
    let theirs = harness.iam().create_access_key().user_name("shared").send().await.unwrap().access_key.unwrap().access_key_id;
    // The managed Secret is lost: the managed key is replaced, the foreign one stays.
    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    let keys = harness.keys("shared").await;
    assert!(keys.len() == 2 && keys.contains(&theirs), "{keys:?}");

    // Two foreign keys, and no managed one: there is no room, and the operator deletes neither.
    let ours = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    harness.iam().delete_access_key().user_name("shared").access_key_id(&ours).send().await.unwrap();
    harness.iam().create_access_key().user_name("shared").send().await.unwrap();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "ForeignAccessKeys");
    assert!(message.contains(&theirs) && message.contains("delete one of them"), "{message}");
    harness.iam().delete_access_key().user_name("shared").access_key_id(&theirs).send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

#[tokio::test]
async fn a_user_that_aws_quarantined() {
    let harness = Harness::new("leak").await;
    harness.apply(&harness.connection("bucket-mine", json!({ "user": { "name": "leaked" } }))).await;
    harness.ready("c").await;
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "iam:*", "Resource": "*" }] });
    let create = harness.iam().create_policy().policy_name("AWSCompromisedKeyQuarantineV3").policy_document(document.to_string());
    let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
    harness.iam().attach_user_policy().user_name("leaked").policy_arn(&arn).send().await.unwrap();
    let key = harness.keys("leaked").await.remove(0);
    let inactive = aws_sdk_iam::types::StatusType::Inactive;
    harness.iam().update_access_key().user_name("leaked").access_key_id(&key).status(inactive).send().await.unwrap();
    harness.proxy.take();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "KeyCompromised");
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "the key was not activated, and no other was issued");
}

#[tokio::test]
async fn a_server_that_ignores_tags_on_create_does_not_make_the_bucket_foreign() {
    // The plain emulator: no tags on creation, no defaults for new buckets, and "404, unset" for them.
    let mut harness = Harness::idle("plain", crate::support::stack::Stack::cluster(), &["--plain"]).await;
    harness.start();
    harness.apply(&harness.connection("bucket-mine", json!({ "preset": "IlluminaICA" }))).await;
    harness.ready("c").await;
    harness.check("c").await;
    let object = harness.ready("c").await;
    let tags = harness.s3().get_bucket_tagging().bucket("bucket-mine").send().await.unwrap();
    assert!(tags.tag_set().iter().any(|tag| tag.key() == "bucketconnection.dev/owner"), "{tags:?}");
    let block = harness.s3().get_public_access_block().bucket("bucket-mine").send().await.unwrap();
    assert_eq!(block.public_access_block_configuration().unwrap().block_public_policy, Some(true));
    assert_eq!(told(&object, "BucketReady").0, "True");
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn a_quarantined_user_is_not_changed() {
    let harness = Harness::new("quarantine").await;
    harness.apply(&harness.connection("bucket-leaked", json!({ "user": { "name": "leaked" } }))).await;
    harness.ready("c").await;
    let iam = harness.iam();
    let deny =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "*" }] });
    let policy = iam.create_policy().policy_name("AWSCompromisedKeyQuarantineV3").policy_document(deny.to_string()).send().await;
    let arn = policy.unwrap().policy.unwrap().arn.unwrap();
    iam.attach_user_policy().user_name("leaked").policy_arn(&arn).send().await.unwrap();
    let key = harness.keys("leaked").await;
    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "KeyCompromised");
    assert!(message.contains(&arn), "{message}");
    assert_eq!(harness.keys("leaked").await, key, "no key is handled");
    let attached = iam.list_attached_user_policies().user_name("leaked").send().await.unwrap();
    assert_eq!(attached.attached_policies().len(), 1, "AWS's policy is never detached");
}
