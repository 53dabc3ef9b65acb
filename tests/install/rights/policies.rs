//! examples/policies: rules of a cluster that tenants must keep, each with objects that it allows and refuses.

use std::time::{Duration, Instant};

use bucketconnection::api::BucketConnection;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT};
use crate::support::stack::{ROOT, Stack};

/// A harness without an operator, in a namespace to which the policies of this file apply.
async fn harness(file: &str) -> Harness {
    let harness = Harness::idle("policy", Stack::cluster(), &[]).await;
    let place = format!("{ROOT}/examples/policies/{file}.yaml");
    let applied = harness.kubectl(&["apply", "--server-side", "--namespace=", "-f", &place]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    label(&harness, json!({ format!("policy.bucketconnection.dev/{file}"): "enforced" })).await;
    harness
}

async fn label(harness: &Harness, labels: Value) {
    let namespaces: Api<Namespace> = Api::all(harness.client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    namespaces.patch(&harness.namespace, &PatchParams::default(), &patch).await.unwrap();
}

/// Applies a connection with this spec; returns why it was refused.
async fn answer(harness: &Harness, spec: Value) -> Option<String> {
    let object = harness.connection("policy-bucket", spec);
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("tenant").force() };
    match harness.objects().patch("c", &parameters, &Patch::Apply(&object)).await {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Waits until the policy is in force, with an object that it refuses, and compares its message.
async fn refused(harness: &Harness, spec: Value, expected: &str) {
    let end = Instant::now() + LIMIT;
    loop {
        match answer(harness, spec.clone()).await {
            Some(text) if text.contains(expected) => return,
            other => assert!(Instant::now() < end, "expected {expected:?}, got {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn allowed(harness: &Harness, spec: Value) {
    assert_eq!(answer(harness, spec).await, None);
}

#[tokio::test]
async fn connections_must_retain() {
    let harness = harness("retain").await;
    let message = "spec.deletionPolicy: must be Retain in this namespace";
    for policy in ["Delete", "Release"] {
        refused(&harness, json!({ "deletionPolicy": policy }), message).await;
    }
    allowed(&harness, json!({})).await;
    allowed(&harness, json!({ "deletionPolicy": "Retain" })).await;
    // Without the label, the policy does not apply.
    label(&harness, json!({ "policy.bucketconnection.dev/retain": null })).await;
    let end = Instant::now() + LIMIT;
    while let Some(text) = answer(&harness, json!({ "deletionPolicy": "Delete" })).await {
        assert!(Instant::now() < end, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn no_connection_destroys_objects() {
    let harness = harness("no-force-destroy").await;
    let destroys = json!({ "deletionPolicy": "Delete", "forceDestroy": true });
    refused(&harness, destroys, "spec.forceDestroy: must not be true in this namespace").await;
    allowed(&harness, json!({ "deletionPolicy": "Retain", "forceDestroy": false })).await;
    allowed(&harness, json!({})).await;
}

#[tokio::test]
async fn connections_only_observe() {
    let harness = harness("observe-only").await;
    let message = "spec.management: the operator must only observe in this namespace; set management.default: Observe";
    refused(&harness, json!({}), message).await;
    refused(&harness, json!({ "management": { "default": "Enforce" } }), message).await;
    refused(&harness, json!({ "management": { "default": "Observe", "cors": "Enforce" } }), message).await;
    allowed(&harness, json!({ "management": { "default": "Observe" } })).await;
    allowed(&harness, json!({ "management": { "default": "Observe", "cors": "Ignore" } })).await;
}

#[tokio::test]
async fn a_namespace_uses_only_the_accounts_of_its_label() {
    let harness = harness("accounts").await;
    label(&harness, json!({ "policy.bucketconnection.dev/accounts": "research_sequencing-2" })).await;
    let message = "spec.accountRef.name: billing is not an account of this namespace (label policy.bucketconnection.dev/accounts: research_sequencing-2)";
    refused(&harness, json!({ "accountRef": { "name": "billing" } }), message).await;
    refused(&harness, json!({}), "spec.accountRef.name: default is not an account").await;
    refused(&harness, json!({ "accountRef": { "name": "sequencing" } }), "sequencing is not an account").await;
    allowed(&harness, json!({ "accountRef": { "name": "research" } })).await;
    allowed(&harness, json!({ "accountRef": { "name": "sequencing-2" } })).await;
}

/// An object that was there before the policy, and changes only in what the policy does not concern, can still be
/// reconciled and deleted: a policy applies to the spec, not to the operator's writes.
#[tokio::test]
async fn the_operator_still_writes_objects_that_a_later_policy_refuses() {
    let harness = Harness::idle("policy-later", Stack::cluster(), &[]).await;
    let object = harness.connection("policy-bucket", json!({ "deletionPolicy": "Delete" }));
    harness.apply(&object).await;
    let place = format!("{ROOT}/examples/policies/retain.yaml");
    assert!(harness.kubectl(&["apply", "--server-side", "--namespace=", "-f", &place]).status.success());
    label(&harness, json!({ "policy.bucketconnection.dev/retain": "enforced" })).await;
    refused(&harness, json!({ "deletionPolicy": "Delete", "suspend": true }), "must be Retain").await;
    let objects: Api<BucketConnection> = harness.objects();
    let held = Patch::Merge(json!({ "metadata": { "finalizers": ["bucketconnection.dev/cleanup"] } }));
    objects.patch("c", &PatchParams::default(), &held).await.unwrap();
    let status = Patch::Merge(json!({ "status": { "observedGeneration": 1 } }));
    objects.patch_status("c", &PatchParams::default(), &status).await.unwrap();
    harness.delete("c").await;
    let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    objects.patch("c", &PatchParams::default(), &released).await.unwrap();
    harness.gone("c").await;
}
