//! Objects that the operator cannot read as a whole: they block no other, they report the error, and they can be
//! deleted.

use std::time::{Duration, Instant};

use bucketconnection::api::{BucketConnection, FINALIZER, REVOKE_AT};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::harness::{Harness, LIMIT, condition, told, writes};
use crate::support::stack::Stack;

const BUCKET: &str = "bucket-unreadable";

/// A harness in a control plane of its own, whose CRD accepts everything, as an older or a newer one may.
async fn harness(name: &str) -> Harness {
    static CLUSTER: OnceCell<Stack> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(|| async { Stack::start("loose", &["--no-aws"]) }).await;
    let harness = Harness::idle(name, cluster, &[]).await;
    let crds: Api<CustomResourceDefinition> = Api::all(harness.client.clone());
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({ "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} }, "schema": { "openAPIV3Schema": anything } });
    let loose = Patch::Merge(json!({ "spec": { "versions": [version] } }));
    crds.patch("bucketconnections.bucketconnection.dev", &PatchParams::default(), &loose).await.unwrap();
    // The new schema takes a moment to be served.
    let mut probe = harness.connection(BUCKET, json!({ "preset": "NoSuchPreset" }));
    probe["metadata"]["name"] = json!("probe");
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user") };
    let end = Instant::now() + LIMIT;
    while objects(&harness).patch("probe", &parameters, &Patch::Apply(&probe)).await.is_err() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    harness
}

fn objects(harness: &Harness) -> Api<DynamicObject> {
    Api::namespaced_with(harness.client.clone(), &harness.namespace, &ApiResource::erase::<BucketConnection>(&()))
}

async fn change(harness: &Harness, patch: Value) {
    objects(harness).patch("c", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// A connection that was Ready before its spec became unreadable, and reports that.
async fn unreadable(name: &str, spec: Value) -> Harness {
    let mut harness = harness(name).await;
    harness.start();
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    change(&harness, json!({ "spec": { "credentials": { "rotation": { "interval": "12h1d" } } } })).await;
    harness.proxy.take();
    stalled(&harness, "c", "12h1d").await;
    harness
}

/// Waits until the object is Stalled with these words; returns its message.
async fn stalled(harness: &Harness, name: &str, words: &str) -> String {
    let end = Instant::now() + LIMIT;
    loop {
        let object = objects(harness).get(name).await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let stalled = conditions.iter().find(|c| c["type"] == "Stalled" && c["status"] == "True");
        if let Some(message) = stalled.and_then(|c| c["message"].as_str()).filter(|message| message.contains(words)) {
            assert_eq!(stalled.unwrap()["reason"], "InvalidSpec");
            return message.to_owned();
        }
        assert!(Instant::now() < end, "{conditions:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the object is gone.
async fn gone(harness: &Harness) {
    let end = Instant::now() + LIMIT;
    while let Some(object) = objects(harness).get_opt("c").await.unwrap() {
        assert!(Instant::now() < end, "it is not deleted: {}", object.data["status"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_unreadable_object_blocks_no_other() {
    let mut harness = harness("bad").await;
    let mut bad = harness.connection(BUCKET, json!({ "preset": "NoSuchPreset" }));
    bad["metadata"]["name"] = json!("bad");
    objects(&harness).patch("bad", &PatchParams::apply("user").force(), &Patch::Apply(&bad)).await.unwrap();
    harness.start();
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    harness.ready("c").await;
    let message = stalled(&harness, "bad", "NoSuchPreset").await;
    assert!(message.contains("IlluminaICA"), "{message}");
    // A good schema and names that would widen a policy: the rules hold even if the CRD has lost them.
    let mut wide = harness.connection("bucket-*", json!({}));
    wide["metadata"]["name"] = json!("wide");
    harness.apply(&wide).await;
    let object = harness.condition("wide", "Stalled", "True").await;
    assert!(told(&object, "Ready").2.contains("bucket.name must be 3 to 63"), "{:?}", told(&object, "Ready"));
    assert!(condition(&object, "UserReady").is_none());
}

#[tokio::test]
async fn it_is_released_and_keeps_everything() {
    let harness =
        unreadable("release", json!({ "user": { "name": "reader" }, "credentials": { "secret": { "name": "key" } } })).await;
    let before = (harness.secret("key").await, harness.keys("reader").await);
    harness.proxy.take();
    objects(&harness).delete("c", &Default::default()).await.unwrap();
    gone(&harness).await;
    assert_eq!(harness.secrets().get("key").await.unwrap().annotations()["bucketconnection.dev/state"], "retained");
    assert_eq!((harness.secret("key").await, harness.keys("reader").await), before);
    assert_eq!(harness.proxy.take(), [], "Retain asks nothing of AWS");
}

#[tokio::test]
async fn an_unreadable_deletion_policy_retains_everything() {
    let harness = unreadable("policy", json!({ "user": { "name": "reader" } })).await;
    let keys = harness.keys("reader").await;
    change(&harness, json!({ "spec": { "deletionPolicy": "Archive" } })).await;
    objects(&harness).delete("c", &Default::default()).await.unwrap();
    gone(&harness).await;
    assert_eq!(harness.keys("reader").await, keys);
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_some());
}

#[tokio::test]
async fn its_deletion_waits_if_resources_must_be_deleted() {
    let harness = unreadable("delete", json!({ "user": { "name": "reader" }, "deletionPolicy": "Delete" })).await;
    objects(&harness).delete("c", &Default::default()).await.unwrap();
    stalled(&harness, "c", "set deletionPolicy: Retain to delete the object and keep its resources in AWS").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    // Once it can be read again, the deletion does what it must.
    change(&harness, json!({ "spec": { "credentials": { "rotation": { "interval": "36h" } } } })).await;
    gone(&harness).await;
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none());
    assert!(harness.iam().list_users().path_prefix("/bucketconnection/").send().await.unwrap().users().is_empty());
}

#[tokio::test]
async fn its_finalizer_is_restored() {
    let harness = unreadable("finalizer", json!({})).await;
    change(&harness, json!({ "metadata": { "finalizers": null } })).await;
    let end = Instant::now() + LIMIT;
    while !objects(&harness).get("c").await.unwrap().finalizers().iter().any(|name| name == FINALIZER) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn its_keys_are_revoked() {
    let harness = unreadable("revoke", json!({ "user": { "name": "reader" } })).await;
    change(&harness, json!({ "metadata": { "annotations": { REVOKE_AT: "leaked" } } })).await;
    let end = Instant::now() + LIMIT;
    while !harness.keys("reader").await.is_empty() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let policies = harness.iam().list_user_policies().user_name("reader").send().await.unwrap();
    assert!(policies.policy_names().iter().any(|name| name == "bucketconnection-revoked"), "{policies:?}");
    // No other key is issued before the spec can be read.
    stalled(&harness, "c", "12h1d").await;
    change(&harness, json!({ "spec": { "credentials": { "rotation": { "interval": "36h" } } } })).await;
    harness.ready("c").await;
    assert_eq!(harness.keys("reader").await.len(), 1);
}
