//! The finalizer: what stays, what is deleted, and what blocks deletion.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bucketconnection::api::FINALIZER;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT, condition, drift_count, told, writes};
use crate::support::proxy::Fault;

const BUCKET: &str = "bucket-deleted";

async fn connected(name: &str, spec: Value) -> Harness {
    let harness = Harness::new(name).await;
    let mut whole = json!({ "user": { "name": "leaver" } });
    crate::support::merge::merge(&mut whole, spec);
    harness.apply(&harness.connection(BUCKET, whole)).await;
    harness.ready("c").await;
    harness
}

async fn users(harness: &Harness) -> Vec<String> {
    let users = harness.iam().list_users().path_prefix("/bucketconnection/").send().await.unwrap();
    users.users().iter().map(|user| user.user_name().to_owned()).collect()
}

async fn policies(harness: &Harness) -> usize {
    let local = aws_sdk_iam::types::PolicyScopeType::Local;
    harness.iam().list_policies().scope(local).send().await.unwrap().policies().len()
}

async fn buckets(harness: &Harness) -> usize {
    harness.s3().list_buckets().send().await.unwrap().buckets().len()
}

#[tokio::test]
async fn retain_keeps_everything_and_the_same_object_continues_with_it() {
    let spec = json!({ "policy": { "type": "Managed" }, "bucket": { "tags": { "team": "a" } } });
    let harness = connected("retain", spec.clone()).await;
    let before = (harness.secret("c-s3").await, harness.keys("leaver").await);
    harness.proxy.take();
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(harness.proxy.take(), [], "Retain asks nothing of AWS");
    let secret = harness.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references, None);
    assert_eq!(secret.metadata.annotations.unwrap()["bucketconnection.dev/state"], "retained");
    assert_eq!((harness.secret("c-s3").await, harness.keys("leaver").await), before);
    let events = harness.events("c").await;
    assert!(
        events.iter().any(|(kind, reason, note)| kind == "Normal" && reason == "Deleted" && note.starts_with("retained")),
        "{events:?}"
    );

    let mut whole = json!({ "user": { "name": "leaver" } });
    crate::support::merge::merge(&mut whole, spec);
    harness.apply(&harness.connection(BUCKET, whole)).await;
    let object = harness.ready("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "all of it was there");
    assert_eq!((harness.secret("c-s3").await, harness.keys("leaver").await), before, "with the same key");
    assert_eq!(drift_count(&object), 0);
    let secret = harness.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.annotations.unwrap()["bucketconnection.dev/state"], "owned");
}

/// The Secret, and the Role and RoleBinding of its readers.
async fn kept(harness: &Harness) -> [Option<ObjectMeta>; 3] {
    let roles: Api<Role> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(harness.client.clone(), &harness.namespace);
    [
        harness.secrets().get_opt("c-s3").await.unwrap().map(|secret| secret.metadata),
        roles.get_opt("c-s3-readers").await.unwrap().map(|role| role.metadata),
        bindings.get_opt("c-s3-readers").await.unwrap().map(|binding| binding.metadata),
    ]
}

/// As Argo CD deletes: the object is removed only after the garbage collector has deleted every object with an owner
/// reference to it.
#[tokio::test]
async fn foreground_deletion_deletes_no_retained_object() {
    for policy in ["Retain", "Release"] {
        let harness = connected("foreground", json!({ "deletionPolicy": policy, "access": { "groups": ["lab-a"] } })).await;
        let before = harness.secret("c-s3").await;
        harness.objects().delete("c", &DeleteParams::foreground()).await.unwrap();
        harness.gone("c").await;
        for metadata in kept(&harness).await {
            assert_eq!(metadata.expect(policy).annotations.unwrap()["bucketconnection.dev/state"], "retained", "{policy}");
        }
        assert_eq!(harness.secret("c-s3").await, before, "{policy}");
    }
}

