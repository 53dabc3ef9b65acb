//! The finalizer: what stays, what goes, and what stands in the way.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::lab::{LIMIT, Lab, drift_count, told, writes};
use crate::support::proxy::Fault;

const BUCKET: &str = "bucket-deleted";

async fn connected(name: &str, spec: Value) -> Lab {
    let lab = Lab::new(name).await;
    let mut whole = json!({ "user": { "name": "leaver" } });
    crate::support::merge::merge(&mut whole, spec);
    lab.apply(&lab.connection(BUCKET, whole)).await;
    lab.ready("c").await;
    lab
}

async fn users(lab: &Lab) -> Vec<String> {
    let users = lab.iam().list_users().path_prefix("/bucketconnection/").send().await.unwrap();
    users.users().iter().map(|user| user.user_name().to_owned()).collect()
}

async fn policies(lab: &Lab) -> usize {
    let local = aws_sdk_iam::types::PolicyScopeType::Local;
    lab.iam().list_policies().scope(local).send().await.unwrap().policies().len()
}

async fn buckets(lab: &Lab) -> usize {
    lab.s3().list_buckets().send().await.unwrap().buckets().len()
}

#[tokio::test]
async fn retain_keeps_everything_and_the_same_object_picks_it_up() {
    let spec = json!({ "policy": { "type": "Managed" }, "bucket": { "tags": { "team": "a" } } });
    let lab = connected("retain", spec.clone()).await;
    let before = (lab.secret("c-s3").await, lab.keys("leaver").await);
    lab.proxy.take();
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(lab.proxy.take(), [], "Retain asks nothing of AWS");
    let secret = lab.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references, None);
    assert_eq!(secret.metadata.annotations.unwrap()["bucketconnection.dev/state"], "retained");
    assert_eq!((lab.secret("c-s3").await, lab.keys("leaver").await), before);
    let events = lab.events("c").await;
    assert!(
        events.iter().any(|(kind, reason, note)| kind == "Normal" && reason == "Deleted" && note.starts_with("released")),
        "{events:?}"
    );

    let mut whole = json!({ "user": { "name": "leaver" } });
    crate::support::merge::merge(&mut whole, spec);
    lab.apply(&lab.connection(BUCKET, whole)).await;
    let object = lab.ready("c").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0], "all of it was there");
    assert_eq!((lab.secret("c-s3").await, lab.keys("leaver").await), before, "with the same key");
    assert_eq!(drift_count(&object), 0);
    let secret = lab.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references.unwrap()[0].uid, object.metadata.uid.unwrap());
    assert_eq!(secret.metadata.annotations.unwrap()["bucketconnection.dev/state"], "owned");
}

#[tokio::test]
async fn retain_needs_no_aws() {
    let lab = connected("unreachable", json!({})).await;
    lab.proxy.fault("*", Fault::Cut, 1_000_000);
    lab.delete("c").await;
    lab.gone("c").await;
}

#[tokio::test]
async fn delete_removes_what_is_ours_key_first() {
    let lab = connected("delete", json!({ "deletionPolicy": "Delete", "policy": { "type": "Managed" } })).await;
    lab.proxy.take();
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!((users(&lab).await, policies(&lab).await, buckets(&lab).await), (vec![], 0, 0));
    assert!(lab.secrets().get_opt("c-s3").await.unwrap().is_none());
    let done = writes(&lab.proxy.take());
    assert_eq!(done[0], "iam:DeleteAccessKey", "{done:?}");
    assert!(!done.iter().any(|action| action.contains("Create") || action.contains("Put")), "deletion creates nothing: {done:?}");
}

#[tokio::test]
async fn an_inline_policy_goes_with_its_user() {
    let lab = connected("inline", json!({ "deletionPolicy": "Delete" })).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!((users(&lab).await, buckets(&lab).await), (vec![], 0));
}

