//! A key that someone else issued and manages: the operator only verifies it.

use bucketconnection::api::REVOKE_AT;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, condition, told};
use crate::support::proxy::Request;

const BUCKET: &str = "bucket-existing";

fn spec(more: Value) -> Value {
    let mut spec =
        json!({ "preset": "CLCGenomics", "credentials": { "source": "Existing", "existingSecretRef": { "name": "theirs" } } });
    crate::support::merge::merge(&mut spec, more);
    spec
}

/// A user that someone else created, with these permissions; its key.
async fn their_user(harness: &Harness, name: &str, rights: &[&str]) -> (String, String) {
    let iam = harness.iam();
    iam.create_user().user_name(name).send().await.unwrap();
    grant(harness, name, rights).await;
    let key = iam.create_access_key().user_name(name).send().await.unwrap().access_key.unwrap();
    (key.access_key_id, key.secret_access_key)
}

async fn grant(harness: &Harness, name: &str, rights: &[&str]) {
    let statement = json!({ "Effect": "Allow", "Action": rights, "Resource": "*" });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    harness.iam().put_user_policy().user_name(name).policy_name("theirs").policy_document(document).send().await.unwrap();
}

async fn put_secret(harness: &Harness, data: Value) -> Secret {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "theirs" }, "stringData": data });
    harness.secrets().patch("theirs", &PatchParams::apply("keeper").force(), &Patch::Apply(secret)).await.unwrap()
}

async fn keep(harness: &Harness, (id, secret): &(String, String)) -> Secret {
    put_secret(harness, json!({ "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret })).await
}

/// The operator makes no IAM call.
fn iam(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.action.as_str()).filter(|action| action.starts_with("iam:")).collect()
}

#[tokio::test]
async fn it_is_verified_and_never_changed_from_creation_to_deletion() {
    let harness = Harness::new("existing").await;
    let key = their_user(&harness, "theirs", &["s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject"]).await;
    harness.apply(&harness.connection(BUCKET, spec(json!({ "deletionPolicy": "Delete" })))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("Secret theirs") && message.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{message}");
    put_secret(&harness, json!({ "password": "x" })).await;
    let (_, reason, message) = told(&harness.check("c").await, "CredentialsReady");
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("contains no usable access key"), "{message}");
    put_secret(&harness, json!({ "AWS_ACCESS_KEY_ID": key.0, "AWS_SECRET_ACCESS_KEY": format!("{}\n", key.1) })).await;
    let (_, reason, message) = told(&harness.check("c").await, "CredentialsReady");
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("Secret theirs") && message.contains("AWS_SECRET_ACCESS_KEY ends in a line break"), "{message}");

    let before = keep(&harness, &key).await;
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").2, format!("the key in Secret theirs works on s3://{BUCKET}/runs/"));
    for part in ["UserReady", "PolicyInSync", "AccessInSync"] {
        assert_eq!(told(&object, part).1, "NotManaged", "{part}");
    }
    assert!(told(&object, "Verified").2.contains("user/theirs"), "{}", told(&object, "Verified").2);
    // A key that was issued elsewhere must be revoked there.
    harness.patch("c", json!({ "metadata": { "annotations": { REVOKE_AT: "1" } } })).await;
    let object = harness.condition("c", "RevocationComplete", "False").await;
    assert_eq!(told(&object, "RevocationComplete").1, "RevocationBlocked");
    assert_eq!(harness.keys("theirs").await.len(), 1);
    harness.patch("c", json!({ "metadata": { "annotations": { REVOKE_AT: null } } })).await;
    let object = harness.check("c").await;
    let status = object.status.unwrap();
    let credentials = status.memory.credentials.unwrap();
    assert_eq!((credentials.access_key_id.as_ref(), credentials.secret_name.as_deref()), (Some(&key.0), Some("theirs")));
    assert!(credentials.identity.unwrap().ends_with("user/theirs") && credentials.verified_at.is_some());
    assert!(status.memory.user.is_none() && status.memory.policy.is_none());

    // A further reconcile costs the reads of the bucket, and one call with the key.
    harness.check("c").await;
    let (requests, writes) = (harness.proxy.take(), harness.api_writes());
    let object = harness.check("c").await;
    let checked = harness.proxy.take();
    assert_eq!((checked.len(), checked.iter().filter(|request| request.write).count()), (4, 0), "{checked:?}");
    assert_eq!(harness.api_writes()[writes.len()..], ["patch bucketconnections/status"]);
    assert_eq!(object.status.unwrap().drift, None);

    harness.delete("c").await;
    harness.gone("c").await;
    let all: Vec<_> = requests.into_iter().chain(checked).chain(harness.proxy.take()).collect();
    assert_eq!(iam(&all), [""; 0]);
    assert!(all.iter().any(|request| request.action == "s3:DeleteBucket"), "the bucket is managed");
    assert_eq!(harness.keys("theirs").await, [key.0]);
    let after = harness.secrets().get("theirs").await.unwrap();
    assert_eq!((after.data, after.metadata.owner_references), (before.data, None));
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert!(!harness.api_writes().iter().any(|write| write.contains("secrets") || write.contains("role")));
}

#[tokio::test]
async fn another_key_is_noticed_and_its_missing_permissions_are_reported() {
    let harness = Harness::new("existing-keys").await;
    let good = their_user(&harness, "good", &["s3:*"]).await;
    let poor = their_user(&harness, "poor", &["s3:GetObject"]).await;
    keep(&harness, &good).await;
    harness.apply(&harness.connection(BUCKET, spec(json!({})))).await;
    harness.ready("c").await;
    harness.proxy.take();

    keep(&harness, &poor).await;
    harness.check("c").await;
    let object = harness.condition("c", "Verified", "False").await;
    let (_, reason, message) = told(&object, "Verified");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("the key in Secret theirs is denied") && message.contains("s3:ListBucket"), "{message}");
    assert_eq!(object.status.unwrap().memory.credentials.unwrap().access_key_id, Some(poor.0.clone()));
    grant(&harness, "poor", &["s3:ListBucket"]).await;
    harness.check("c").await;
    harness.ready("c").await;

    keep(&harness, &(good.0.clone(), "wrong".to_owned())).await;
    harness.check("c").await;
    let (_, reason, message) = told(&harness.condition("c", "Verified", "False").await, "Verified");
    assert_eq!(reason, "KeyRejected");
    assert!(message.contains("SignatureDoesNotMatch") && !message.contains("wrong"), "{message}");
    keep(&harness, &good).await;
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert!(told(&object, "Verified").2.contains("user/good"));
    assert_eq!(iam(&harness.proxy.take()), [""; 0]);
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none());
}

#[tokio::test]
async fn a_secret_of_another_namespace_is_out_of_reach() {
    let (harness, other) = (
        Harness::new("existing-here").await,
        Harness::idle("existing-there", crate::support::stack::Stack::cluster(), &[]).await,
    );
    keep(&other, &other.emulator.key("administrator")).await;
    harness.apply(&harness.connection(BUCKET, spec(json!({})))).await;
    assert_eq!(told(&harness.condition("c", "Stalled", "True").await, "Ready").1, "SecretMissing");
    assert!(condition(&harness.get("c").await, "Verified").is_none_or(|verified| verified.status != "True"));
}