#[tokio::test]
async fn owner_references_of_earlier_versions_are_removed() {
    let harness = connected("referred", json!({ "access": { "groups": ["lab-a"] } })).await;
    let uid = harness.get("c").await.metadata.uid;
    let owner = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": uid });
    let uid = Api::<Namespace>::all(harness.client.clone()).get(&harness.namespace).await.unwrap().metadata.uid;
    let theirs = json!({ "apiVersion": "v1", "kind": "Namespace", "name": harness.namespace, "uid": uid });
    let earlier = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner] } }));
    for resource in ["roles", "rolebindings"] {
        let place = ApiResource { plural: resource.into(), ..ApiResource::erase::<Role>(&()) };
        let api: Api<DynamicObject> = Api::namespaced_with(harness.client.clone(), &harness.namespace, &place);
        api.patch("c-s3-readers", &PatchParams::default(), &earlier).await.unwrap();
    }
    let both = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner, theirs] } }));
    harness.secrets().patch("c-s3", &PatchParams::default(), &both).await.unwrap();
    let before = (harness.secret("c-s3").await, harness.keys("leaver").await);
    harness.check("c").await;
    harness.ready("c").await;
    let [secret, role, binding] = kept(&harness).await.map(|metadata| metadata.unwrap().owner_references);
    assert_eq!(json!(secret), json!([theirs]), "those of others stay");
    assert_eq!((role, binding), (None, None));
    assert_eq!((harness.secret("c-s3").await, harness.keys("leaver").await), before);
}

#[tokio::test]
async fn a_secret_that_another_tool_created_with_the_same_name_is_foreign() {
    let harness = connected("remade", json!({})).await;
    let uid = harness.get("c").await.metadata.uid;
    harness.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    let owner = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": uid });
    let theirs = json!({ "metadata": { "name": "c-s3", "ownerReferences": [owner] }, "data": { "AWS_ACCESS_KEY_ID": "eA==" } });
    harness.secrets().create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    harness.check("c").await;
    let (_, reason, _) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "SecretNotOwned");
    harness.delete("c").await;
    harness.gone("c").await;
    let [secret, ..] = kept(&harness).await;
    assert!(secret.is_none_or(|secret| secret.annotations.is_none()), "it was marked as managed");
}

#[tokio::test]
async fn retain_needs_no_aws() {
    let harness = connected("unreachable", json!({})).await;
    harness.proxy.fault("*", Fault::Cut, 1_000_000);
    harness.delete("c").await;
    harness.gone("c").await;
}

#[tokio::test]
async fn delete_removes_managed_resources_beginning_with_the_key() {
    let harness = connected("delete", json!({ "deletionPolicy": "Delete", "policy": { "type": "Managed" } })).await;
    harness.proxy.take();
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!((users(&harness).await, policies(&harness).await, buckets(&harness).await), (vec![], 0, 0));
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none());
    let done = writes(&harness.proxy.take());
    assert_eq!(done[0], "iam:DeleteAccessKey", "{done:?}");
    assert!(!done.iter().any(|action| action.contains("Create") || action.contains("Put")), "deletion creates nothing: {done:?}");
}

#[tokio::test]
async fn an_inline_policy_is_deleted_with_its_user() {
    let harness = connected("inline", json!({ "deletionPolicy": "Delete" })).await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!((users(&harness).await, buckets(&harness).await), (vec![], 0));
}

