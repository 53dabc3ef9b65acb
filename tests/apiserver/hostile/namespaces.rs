//! A namespace that was deleted and created again under the same name may belong to another tenant: it does not get,
//! see or delete what the earlier one left in AWS.

use std::time::{Duration, Instant};

use aws_sdk_s3::types::{Tag, Tagging};
use bucketconnection::api::FINALIZER;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::{Tenant, refused, uid};
use crate::support::harness::{Harness, LIMIT, writes};

/// Allows this to the harness's namespace in the harness's own account.
async fn allow(harness: &Harness, rule: Value) {
    harness.account(&harness.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [harness.rule(rule)] })).await;
}

/// Deletes the harness's namespace and creates it again under the same name.
async fn again(harness: &Harness) {
    let namespaces: Api<Namespace> = Api::all(harness.client.clone());
    namespaces.delete(&harness.namespace, &DeleteParams::default()).await.unwrap();
    let end = Instant::now() + LIMIT;
    while let Some(namespace) = namespaces.get_opt(&harness.namespace).await.unwrap() {
        assert!(Instant::now() < end, "{:?}", namespace.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let namespace = serde_json::from_value(json!({ "metadata": { "name": harness.namespace } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
}

async fn put(harness: &Harness, bucket: &str, key: &str) {
    harness.s3().put_object().bucket(bucket).key(key).body(vec![1].into()).send().await.unwrap();
}

async fn holds(harness: &Harness, bucket: &str, key: &str) -> bool {
    harness.s3().head_object().bucket(bucket).key(key).send().await.is_ok()
}

/// A harness in which alice has connected a bucket, with an object in it.
async fn of_alice(name: &str, rule: Value, bucket: &str, spec: Value) -> Harness {
    let harness = Harness::new(name).await;
    allow(&harness, rule).await;
    let alice = Tenant::new(&harness, "alice", &harness.namespace).await;
    alice.apply(&alice.connection("genomics", bucket, spec)).await.unwrap();
    harness.ready("genomics").await;
    put(&harness, bucket, "runs/alices").await;
    harness
}

#[tokio::test]
async fn a_tenant_inherits_nothing_unless_the_account_allows_it() {
    let harness = of_alice("heir", json!({ "buckets": ["heir-old"] }), "heir-old", json!({})).await;
    let kept = harness.s3_with_key("genomics-s3", "us-east-1").await;
    let user = format!("{}.genomics", harness.namespace);
    let old = harness.keys(&user).await;

    again(&harness).await;
    allow(&harness, json!({ "buckets": ["heir-new"] })).await;
    let dave = Tenant::new(&harness, "dave", &harness.namespace).await;
    dave.apply(&dave.connection("genomics", "heir-new", json!({}))).await.unwrap();
    let (reason, message) = refused(&harness, "genomics").await;
    assert_eq!(reason, "UserNotOwned", "{message}");
    assert!(message.contains("inherit: true"), "{message}");
    harness.proxy.take();
    harness.check("genomics").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    put(&harness, "heir-new", "runs/daves").await;
    let read = async |bucket: &str, key: &str| kept.get_object().bucket(bucket).key(key).send().await.is_ok();
    assert!(read("heir-old", "runs/alices").await, "the last tenant's key has what it had");
    assert!(!read("heir-new", "runs/daves").await, "and nothing of the next one's");
    assert_eq!(harness.keys(&user).await, old);

    allow(&harness, json!({ "buckets": ["heir-new"], "inherit": true })).await;
    harness.ready("genomics").await;
    let keys = harness.keys(&user).await;
    assert!(keys.len() == 1 && keys != old, "the last tenant's key is gone: {keys:?}");
    assert!(!read("heir-new", "runs/daves").await && !read("heir-old", "runs/alices").await);
}

/// Even with its own bucket, which no entry refuses.
#[tokio::test]
async fn a_bucket_of_the_previous_tenant_is_neither_connected_nor_deleted() {
    let harness = of_alice("estate", json!({}), "estate-data", json!({ "policy": { "type": "Managed" } })).await;
    again(&harness).await;
    let dave = Tenant::new(&harness, "dave", &harness.namespace).await;
    for extra in [json!({}), json!({ "management": { "default": "Observe" } }), json!({ "bucket": { "adopt": true } })] {
        let mut spec = json!({ "deletionPolicy": "Delete", "forceDestroy": true, "policy": { "type": "Managed" } });
        crate::support::merge::merge(&mut spec, extra);
        let mut object = dave.connection("genomics", "estate-data", spec);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        dave.apply(&object).await.unwrap();
        let (reason, message) = refused(&harness, "genomics").await;
        assert_eq!(reason, "BucketNotOwned", "{message}");
        dave.objects.delete("genomics", &DeleteParams::default()).await.unwrap();
        harness.gone("genomics").await;
        assert!(holds(&harness, "estate-data", "runs/alices").await);
        assert_eq!(harness.keys(&format!("{}.genomics", harness.namespace)).await.len(), 1);
    }
}

/// What the entries never allowed is not deleted either, whatever finalizer the object was created with.
#[tokio::test]
async fn a_finalizer_in_the_manifest_deletes_nothing() {
    let harness = of_alice("preset", json!({ "buckets": ["preset-old"] }), "preset-old", json!({})).await;
    again(&harness).await;
    allow(&harness, json!({ "buckets": ["preset-new"], "inherit": true })).await;
    let dave = Tenant::new(&harness, "dave", &harness.namespace).await;
    for policy in ["Delete", "Release", "Retain"] {
        for account in [harness.namespace.clone(), "no-such-account".to_owned()] {
            let spec = json!({ "accountRef": { "name": account }, "deletionPolicy": policy, "forceDestroy": policy == "Delete" });
            let mut object = dave.connection("genomics", "preset-old", spec);
            object["metadata"]["finalizers"] = json!([FINALIZER]);
            harness.proxy.take();
            dave.apply(&object).await.unwrap();
            dave.objects.delete("genomics", &DeleteParams::default()).await.unwrap();
            harness.gone("genomics").await;
            assert_eq!(harness.proxy.take(), [], "{policy} {account}");
        }
    }
    assert!(holds(&harness, "preset-old", "runs/alices").await);
}

/// A tenant that may write tags (`actions`) names another tenant in them: that transfers no ownership.
#[tokio::test]
async fn a_tag_written_with_a_tenants_key_transfers_no_bucket() {
    let harness = Harness::new("trojan").await;
    allow(&harness, json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    harness.s3().create_bucket().bucket("trojan-apollo").send().await.unwrap();
    let owner = format!("{}/{}/apollo", uid(&harness).await, harness.namespace);
    let tag = Tag::builder().key("bucketconnection.dev/owner").value(owner).build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    harness.s3().put_bucket_tagging().bucket("trojan-apollo").tagging(tags).send().await.unwrap();
    bob.apply(&bob.connection("apollo", "trojan-apollo", json!({}))).await.unwrap();
    let (reason, message) = refused(&harness, "apollo").await;
    assert_eq!(reason, "BucketNotOwned", "{message}");
}
