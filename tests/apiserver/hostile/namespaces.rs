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
use crate::support::lab::{LIMIT, Lab, writes};

/// Allows this to the harness's namespace in the harness's own account.
async fn allow(lab: &Lab, rule: Value) {
    lab.account(&lab.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [lab.rule(rule)] })).await;
}

/// Deletes the harness's namespace and creates it again under the same name.
async fn again(lab: &Lab) {
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    namespaces.delete(&lab.namespace, &DeleteParams::default()).await.unwrap();
    let end = Instant::now() + LIMIT;
    while let Some(namespace) = namespaces.get_opt(&lab.namespace).await.unwrap() {
        assert!(Instant::now() < end, "{:?}", namespace.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let namespace = serde_json::from_value(json!({ "metadata": { "name": lab.namespace } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
}

async fn put(lab: &Lab, bucket: &str, key: &str) {
    lab.s3().put_object().bucket(bucket).key(key).body(vec![1].into()).send().await.unwrap();
}

async fn holds(lab: &Lab, bucket: &str, key: &str) -> bool {
    lab.s3().head_object().bucket(bucket).key(key).send().await.is_ok()
}

/// A harness in which alice has connected a bucket, with an object in it.
async fn of_alice(name: &str, rule: Value, bucket: &str, spec: Value) -> Lab {
    let lab = Lab::new(name).await;
    allow(&lab, rule).await;
    let alice = Tenant::new(&lab, "alice", &lab.namespace).await;
    alice.apply(&alice.connection("genomics", bucket, spec)).await.unwrap();
    lab.ready("genomics").await;
    put(&lab, bucket, "runs/alices").await;
    lab
}

#[tokio::test]
async fn the_next_tenant_gets_nothing_of_the_last_one_until_the_account_says_so() {
    let lab = of_alice("heir", json!({ "buckets": ["heir-old"] }), "heir-old", json!({})).await;
    let kept = lab.s3_with_key("genomics-s3", "us-east-1").await;
    let user = format!("{}.genomics", lab.namespace);
    let old = lab.keys(&user).await;

    again(&lab).await;
    allow(&lab, json!({ "buckets": ["heir-new"] })).await;
    let dave = Tenant::new(&lab, "dave", &lab.namespace).await;
    dave.apply(&dave.connection("genomics", "heir-new", json!({}))).await.unwrap();
    let (reason, message) = refused(&lab, "genomics").await;
    assert_eq!(reason, "UserNotOwned", "{message}");
    assert!(message.contains("inherit: true"), "{message}");
    lab.proxy.take();
    lab.check("genomics").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0]);
    put(&lab, "heir-new", "runs/daves").await;
    let read = async |bucket: &str, key: &str| kept.get_object().bucket(bucket).key(key).send().await.is_ok();
    assert!(read("heir-old", "runs/alices").await, "the last tenant's key has what it had");
    assert!(!read("heir-new", "runs/daves").await, "and nothing of the next one's");
    assert_eq!(lab.keys(&user).await, old);

    allow(&lab, json!({ "buckets": ["heir-new"], "inherit": true })).await;
    lab.ready("genomics").await;
    let keys = lab.keys(&user).await;
    assert!(keys.len() == 1 && keys != old, "the last tenant's key is gone: {keys:?}");
    assert!(!read("heir-new", "runs/daves").await && !read("heir-old", "runs/alices").await);
}

/// Even with its own bucket, which no entry refuses.
#[tokio::test]
async fn a_bucket_of_the_last_tenant_is_neither_connected_nor_deleted() {
    let lab = of_alice("estate", json!({}), "estate-data", json!({ "policy": { "type": "Managed" } })).await;
    again(&lab).await;
    let dave = Tenant::new(&lab, "dave", &lab.namespace).await;
    for extra in [json!({}), json!({ "management": { "default": "Observe" } }), json!({ "bucket": { "adopt": true } })] {
        let mut spec = json!({ "deletionPolicy": "Delete", "forceDestroy": true, "policy": { "type": "Managed" } });
        crate::support::merge::merge(&mut spec, extra);
        let mut object = dave.connection("genomics", "estate-data", spec);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        dave.apply(&object).await.unwrap();
        let (reason, message) = refused(&lab, "genomics").await;
        assert_eq!(reason, "BucketNotOwned", "{message}");
        dave.objects.delete("genomics", &DeleteParams::default()).await.unwrap();
        lab.gone("genomics").await;
        assert!(holds(&lab, "estate-data", "runs/alices").await);
        assert_eq!(lab.keys(&format!("{}.genomics", lab.namespace)).await.len(), 1);
    }
}

/// What the entries never allowed is not deleted either, whatever finalizer the object was created with.
#[tokio::test]
async fn a_finalizer_of_ones_own_deletes_nothing() {
    let lab = of_alice("preset", json!({ "buckets": ["preset-old"] }), "preset-old", json!({})).await;
    again(&lab).await;
    allow(&lab, json!({ "buckets": ["preset-new"], "inherit": true })).await;
    let dave = Tenant::new(&lab, "dave", &lab.namespace).await;
    for policy in ["Delete", "Release", "Retain"] {
        for account in [lab.namespace.clone(), "no-such-account".to_owned()] {
            let spec = json!({ "accountRef": { "name": account }, "deletionPolicy": policy, "forceDestroy": policy == "Delete" });
            let mut object = dave.connection("genomics", "preset-old", spec);
            object["metadata"]["finalizers"] = json!([FINALIZER]);
            lab.proxy.take();
            dave.apply(&object).await.unwrap();
            dave.objects.delete("genomics", &DeleteParams::default()).await.unwrap();
            lab.gone("genomics").await;
            assert_eq!(lab.proxy.take(), [], "{policy} {account}");
        }
    }
    assert!(holds(&lab, "preset-old", "runs/alices").await);
}

/// A tenant that may write tags (`actions`) names another tenant in them: that transfers no ownership.
#[tokio::test]
async fn a_tag_of_another_tenants_key_gives_nobody_a_bucket() {
    let lab = Lab::new("trojan").await;
    allow(&lab, json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    lab.s3().create_bucket().bucket("trojan-apollo").send().await.unwrap();
    let owner = format!("{}/{}/apollo", uid(&lab).await, lab.namespace);
    let tag = Tag::builder().key("bucketconnection.dev/owner").value(owner).build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    lab.s3().put_bucket_tagging().bucket("trojan-apollo").tagging(tags).send().await.unwrap();
    bob.apply(&bob.connection("apollo", "trojan-apollo", json!({}))).await.unwrap();
    let (reason, message) = refused(&lab, "apollo").await;
    assert_eq!(reason, "BucketNotOwned", "{message}");
}
