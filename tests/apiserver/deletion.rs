//! The finalizer: what stays, what is deleted, and what blocks deletion.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bucketconnection::api::FINALIZER;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::lab::{LIMIT, Lab, condition, drift_count, told, writes};
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
        events.iter().any(|(kind, reason, note)| kind == "Normal" && reason == "Deleted" && note.starts_with("retained")),
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
    assert_eq!(secret.metadata.annotations.unwrap()["bucketconnection.dev/state"], "owned");
}

/// The Secret, and the Role and RoleBinding of its readers.
async fn kept(lab: &Lab) -> [Option<ObjectMeta>; 3] {
    let roles: Api<Role> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &lab.namespace);
    [
        lab.secrets().get_opt("c-s3").await.unwrap().map(|secret| secret.metadata),
        roles.get_opt("c-s3-readers").await.unwrap().map(|role| role.metadata),
        bindings.get_opt("c-s3-readers").await.unwrap().map(|binding| binding.metadata),
    ]
}

/// As Argo CD deletes: the object is removed only after the garbage collector has deleted every object with an owner
/// reference to it.
#[tokio::test]
async fn foreground_deletion_takes_nothing_that_stays() {
    for policy in ["Retain", "Release"] {
        let lab = connected("foreground", json!({ "deletionPolicy": policy, "access": { "groups": ["lab-a"] } })).await;
        let before = lab.secret("c-s3").await;
        lab.objects().delete("c", &DeleteParams::foreground()).await.unwrap();
        lab.gone("c").await;
        for metadata in kept(&lab).await {
            assert_eq!(metadata.expect(policy).annotations.unwrap()["bucketconnection.dev/state"], "retained", "{policy}");
        }
        assert_eq!(lab.secret("c-s3").await, before, "{policy}");
    }
}

#[tokio::test]
async fn owner_references_of_earlier_versions_are_removed() {
    let lab = connected("referred", json!({ "access": { "groups": ["lab-a"] } })).await;
    let uid = lab.get("c").await.metadata.uid;
    let owner = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": uid });
    let uid = Api::<Namespace>::all(lab.client.clone()).get(&lab.namespace).await.unwrap().metadata.uid;
    let theirs = json!({ "apiVersion": "v1", "kind": "Namespace", "name": lab.namespace, "uid": uid });
    let earlier = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner] } }));
    for resource in ["roles", "rolebindings"] {
        let place = ApiResource { plural: resource.into(), ..ApiResource::erase::<Role>(&()) };
        let api: Api<DynamicObject> = Api::namespaced_with(lab.client.clone(), &lab.namespace, &place);
        api.patch("c-s3-readers", &PatchParams::default(), &earlier).await.unwrap();
    }
    let both = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner, theirs] } }));
    lab.secrets().patch("c-s3", &PatchParams::default(), &both).await.unwrap();
    let before = (lab.secret("c-s3").await, lab.keys("leaver").await);
    lab.check("c").await;
    lab.ready("c").await;
    let [secret, role, binding] = kept(&lab).await.map(|metadata| metadata.unwrap().owner_references);
    assert_eq!(json!(secret), json!([theirs]), "those of others stay");
    assert_eq!((role, binding), (None, None));
    assert_eq!((lab.secret("c-s3").await, lab.keys("leaver").await), before);
}

#[tokio::test]
async fn a_secret_that_another_made_under_the_same_name_is_not_ours() {
    let lab = connected("remade", json!({})).await;
    let uid = lab.get("c").await.metadata.uid;
    lab.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    let owner = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": uid });
    let theirs = json!({ "metadata": { "name": "c-s3", "ownerReferences": [owner] }, "data": { "AWS_ACCESS_KEY_ID": "eA==" } });
    lab.secrets().create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    lab.check("c").await;
    let (_, reason, _) = told(&lab.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "SecretNotOwned");
    lab.delete("c").await;
    lab.gone("c").await;
    let [secret, ..] = kept(&lab).await;
    assert!(secret.is_none_or(|secret| secret.annotations.is_none()), "it was marked as ours");
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
    for part in ["contains 3 objects", "empty it", "forceDestroy: true", "deletionPolicy: Retain"] {
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
        message.contains("contains 0 objects (4 counting old versions and delete markers) and 1 unfinished upload"),
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
    // The operator restarts with a key that AWS does not know.
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

async fn held(lab: &Lab) {
    lab.until("c", "finalizer", |object| object.finalizers().iter().any(|name| name == FINALIZER)).await;
}

/// Long before the next reconcile is due, which would be after ten minutes.
#[tokio::test]
async fn a_finalizer_that_was_dropped_comes_back_at_once() {
    let lab = connected("dropped", json!({ "deletionPolicy": "Delete" })).await;
    // As `kubectl replace` and GitOps tools that replace objects do.
    let mut object = serde_json::to_value(lab.get("c").await).unwrap();
    object["metadata"]["finalizers"] = json!([]);
    object.as_object_mut().unwrap().remove("status");
    lab.objects().replace("c", &PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    held(&lab).await;
    lab.patch("c", json!({ "spec": { "suspend": true } })).await;
    lab.until("c", "suspension", |object| condition(object, "Reconciling").is_some_and(|c| c.reason == "Suspended")).await;
    lab.patch("c", json!({ "metadata": { "finalizers": null } })).await;
    held(&lab).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!((users(&lab).await, buckets(&lab).await), (vec![], 0));
}

/// What the account does not allow is not done for an object that was created with the finalizer, either.
#[tokio::test]
async fn a_finalizer_that_the_object_was_created_with() {
    let lab = connected("preset", json!({ "user": { "name": "leaver" } })).await;
    lab.delete("c").await;
    lab.gone("c").await;
    let narrow = lab
        .account(
            &format!("narrow-{}", lab.namespace),
            json!({ "allowedNamespaces": [lab.rule(json!({ "buckets": ["other-*"] }))] }),
        )
        .await;
    lab.proxy.take();
    for account in [narrow.as_str(), "none-of-that-name"] {
        let spec = json!({ "accountRef": { "name": account }, "deletionPolicy": "Delete", "forceDestroy": true, "user": { "name": "leaver" } });
        let mut object = lab.connection(BUCKET, spec);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        lab.apply(&object).await;
        lab.delete("c").await;
        lab.gone("c").await;
    }
    assert_eq!(lab.proxy.take(), []);
    assert_eq!((users(&lab).await.len(), buckets(&lab).await), (1, 1), "what was retained stays");
}

#[tokio::test]
async fn a_suspended_object_is_deleted_too() {
    let lab = connected("suspended", json!({ "deletionPolicy": "Delete" })).await;
    lab.patch("c", json!({ "spec": { "suspend": true } })).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(buckets(&lab).await, 0);
}
