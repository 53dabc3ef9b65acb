//! Nothing foreign is changed: foreign buckets, users, policies, keys and Secrets stop the connection, which reports
//! them.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::support::lab::{Lab, s3, told, writes};

/// Applies and waits for Stalled; returns reason and message of Ready.
async fn stalled(lab: &Lab, spec: Value) -> (String, String) {
    lab.apply(&lab.connection("bucket-mine", spec)).await;
    let waited = lab.kubectl(&["wait", "--for=condition=Stalled", "bc/c", "--timeout=120s"]);
    assert!(waited.status.success(), "{waited:?}");
    let object = lab.get("c").await;
    assert_eq!((told(&object, "Ready").0.as_str(), told(&object, "Reconciling").0.as_str()), ("False", "False"));
    let (_, reason, message) = told(&object, "Ready");
    (reason, message)
}

#[tokio::test]
async fn a_bucket_that_is_there() {
    let lab = Lab::new("bucket").await;
    lab.s3().create_bucket().bucket("bucket-mine").send().await.unwrap();
    let (reason, message) = stalled(&lab, json!({ "preset": "IlluminaICA" })).await;
    assert_eq!(reason, "BucketNotOwned");
    assert!(message.contains("bucket-mine") && message.contains("choose another bucket.name"), "{message}");
    assert!(lab.s3().get_bucket_cors().bucket("bucket-mine").send().await.is_err(), "its CORS was written");
    assert!(lab.s3().get_bucket_tagging().bucket("bucket-mine").send().await.is_err(), "it was tagged");
    // A user may exist by then, but it has no permission and no key: naming a bucket gives no access to it.
    let user = format!("{}.c", lab.namespace);
    assert_eq!(lab.keys(&user).await, [""; 0]);
    assert!(lab.iam().list_user_policies().user_name(&user).send().await.unwrap().policy_names().is_empty());
    assert!(lab.secrets().get_opt("c-s3").await.unwrap().is_none());
    let events = lab.events("c").await;
    assert_eq!(
        events.iter().filter(|(kind, reason, _)| kind == "Warning" && reason == "BucketNotOwned").count(),
        1,
        "{events:?}"
    );

    // Once the bucket is deleted, the connection becomes ready in the next reconcile.
    lab.s3().delete_bucket().bucket("bucket-mine").send().await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
}

#[tokio::test]
async fn a_bucket_of_another_connection() {
    let lab = Lab::new("two").await;
    lab.apply(&lab.connection("bucket-mine", json!({}))).await;
    lab.ready("c").await;
    let mut second = lab.connection("bucket-mine", json!({}));
    second["metadata"]["name"] = json!("second");
    lab.apply(&second).await;
    let object = lab.condition("second", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "NameTaken");
    assert!(message.contains(&format!("belongs to BucketConnection {}/c:", lab.namespace)), "{message}");
    // Deleting the refused connection takes nothing from the other.
    lab.patch("second", json!({ "spec": { "deletionPolicy": "Delete", "forceDestroy": true } })).await;
    lab.delete("second").await;
    lab.gone("second").await;
    lab.check("c").await;
    lab.ready("c").await;
    assert_eq!(told(&lab.get("c").await, "DriftDetected").0, "False");
}

#[tokio::test]
async fn a_bucket_in_another_region() {
    let lab = Lab::new("elsewhere").await;
    let west = s3(&lab.aws("eu-west-1"));
    let constraint = aws_sdk_s3::types::BucketLocationConstraint::EuWest1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build();
    west.create_bucket().bucket("bucket-mine").create_bucket_configuration(place).send().await.unwrap();
    let (reason, message) = stalled(&lab, json!({ "region": "eu-central-1" })).await;
    assert_eq!(reason, "RegionMismatch");
    assert!(message.contains("is in eu-west-1") && message.contains("spec.region says eu-central-1"), "{message}");
    assert_eq!(told(&lab.get("c").await, "RegionMatched").0, "False");
}

#[tokio::test]
async fn a_bucket_name_of_another_account() {
    let lab = Lab::new("account").await;
    lab.proxy.fault("s3:CreateBucket", crate::support::proxy::Fault::Answer(409, "BucketAlreadyExists"), 1);
    lab.proxy.fault("s3:GetBucketTagging", crate::support::proxy::Fault::Answer(403, "AccessDenied"), 1000);
    let (_, message) = stalled(&lab, json!({})).await;
    assert!(message.contains("belongs to another AWS account"), "{message}");
    lab.check("c").await;
    let (_, reason, message) = told(&lab.get("c").await, "Ready");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("belongs to another AWS account, or the operator is not allowed to read it"), "{message}");
    assert_eq!(lab.keys(&format!("{}.c", lab.namespace)).await, [""; 0]);
}

#[tokio::test]
async fn a_user_that_is_there() {
    let lab = Lab::new("user").await;
    lab.iam().create_user().user_name("somebody").send().await.unwrap();
    let (reason, message) = stalled(&lab, json!({ "user": { "name": "somebody" } })).await;
    assert_eq!(reason, "UserNotOwned");
    assert!(message.contains("IAM user somebody exists and was not created by this BucketConnection"), "{message}");
    assert_eq!(lab.keys("somebody").await, [""; 0]);
    assert!(lab.iam().list_user_policies().user_name("somebody").send().await.unwrap().policy_names().is_empty());
}

