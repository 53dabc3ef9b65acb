//! Objects that the operator cannot read as a whole: they block no other, they report the error, and they can be
//! deleted.

use std::time::{Duration, Instant};

use bucketconnection::api::{BucketConnection, FINALIZER, REVOKE_AT};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::lab::{LIMIT, Lab, condition, told, writes};
use crate::support::stack::Stack;

const BUCKET: &str = "bucket-unreadable";

/// A harness in a control plane of its own, whose CRD accepts everything, as an older or a newer one may.
async fn lab(name: &str) -> Lab {
    static CLUSTER: OnceCell<Stack> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(|| async { Stack::start("loose", &["--no-aws"]) }).await;
    let lab = Lab::idle(name, cluster, &[]).await;
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client.clone());
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({ "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} }, "schema": { "openAPIV3Schema": anything } });
    let loose = Patch::Merge(json!({ "spec": { "versions": [version] } }));
    crds.patch("bucketconnections.bucketconnection.dev", &PatchParams::default(), &loose).await.unwrap();
    // The new schema takes a moment to be served.
    let mut probe = lab.connection(BUCKET, json!({ "preset": "NoSuchPreset" }));
    probe["metadata"]["name"] = json!("probe");
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user") };
    let end = Instant::now() + LIMIT;
    while objects(&lab).patch("probe", &parameters, &Patch::Apply(&probe)).await.is_err() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab
}

fn objects(lab: &Lab) -> Api<DynamicObject> {
    Api::namespaced_with(lab.client.clone(), &lab.namespace, &ApiResource::erase::<BucketConnection>(&()))
}

async fn change(lab: &Lab, patch: Value) {
    objects(lab).patch("c", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// A connection that was Ready before its spec became unreadable, and reports that.
async fn unreadable(name: &str, spec: Value) -> Lab {
    let mut lab = lab(name).await;
    lab.start();
    lab.apply(&lab.connection(BUCKET, spec)).await;
    lab.ready("c").await;
    change(&lab, json!({ "spec": { "credentials": { "rotation": { "interval": "12h1d" } } } })).await;
    lab.proxy.take();
    stalled(&lab, "c", "12h1d").await;
    lab
}

/// Waits until the object is Stalled with these words; returns its message.
async fn stalled(lab: &Lab, name: &str, words: &str) -> String {
    let end = Instant::now() + LIMIT;
    loop {
        let object = objects(lab).get(name).await.unwrap();
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
async fn gone(lab: &Lab) {
    let end = Instant::now() + LIMIT;
    while let Some(object) = objects(lab).get_opt("c").await.unwrap() {
        assert!(Instant::now() < end, "it is not deleted: {}", object.data["status"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_bad_object_among_good_ones() {
    let mut lab = lab("bad").await;
    let mut bad = lab.connection(BUCKET, json!({ "preset": "NoSuchPreset" }));
    bad["metadata"]["name"] = json!("bad");
    objects(&lab).patch("bad", &PatchParams::apply("user").force(), &Patch::Apply(&bad)).await.unwrap();
    lab.start();
    lab.apply(&lab.connection(BUCKET, json!({}))).await;
    lab.ready("c").await;
    let message = stalled(&lab, "bad", "NoSuchPreset").await;
    assert!(message.contains("IlluminaICA"), "{message}");
    // A good schema and names that would widen a policy: the rules hold even if the CRD has lost them.
    let mut wide = lab.connection("bucket-*", json!({}));
    wide["metadata"]["name"] = json!("wide");
    lab.apply(&wide).await;
    let object = lab.condition("wide", "Stalled", "True").await;
    assert!(told(&object, "Ready").2.contains("bucket.name must be 3 to 63"), "{:?}", told(&object, "Ready"));
    assert!(condition(&object, "UserReady").is_none());
}

#[tokio::test]
async fn it_is_released_and_keeps_everything() {
    let lab =
        unreadable("release", json!({ "user": { "name": "reader" }, "credentials": { "secret": { "name": "key" } } })).await;
    let before = (lab.secret("key").await, lab.keys("reader").await);
    lab.proxy.take();
    objects(&lab).delete("c", &Default::default()).await.unwrap();
    gone(&lab).await;
    assert_eq!(lab.secrets().get("key").await.unwrap().annotations()["bucketconnection.dev/state"], "retained");
    assert_eq!((lab.secret("key").await, lab.keys("reader").await), before);
    assert_eq!(lab.proxy.take(), [], "Retain asks nothing of AWS");
}

#[tokio::test]
async fn a_deletion_policy_that_cannot_be_read_keeps_everything() {
    let lab = unreadable("policy", json!({ "user": { "name": "reader" } })).await;
    let keys = lab.keys("reader").await;
    change(&lab, json!({ "spec": { "deletionPolicy": "Archive" } })).await;
    objects(&lab).delete("c", &Default::default()).await.unwrap();
    gone(&lab).await;
    assert_eq!(lab.keys("reader").await, keys);
    assert!(lab.secrets().get_opt("c-s3").await.unwrap().is_some());
}

#[tokio::test]
async fn its_deletion_waits_where_something_is_to_be_deleted() {
    let lab = unreadable("delete", json!({ "user": { "name": "reader" }, "deletionPolicy": "Delete" })).await;
    objects(&lab).delete("c", &Default::default()).await.unwrap();
    stalled(&lab, "c", "set deletionPolicy: Retain to delete the object and keep its resources in AWS").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0]);
    // Once it can be read again, the deletion does what it must.
    change(&lab, json!({ "spec": { "credentials": { "rotation": { "interval": "36h" } } } })).await;
    gone(&lab).await;
    assert!(lab.secrets().get_opt("c-s3").await.unwrap().is_none());
    assert!(lab.iam().list_users().path_prefix("/bucketconnection/").send().await.unwrap().users().is_empty());
}

#[tokio::test]
async fn it_gets_its_finalizer_back() {
    let lab = unreadable("finalizer", json!({})).await;
    change(&lab, json!({ "metadata": { "finalizers": null } })).await;
    let end = Instant::now() + LIMIT;
    while !objects(&lab).get("c").await.unwrap().finalizers().iter().any(|name| name == FINALIZER) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn its_keys_are_revoked() {
    let lab = unreadable("revoke", json!({ "user": { "name": "reader" } })).await;
    change(&lab, json!({ "metadata": { "annotations": { REVOKE_AT: "leaked" } } })).await;
    let end = Instant::now() + LIMIT;
    while !lab.keys("reader").await.is_empty() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let policies = lab.iam().list_user_policies().user_name("reader").send().await.unwrap();
    assert!(policies.policy_names().iter().any(|name| name == "bucketconnection-revoked"), "{policies:?}");
    // No other key is issued before the spec can be read.
    stalled(&lab, "c", "12h1d").await;
    change(&lab, json!({ "spec": { "credentials": { "rotation": { "interval": "36h" } } } })).await;
    lab.ready("c").await;
    assert_eq!(lab.keys("reader").await.len(), 1);
}