#[tokio::test]
async fn a_bucket_with_objects_is_kept_until_someone_decides() {
    let harness = connected("objects", json!({ "deletionPolicy": "Delete" })).await;
    for key in ["runs/a", "runs/b", "elsewhere"] {
        harness.s3().put_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    harness.delete("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BucketNotEmpty"));
    for part in ["contains 3 objects", "empty it", "forceDestroy: true", "deletionPolicy: Retain"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert_eq!(users(&harness).await, [""; 0], "the key is gone all the same");
    let events = harness.events("c").await;
    assert_eq!(events.iter().filter(|(_, reason, _)| reason == "BucketNotEmpty").count(), 1, "{events:?}");
    for _ in 0..3 {
        harness.check("c").await;
    }
    assert_eq!(harness.events("c").await.len(), events.len(), "reported once");

    for key in ["runs/a", "runs/b", "elsewhere"] {
        harness.s3().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    harness.patch("c", json!({ "metadata": { "annotations": { bucketconnection::api::REQUESTED_AT: "now" } } })).await;
    harness.gone("c").await;
    assert_eq!(buckets(&harness).await, 0);
}

#[tokio::test]
async fn force_destroy_removes_versions_markers_and_uploads() {
    let harness = connected("force", json!({ "deletionPolicy": "Delete" })).await;
    let s3 = harness.s3();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(on).send().await.unwrap();
    for _ in 0..3 {
        s3.put_object().bucket(BUCKET).key("runs/versioned").send().await.unwrap();
    }
    s3.delete_object().bucket(BUCKET).key("runs/versioned").send().await.unwrap();
    s3.create_multipart_upload().bucket(BUCKET).key("runs/upload").send().await.unwrap();
    harness.delete("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, _, message) = told(&object, "Ready");
    assert!(
        message.contains("contains 0 objects (4 counting old versions and delete markers) and 1 unfinished upload"),
        "{message}"
    );
    harness.patch("c", json!({ "spec": { "forceDestroy": true } })).await;
    harness.gone("c").await;
    assert_eq!(buckets(&harness).await, 0);
}

#[tokio::test]
async fn the_policy_can_change_while_deletion_waits() {
    let harness = connected("mind", json!({ "deletionPolicy": "Delete" })).await;
    harness.s3().put_object().bucket(BUCKET).key("runs/a").send().await.unwrap();
    harness.delete("c").await;
    harness.condition("c", "Stalled", "True").await;
    harness.patch("c", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    harness.gone("c").await;
    assert_eq!(buckets(&harness).await, 1);
}

#[tokio::test]
async fn resources_that_are_gone_already_are_deleted() {
    let harness = connected("already", json!({ "deletionPolicy": "Delete" })).await;
    harness.s3().delete_bucket().bucket(BUCKET).send().await.unwrap();
    harness.iam().delete_user_policy().user_name("leaver").policy_name("bucketconnection").send().await.unwrap();
    let key = harness.keys("leaver").await.remove(0);
    harness.iam().delete_access_key().user_name("leaver").access_key_id(key).send().await.unwrap();
    harness.iam().delete_user().user_name("leaver").send().await.unwrap();
    harness.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    harness.delete("c").await;
    harness.gone("c").await;
}

#[tokio::test]
async fn foreign_keys_block_the_deletion_of_the_user() {
    let harness = connected("foreign", json!({ "deletionPolicy": "Delete" })).await;
    let theirs = harness.iam().create_access_key().user_name("leaver").send().await.unwrap().access_key.unwrap().access_key_id;
    harness.delete("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "ForeignAccessKeys");
    assert!(message.contains(&theirs) && message.contains("forceDestroy: true"), "{message}");
    assert_eq!(harness.keys("leaver").await, [theirs]);
    harness.patch("c", json!({ "spec": { "forceDestroy": true } })).await;
    harness.gone("c").await;
    assert_eq!(users(&harness).await, [""; 0]);
}

#[tokio::test]
async fn a_bucket_without_the_ownership_tag_is_never_deleted() {
    let harness = connected("untagged", json!({ "deletionPolicy": "Delete", "forceDestroy": true })).await;
    harness.s3().put_object().bucket(BUCKET).key("runs/a").send().await.unwrap();
    harness.s3().delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(buckets(&harness).await, 1);
    assert!(harness.s3().get_object().bucket(BUCKET).key("runs/a").send().await.is_ok());
}

#[tokio::test]
async fn an_unreachable_account_is_reported_with_a_hint() {
    let mut harness = connected("account", json!({ "deletionPolicy": "Delete" })).await;
    harness.kill();
    // The operator restarts with a key that AWS does not know.
    harness.environment.insert("AWS_ACCESS_KEY_ID".into(), "AKIAIOSFODNN7EXAMPLE".into());
    harness.start();
    harness.delete("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "AccountReady");
    assert_eq!(reason, "SignInFailed");
    assert!(message.contains("InvalidClientTokenId") && message.contains("set deletionPolicy: Retain"), "{message}");
    harness.patch("c", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    harness.gone("c").await;
}

#[tokio::test]
async fn a_namespace_can_be_deleted() {
    for policy in ["Retain", "Delete"] {
        let harness = connected("namespace", json!({ "deletionPolicy": policy })).await;
        let namespaces: Api<Namespace> = Api::all(harness.client.clone());
        namespaces.delete(&harness.namespace, &DeleteParams::default()).await.unwrap();
        let end = std::time::Instant::now() + LIMIT;
        while let Some(namespace) = namespaces.get_opt(&harness.namespace).await.unwrap() {
            assert!(std::time::Instant::now() < end, "{policy}: {:?}", namespace.status);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let left = if policy == "Retain" { 1 } else { 0 };
        assert_eq!((buckets(&harness).await, users(&harness).await.len()), (left, left), "{policy}");
    }
}

async fn held(harness: &Harness) {
    harness.until("c", "finalizer", |object| object.finalizers().iter().any(|name| name == FINALIZER)).await;
}

/// Long before the next reconcile is due, which would be after ten minutes.
#[tokio::test]
async fn a_removed_finalizer_is_restored_at_once() {
    let harness = connected("dropped", json!({ "deletionPolicy": "Delete" })).await;
    // As `kubectl replace` and GitOps tools that replace objects do.
    let mut object = serde_json::to_value(harness.get("c").await).unwrap();
    object["metadata"]["finalizers"] = json!([]);
    object.as_object_mut().unwrap().remove("status");
    harness.objects().replace("c", &PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    held(&harness).await;
    harness.patch("c", json!({ "spec": { "suspend": true } })).await;
    harness.until("c", "suspension", |object| condition(object, "Reconciling").is_some_and(|c| c.reason == "Suspended")).await;
    harness.patch("c", json!({ "metadata": { "finalizers": null } })).await;
    held(&harness).await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!((users(&harness).await, buckets(&harness).await), (vec![], 0));
}

/// What the account does not allow is not done for an object that was created with the finalizer, either.
#[tokio::test]
async fn an_object_created_with_the_finalizer_deletes_nothing_more() {
    let harness = connected("preset", json!({ "user": { "name": "leaver" } })).await;
    harness.delete("c").await;
    harness.gone("c").await;
    let narrow = harness
        .account(
            &format!("narrow-{}", harness.namespace),
            json!({ "allowedNamespaces": [harness.rule(json!({ "buckets": ["other-*"] }))] }),
        )
        .await;
    harness.proxy.take();
    for account in [narrow.as_str(), "none-of-that-name"] {
        let spec = json!({ "accountRef": { "name": account }, "deletionPolicy": "Delete", "forceDestroy": true, "user": { "name": "leaver" } });
        let mut object = harness.connection(BUCKET, spec);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        harness.apply(&object).await;
        harness.delete("c").await;
        harness.gone("c").await;
    }
    assert_eq!(harness.proxy.take(), []);
    assert_eq!((users(&harness).await.len(), buckets(&harness).await), (1, 1), "what was retained stays");
}

#[tokio::test]
async fn a_suspended_object_is_deleted_too() {
    let harness = connected("suspended", json!({ "deletionPolicy": "Delete" })).await;
    harness.patch("c", json!({ "spec": { "suspend": true } })).await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(buckets(&harness).await, 0);
}