#[tokio::test]
async fn a_managed_policy_that_is_there() {
    let lab = Lab::new("policy").await;
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let create = lab.iam().create_policy().policy_name("theirs").path("/bucketconnection/").policy_document(document.to_string());
    let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
    let (reason, message) = stalled(&lab, json!({ "policy": { "type": "Managed", "name": "theirs" } })).await;
    assert_eq!(reason, "PolicyNotOwned");
    assert!(message.contains("choose another policy.name"), "{message}");
    let policy = lab.iam().get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap();
    assert_eq!((policy.default_version_id(), policy.attachment_count), (Some("v1"), Some(0)));
}

#[tokio::test]
async fn a_secret_that_is_there() {
    let lab = Lab::new("secret").await;
    let secret = Secret {
        metadata: ObjectMeta { name: Some("c-s3".into()), ..ObjectMeta::default() },
        string_data: Some([("password".to_owned(), "theirs".to_owned())].into()),
        ..Secret::default()
    };
    lab.secrets().create(&PostParams::default(), &secret).await.unwrap();
    let (reason, message) = stalled(&lab, json!({})).await;
    assert_eq!(reason, "SecretNotOwned");
    assert!(message.contains("Secret c-s3 exists") && message.contains("credentials.secret.name"), "{message}");
    assert_eq!(lab.secret("c-s3").await.len(), 1);
    assert_eq!(writes(&lab.proxy.take()), [""; 0], "no key was issued for a Secret that cannot be written");
    lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
}

#[tokio::test]
async fn keys_of_others_on_our_user() {
    let lab = Lab::new("keys").await;
    lab.apply(&lab.connection("bucket-mine", json!({ "user": { "name": "shared" } }))).await;
    lab.ready("c").await;
    let theirs = lab.iam().create_access_key().user_name("shared").send().await.unwrap().access_key.unwrap().access_key_id;
    // The managed Secret is lost: the managed key is replaced, the foreign one stays.
    lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
    let keys = lab.keys("shared").await;
    assert!(keys.len() == 2 && keys.contains(&theirs), "{keys:?}");

    // Two foreign keys, and no managed one: there is no room, and the operator deletes neither.
    let ours = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    lab.iam().delete_access_key().user_name("shared").access_key_id(&ours).send().await.unwrap();
    lab.iam().create_access_key().user_name("shared").send().await.unwrap();
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "ForeignAccessKeys");
    assert!(message.contains(&theirs) && message.contains("delete one of them"), "{message}");
    lab.iam().delete_access_key().user_name("shared").access_key_id(&theirs).send().await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
}

#[tokio::test]
async fn a_user_that_aws_quarantined() {
    let lab = Lab::new("leak").await;
    lab.apply(&lab.connection("bucket-mine", json!({ "user": { "name": "leaked" } }))).await;
    lab.ready("c").await;
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "iam:*", "Resource": "*" }] });
    let create = lab.iam().create_policy().policy_name("AWSCompromisedKeyQuarantineV3").policy_document(document.to_string());
    let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
    lab.iam().attach_user_policy().user_name("leaked").policy_arn(&arn).send().await.unwrap();
    let key = lab.keys("leaked").await.remove(0);
    let inactive = aws_sdk_iam::types::StatusType::Inactive;
    lab.iam().update_access_key().user_name("leaked").access_key_id(&key).status(inactive).send().await.unwrap();
    lab.proxy.take();
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "KeyCompromised");
    assert_eq!(writes(&lab.proxy.take()), [""; 0], "the key was not activated, and no other was issued");
}

#[tokio::test]
async fn a_server_that_ignores_tags_on_create_does_not_make_our_bucket_foreign() {
    // The plain emulator: no tags on creation, no defaults for new buckets, and "404, unset" for them.
    let mut lab = Lab::idle("plain", crate::support::stack::Stack::cluster(), &["--plain"]).await;
    lab.start();
    lab.apply(&lab.connection("bucket-mine", json!({ "preset": "IlluminaICA" }))).await;
    lab.ready("c").await;
    lab.check("c").await;
    let object = lab.ready("c").await;
    let tags = lab.s3().get_bucket_tagging().bucket("bucket-mine").send().await.unwrap();
    assert!(tags.tag_set().iter().any(|tag| tag.key() == "bucketconnection.dev/owner"), "{tags:?}");
    let block = lab.s3().get_public_access_block().bucket("bucket-mine").send().await.unwrap();
    assert_eq!(block.public_access_block_configuration().unwrap().block_public_policy, Some(true));
    assert_eq!(told(&object, "BucketReady").0, "True");
    lab.proxy.take();
    lab.check("c").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn a_quarantined_user_is_left_to_people() {
    let lab = Lab::new("quarantine").await;
    lab.apply(&lab.connection("bucket-leaked", json!({ "user": { "name": "leaked" } }))).await;
    lab.ready("c").await;
    let iam = lab.iam();
    let deny =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "*" }] });
    let policy = iam.create_policy().policy_name("AWSCompromisedKeyQuarantineV3").policy_document(deny.to_string()).send().await;
    let arn = policy.unwrap().policy.unwrap().arn.unwrap();
    iam.attach_user_policy().user_name("leaked").policy_arn(&arn).send().await.unwrap();
    let key = lab.keys("leaked").await;
    lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
    lab.check("c").await;
    let (_, reason, message) = told(&lab.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "KeyCompromised");
    assert!(message.contains(&arn), "{message}");
    assert_eq!(lab.keys("leaked").await, key, "no key is handled");
    let attached = iam.list_attached_user_policies().user_name("leaked").send().await.unwrap();
    assert_eq!(attached.attached_policies().len(), 1, "AWS's policy is never detached");
}
