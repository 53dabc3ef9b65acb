//! Keys are rotated, in time or on request, without a moment in which the Secret holds a key that does not work; and
//! revoked in an emergency.

use std::collections::BTreeSet;

use bucketconnection::api::{BucketConnection, CredentialsStatus, REVOKE_AT, ROTATE_AT};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, told, writes};

const USER: &str = "rotated";

fn spec(rotation: Value) -> Value {
    json!({ "user": { "name": USER }, "resyncInterval": "10s", "credentials": { "rotation": rotation } })
}

fn credentials(object: &BucketConnection) -> CredentialsStatus {
    object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default()
}

async fn ask(harness: &Harness, annotation: &str, stamp: &str) {
    harness.patch("c", json!({ "metadata": { "annotations": { annotation: stamp } } })).await;
}

/// Waits until the Secret's key is another one than `old`.
async fn another(harness: &Harness, old: &str) -> BucketConnection {
    let new = |object: &BucketConnection| {
        let now = credentials(object);
        now.pending.is_none() && now.access_key_id.is_some_and(|id| id != old)
    };
    harness.until("c", "other key", new).await
}

#[tokio::test]
async fn on_request_and_the_old_key_is_deleted_after_the_overlap() {
    let harness = Harness::new("rotation").await;
    harness.apply(&harness.connection("bucket-rotation", spec(json!({ "overlap": "8s" })))).await;
    harness.ready("c").await;
    let old = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let consumer = harness.s3_with_key("c-s3", "us-east-1").await;
    harness.proxy.take();
    ask(&harness, ROTATE_AT, "1").await;
    let object = another(&harness, &old).await;
    let now = credentials(&object);
    assert_eq!(now.last_handled_rotate_at.as_deref(), Some("1"));
    assert_eq!(now.previous.as_ref().map(|previous| previous.access_key_id.as_str()), Some(old.as_str()));
    let new = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    assert_eq!(Some(&new), now.access_key_id.as_ref());
    assert_eq!(harness.keys(USER).await.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([old.clone(), new.clone()]));
    assert_eq!(told(&object, "RotationComplete").1, "Overlapping");
    assert_eq!(told(&object, "Ready").0, "True");
    // The new key was verified before the Secret got it; nothing waits anymore.
    let requests = harness.proxy.take();
    let created = requests.iter().position(|request| request.action == "iam:CreateAccessKey").unwrap();
    let proofs = requests[created..].iter().filter(|request| request.key == new).map(|request| request.action.as_str());
    assert!(proofs.collect::<BTreeSet<_>>().is_superset(&BTreeSet::from(["sts:GetCallerIdentity", "s3:ListBucket"])));
    assert!(harness.secrets().get_opt("c-s3-pending").await.unwrap().is_none());
    // During the overlap the old key works. AWS reports whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    consumer.list_objects_v2().bucket("bucket-rotation").prefix("runs/").send().await.unwrap();

    // It was used since, so it is Inactive, but not deleted, and the status reports where it was used.
    let in_use = |object: &BucketConnection| {
        crate::support::harness::condition(object, "RotationComplete").is_some_and(|c| c.reason == "PreviousKeyInUse")
    };
    let object = harness.until("c", "key before in use", in_use).await;
    let (_, _, message) = told(&object, "RotationComplete");
    assert!(message.contains("by s3 in us-east-1") && message.contains(&old), "{message}");
    assert!(consumer.list_objects_v2().bucket("bucket-rotation").prefix("runs/").send().await.is_err());
    harness.check("c").await;
    assert_eq!(harness.keys(USER).await.len(), 2);
    assert_eq!(told(&harness.get("c").await, "Ready").0, "True");

    // The next rotation replaces it; the key between the two was not used, and is deleted in the end.
    ask(&harness, ROTATE_AT, "2").await;
    another(&harness, &new).await;
    assert!(!harness.keys(USER).await.contains(&old));
    let object = harness.until("c", "end of the rotation", |object| credentials(object).previous.is_none()).await;
    assert_eq!(harness.keys(USER).await, [harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
    harness.condition("c", "RotationComplete", "True").await;
    let reasons: Vec<_> = harness.events("c").await.into_iter().map(|(_, reason, _)| reason).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "KeyRotated").count(), 2, "{reasons:?}");
    drop(object);
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn by_age() {
    let harness = Harness::new("age").await;
    harness.apply(&harness.connection("bucket-age", spec(json!({ "interval": "15s", "overlap": "3s" })))).await;
    let object = harness.ready("c").await;
    let now = credentials(&object);
    let (created, next) = (now.created_at.unwrap().0, now.next_rotation_at.unwrap().0);
    assert!((14..=15).contains(&(next.as_second() - created.as_second())), "{created} {next}");
    let mut seen = BTreeSet::from([now.access_key_id.unwrap()]);
    for _ in 0..2 {
        let object = another(&harness, seen.iter().next_back().unwrap()).await;
        let now = credentials(&object);
        seen.insert(now.access_key_id.unwrap());
        assert!(now.created_at.unwrap().0 > created);
        assert!(harness.keys(USER).await.len() <= 2);
    }
    assert!(seen.len() >= 2);
}

/// Grants the operator the permissions of deploy/kubernetes/base/restart.yaml, in the harness's namespace.
fn may_restart(harness: &Harness) {
    let account = "--serviceaccount=bucketconnection-system:bucketconnection";
    let bound = harness.kubectl(&["create", "rolebinding", "restart", "--clusterrole=bucketconnection-restart", account]);
    assert!(bound.status.success(), "{bound:?}");
}

#[tokio::test]
async fn each_key_has_its_own_secret_and_workloads_restart() {
    let harness = Harness::new("versions").await;
    let mut spec = spec(json!({ "overlap": "5s" }));
    spec["credentials"]["secret"] = json!({ "name": "key", "versioned": true });
    harness.apply(&harness.connection("bucket-versions", spec)).await;
    harness.ready("c").await;
    let old = harness.secret("key").await;
    assert_eq!(harness.secret("key-v1").await, old);
    let workloads: Api<Deployment> = Api::namespaced(harness.client.clone(), &harness.namespace);
    for (name, label) in [("asks", "c"), ("does-not", "other")] {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "labels": { "bucketconnection.dev/restart": label } },
            "spec": { "selector": { "matchLabels": { "app": name } }, "template": {
                "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } },
        });
        workloads.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    }
    may_restart(&harness);
    ask(&harness, ROTATE_AT, "1").await;
    another(&harness, &old["AWS_ACCESS_KEY_ID"]).await;
    let new = harness.secret("key").await;
    assert_eq!((harness.secret("key-v1").await, harness.secret("key-v2").await), (old, new.clone()));
    let key = async |name: &str| {
        let template = workloads.get(name).await.unwrap().spec.template.metadata.unwrap();
        template.annotations.and_then(|annotations| annotations.get("bucketconnection.dev/access-key-id").cloned())
    };
    assert_eq!(key("asks").await.as_ref(), Some(&new["AWS_ACCESS_KEY_ID"]));
    assert_eq!(key("does-not").await, None);
    harness.until("c", "end of the rotation", |object| credentials(object).previous.is_none()).await;
    assert!(harness.secrets().get_opt("key-v1").await.unwrap().is_none());
    assert_eq!(harness.keys(USER).await, [new["AWS_ACCESS_KEY_ID"].clone()]);
    // Retained with it, and managed again later.
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(harness.secret("key-v2").await, new);
}