#[tokio::test]
async fn a_bucket_with_objects_is_kept_until_someone_decides() {
    let lab = connected("objects", json!({ "deletionPolicy": "Delete" })).await;
    for key in ["runs/a", "runs/b", "elsewhere"] {
        lab.s3().put_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    lab.delete("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BucketNotEmpty"));
    for part in ["holds 3 objects", "empty it", "forceDestroy: true", "deletionPolicy: Retain"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert_eq!(users(&lab).await, [""; 0], "the key is gone all the same");
    let events = lab.events("c").await;
    assert_eq!(events.iter().filter(|(_, reason, _)| reason == "BucketNotEmpty").count(), 1, "{events:?}");
    for _ in 0..3 {
        lab.check("c").await;
    }
    assert_eq!(lab.events("c").await.len(), events.len(), "told once");

    for key in ["runs/a", "runs/b", "elsewhere"] {
        lab.s3().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    lab.patch("c", json!({ "metadata": { "annotations": { bucketconnection::api::REQUESTED_AT: "now" } } })).await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 0);
}

#[tokio::test]
async fn force_destroy_removes_versions_markers_and_uploads() {
    let lab = connected("force", json!({ "deletionPolicy": "Delete" })).await;
    let s3 = lab.s3();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(on).send().await.unwrap();
    for _ in 0..3 {
        s3.put_object().bucket(BUCKET).key("runs/versioned").send().await.unwrap();
    }
    s3.delete_object().bucket(BUCKET).key("runs/versioned").send().await.unwrap();
    s3.create_multipart_upload().bucket(BUCKET).key("runs/upload").send().await.unwrap();
    lab.delete("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, _, message) = told(&object, "Ready");
    assert!(
        message.contains("holds 0 objects (4 counting old versions and delete markers) and 1 unfinished upload"),
        "{message}"
    );
    lab.patch("c", json!({ "spec": { "forceDestroy": true } })).await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 0);
}

#[tokio::test]
async fn changing_ones_mind_while_it_waits() {
    let lab = connected("mind", json!({ "deletionPolicy": "Delete" })).await;
    lab.s3().put_object().bucket(BUCKET).key("runs/a").send().await.unwrap();
    lab.delete("c").await;
    lab.condition("c", "Stalled", "True").await;
    lab.patch("c", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 1);
}

#[tokio::test]
async fn resources_that_are_gone_already_are_deleted() {
    let lab = connected("already", json!({ "deletionPolicy": "Delete" })).await;
    lab.s3().delete_bucket().bucket(BUCKET).send().await.unwrap();
    lab.iam().delete_user_policy().user_name("leaver").policy_name("bucketconnection").send().await.unwrap();
    let key = lab.keys("leaver").await.remove(0);
    lab.iam().delete_access_key().user_name("leaver").access_key_id(key).send().await.unwrap();
    lab.iam().delete_user().user_name("leaver").send().await.unwrap();
    lab.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    lab.delete("c").await;
    lab.gone("c").await;
}

#[tokio::test]
async fn foreign_keys_of_the_user_stop_its_deletion() {
    let lab = connected("foreign", json!({ "deletionPolicy": "Delete" })).await;
    let theirs = lab.iam().create_access_key().user_name("leaver").send().await.unwrap().access_key.unwrap().access_key_id;
    lab.delete("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "ForeignAccessKeys");
    assert!(message.contains(&theirs) && message.contains("forceDestroy: true"), "{message}");
    assert_eq!(lab.keys("leaver").await, [theirs]);
    lab.patch("c", json!({ "spec": { "forceDestroy": true } })).await;
    lab.gone("c").await;
    assert_eq!(users(&lab).await, [""; 0]);
}

#[tokio::test]
async fn a_bucket_without_our_tag_is_never_deleted() {
    let lab = connected("untagged", json!({ "deletionPolicy": "Delete", "forceDestroy": true })).await;
    lab.s3().put_object().bucket(BUCKET).key("runs/a").send().await.unwrap();
    lab.s3().delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 1);
    assert!(lab.s3().get_object().bucket(BUCKET).key("runs/a").send().await.is_ok());
}

#[tokio::test]
async fn an_account_that_cannot_be_reached_says_the_way_out() {
    let mut lab = connected("account", json!({ "deletionPolicy": "Delete" })).await;
    lab.kill();
    // The operator comes back with a key that AWS does not know.
    lab.environment.insert("AWS_ACCESS_KEY_ID".into(), "AKIAIOSFODNN7EXAMPLE".into());
    lab.start();
    lab.delete("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "AccountReady");
    assert_eq!(reason, "SignInFailed");
    assert!(message.contains("InvalidClientTokenId") && message.contains("set deletionPolicy: Retain"), "{message}");
    lab.patch("c", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    lab.gone("c").await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted() {
    for policy in ["Retain", "Delete"] {
        let lab = connected("namespace", json!({ "deletionPolicy": policy })).await;
        let namespaces: Api<Namespace> = Api::all(lab.client.clone());
        namespaces.delete(&lab.namespace, &DeleteParams::default()).await.unwrap();
        let end = std::time::Instant::now() + LIMIT;
        while let Some(namespace) = namespaces.get_opt(&lab.namespace).await.unwrap() {
            assert!(std::time::Instant::now() < end, "{policy}: {:?}", namespace.status);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let left = if policy == "Retain" { 1 } else { 0 };
        assert_eq!((buckets(&lab).await, users(&lab).await.len()), (left, left), "{policy}");
    }
}

#[tokio::test]
async fn a_suspended_object_is_deleted_too() {
    let lab = connected("suspended", json!({ "deletionPolicy": "Delete" })).await;
    lab.patch("c", json!({ "spec": { "suspend": true } })).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 0);
}
