//! When a reconcile runs: on request, by interval, never while suspended, and not because of the operator's own status.

use std::time::Duration;

use bucketconnection::api::{BucketConnection, REQUESTED_AT};
use serde_json::json;

use crate::support::harness::{Harness, condition, told, writes};

const BUCKET: &str = "bucket-schedule";

#[tokio::test]
async fn the_interval_of_an_object() {
    let harness = Harness::new("interval").await;
    harness.apply(&harness.connection(BUCKET, json!({ "preset": "IlluminaICA", "resyncInterval": "10s" }))).await;
    harness.ready("c").await;
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    harness.until("c", "reverted drift", |object| crate::support::harness::drift_count(object) == 1).await;
    harness.ready("c").await;

    // Two further reconciles that no one requested: not one write, to AWS or to the API server.
    let passes = || harness.log().matches("reconcile ended").count();
    let end = std::time::Instant::now() + crate::support::harness::LIMIT;
    let wait = async |count: usize| {
        while passes() < count {
            assert!(std::time::Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    wait(passes() + 1).await;
    harness.proxy.take();
    let api = harness.api_writes().len();
    wait(passes() + 2).await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    assert_eq!(harness.api_writes()[api..], [""; 0]);
}

#[tokio::test]
async fn a_request_is_answered_once() {
    let harness = Harness::new("request").await;
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    harness.ready("c").await;
    let kubectl = harness.kubectl(&["annotate", "bc/c", "reconcile.bucketconnection.dev/requestedAt=2026-11-24T12:00:00Z"]);
    assert!(kubectl.status.success(), "{kubectl:?}");
    let handled = |object: &bucketconnection::api::BucketConnection| {
        object.status.as_ref().unwrap().last_handled_reconcile_at.as_deref() == Some("2026-11-24T12:00:00Z")
    };
    harness.until("c", "answer", handled).await;
    // Other annotations and labels, and the operator's own status, wake no reconcile.
    harness.proxy.take();
    harness.patch("c", json!({ "metadata": { "annotations": { "theirs": "x" }, "labels": { "theirs": "x" } } })).await;
    let mut other = harness.connection("bucket-other", json!({}));
    other["metadata"]["name"] = json!("other");
    harness.apply(&other).await;
    harness.ready("other").await;
    let about_c = harness.proxy.take().into_iter().filter(|request| request.text.contains(BUCKET)).count();
    assert_eq!(about_c, 0, "a pass over another object ended after the change, and none was made over this one");
}

#[tokio::test]
async fn suspended_means_nothing_is_done_and_nothing_is_wrong() {
    let harness = Harness::new("suspend").await;
    harness.apply(&harness.connection(BUCKET, json!({ "preset": "IlluminaICA" }))).await;
    harness.ready("c").await;
    harness.patch("c", json!({ "spec": { "suspend": true } })).await;
    let object = harness.until("c", "suspension", |object| told(object, "Reconciling").1 == "Suspended").await;
    assert_eq!((told(&object, "Ready").0.as_str(), told(&object, "Stalled").0.as_str()), ("True", "False"));
    assert_eq!(object.status.as_ref().unwrap().observed_generation, object.metadata.generation);
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    harness.proxy.take();
    harness.patch("c", json!({ "metadata": { "annotations": { REQUESTED_AT: "now" } } })).await;
    let waits = |object: &BucketConnection| {
        told(object, "Reconciling").2.ends_with("a reconcile was requested, and waits until spec.suspend is false")
    };
    let object = harness.until("c", "word of the request", waits).await;
    let handled = |object: &BucketConnection| object.status.as_ref().unwrap().last_handled_reconcile_at.clone();
    assert_ne!(handled(&object).as_deref(), Some("now"));
    assert_eq!(harness.proxy.take(), [], "no call to AWS");
    harness.patch("c", json!({ "spec": { "suspend": false } })).await;
    harness.until("c", "check that was asked for", |object| handled(object).as_deref() == Some("now")).await;
    harness.ready("c").await;
    assert!(harness.s3().get_bucket_cors().bucket(BUCKET).send().await.is_ok());

    // Suspended from the start: never created.
    let mut never = harness.connection("bucket-never", json!({ "suspend": true }));
    never["metadata"]["name"] = json!("never");
    harness.apply(&never).await;
    let object = harness.until("never", "suspension", |object| condition(object, "Ready").is_some()).await;
    assert_eq!(told(&object, "Ready").0, "Unknown");
    assert!(object.metadata.finalizers.is_none());
}

#[tokio::test]
async fn a_restart_checks_and_changes_nothing() {
    let mut harness = Harness::new("restart").await;
    harness.apply(&harness.connection(BUCKET, json!({ "policy": { "type": "Managed" } }))).await;
    harness.ready("c").await;
    harness.check("c").await;
    let before = harness.get("c").await;
    harness.kill();
    let passes = harness.log().matches("reconcile ended").count();
    harness.proxy.take();
    let api = harness.api_writes().len();
    harness.start();
    let end = std::time::Instant::now() + crate::support::harness::LIMIT;
    while harness.log().matches("reconcile ended").count() == passes {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let checked = harness.proxy.take();
    assert_eq!(writes(&checked), [""; 0]);
    // One reconcile, and one sign-in.
    assert_eq!(checked.len(), 7 + 1, "{:?}", crate::support::harness::actions(&checked));
    let after = harness.get("c").await;
    assert_eq!(
        (serde_json::json!(after.status), after.metadata.managed_fields, after.metadata.resource_version),
        (serde_json::json!(before.status), before.metadata.managed_fields, before.metadata.resource_version)
    );
    assert_eq!(harness.api_writes().len(), api, "{:?}", &harness.api_writes()[api..]);
}

#[tokio::test]
async fn it_stops_on_request() {
    let mut harness = Harness::new("end").await;
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    harness.ready("c").await;
    let pid = harness.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(harness.ended());
}