/// A tenant can write any text into an annotation; the operator must not rely on the number there.
#[tokio::test]
async fn an_invalid_key_version_is_ignored() {
    let harness = Harness::new("numbers").await;
    let mut spec = spec(json!({ "overlap": "1h" }));
    spec["credentials"]["secret"] = json!({ "name": "key", "versioned": true });
    harness.apply(&harness.connection("bucket-numbers", spec)).await;
    harness.ready("c").await;
    let old = harness.secret("key").await;
    let patch = json!({ "metadata": { "annotations": { "bucketconnection.dev/key-version": "9223372036854775807" } } });
    harness.secrets().patch("key", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    ask(&harness, ROTATE_AT, "1").await;
    another(&harness, &old["AWS_ACCESS_KEY_ID"]).await;
    assert_eq!(harness.secret("key-v2").await, harness.secret("key").await, "the status knows which number is next");
}

#[tokio::test]
async fn a_revocation_during_a_rotation() {
    let harness = Harness::new("revoke").await;
    harness.apply(&harness.connection("bucket-revoke", spec(json!({ "overlap": "1h" })))).await;
    harness.ready("c").await;
    let first = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    ask(&harness, ROTATE_AT, "1").await;
    another(&harness, &first).await;
    let second = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    harness.proxy.take();
    ask(&harness, REVOKE_AT, "1").await;
    let object = another(&harness, &second).await;
    let now = credentials(&object);
    assert_eq!((now.last_handled_revoke_at.as_deref(), now.previous), (Some("1"), None));
    let order = writes(&harness.proxy.take());
    let mut first = order[..3].to_vec();
    first.sort();
    assert_eq!(first, ["iam:DeleteAccessKey", "iam:DeleteAccessKey", "iam:PutUserPolicy"], "at once: {order:?}");
    assert_eq!(order[3..6], ["iam:PutUserPolicy", "iam:TagUser", "iam:CreateAccessKey"], "{order:?}");
    assert_eq!(harness.keys(USER).await, [harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
    // The remaining denial covers only sessions.
    harness.ready("c").await;
    let denial = harness.iam().get_user_policy().user_name(USER).policy_name("bucketconnection-revoked").send().await.unwrap();
    assert!(denial.policy_document.contains("aws%3ATokenIssueTime"), "{}", denial.policy_document);
    assert!(harness.events("c").await.iter().any(|(kind, reason, _)| kind == "Warning" && reason == "KeyRevoked"));
    harness.patch("c", json!({ "spec": { "deletionPolicy": "Delete" } })).await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert!(harness.iam().get_user().user_name(USER).send().await.is_err());
}
