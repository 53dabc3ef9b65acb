//! Keys are rotated, in time or on request, without a moment in which the Secret holds a key that does not work; and
//! revoked in an emergency.

use std::collections::BTreeSet;

use bucketconnection::api::{BucketConnection, CredentialsStatus, REVOKE_AT, ROTATE_AT};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::lab::{Lab, told, writes};

const USER: &str = "rotated";

fn spec(rotation: Value) -> Value {
    json!({ "user": { "name": USER }, "resyncInterval": "10s", "credentials": { "rotation": rotation } })
}

fn credentials(object: &BucketConnection) -> CredentialsStatus {
    object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default()
}

async fn ask(lab: &Lab, annotation: &str, stamp: &str) {
    lab.patch("c", json!({ "metadata": { "annotations": { annotation: stamp } } })).await;
}

/// Waits until the Secret's key is another one than `old`.
async fn another(lab: &Lab, old: &str) -> BucketConnection {
    let new = |object: &BucketConnection| {
        let now = credentials(object);
        now.pending.is_none() && now.access_key_id.is_some_and(|id| id != old)
    };
    lab.until("c", "other key", new).await
}

#[tokio::test]
async fn on_request_and_the_old_key_goes_in_its_time() {
    let lab = Lab::new("rotation").await;
    lab.apply(&lab.connection("bucket-rotation", spec(json!({ "overlap": "8s" })))).await;
    lab.ready("c").await;
    let old = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let consumer = lab.s3_with_key("c-s3", "us-east-1").await;
    lab.proxy.take();
    ask(&lab, ROTATE_AT, "1").await;
    let object = another(&lab, &old).await;
    let now = credentials(&object);
    assert_eq!(now.last_handled_rotate_at.as_deref(), Some("1"));
    assert_eq!(now.previous.as_ref().map(|previous| previous.access_key_id.as_str()), Some(old.as_str()));
    let new = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    assert_eq!(Some(&new), now.access_key_id.as_ref());
    assert_eq!(lab.keys(USER).await.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([old.clone(), new.clone()]));
    assert_eq!(told(&object, "RotationComplete").1, "Overlapping");
    assert_eq!(told(&object, "Ready").0, "True");
    // The new key was verified before the Secret got it; nothing waits anymore.
    let requests = lab.proxy.take();
    let created = requests.iter().position(|request| request.action == "iam:CreateAccessKey").unwrap();
    let proofs = requests[created..].iter().filter(|request| request.key == new).map(|request| request.action.as_str());
    assert!(proofs.collect::<BTreeSet<_>>().is_superset(&BTreeSet::from(["sts:GetCallerIdentity", "s3:ListBucket"])));
    assert!(lab.secrets().get_opt("c-s3-pending").await.unwrap().is_none());
    // During the overlap the old key works. AWS reports whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    consumer.list_objects_v2().bucket("bucket-rotation").prefix("runs/").send().await.unwrap();

    // It was used since, so it is Inactive, but not deleted, and the status reports where it was used.
    let in_use = |object: &BucketConnection| {
        crate::support::lab::condition(object, "RotationComplete").is_some_and(|c| c.reason == "PreviousKeyInUse")
    };
    let object = lab.until("c", "key before in use", in_use).await;
    let (_, _, message) = told(&object, "RotationComplete");
    assert!(message.contains("by s3 in us-east-1") && message.contains(&old), "{message}");
    assert!(consumer.list_objects_v2().bucket("bucket-rotation").prefix("runs/").send().await.is_err());
    lab.check("c").await;
    assert_eq!(lab.keys(USER).await.len(), 2);
    assert_eq!(told(&lab.get("c").await, "Ready").0, "True");

    // The next rotation replaces it; the key between the two was not used, and is deleted in the end.
    ask(&lab, ROTATE_AT, "2").await;
    another(&lab, &new).await;
    assert!(!lab.keys(USER).await.contains(&old));
    let object = lab.until("c", "end of the rotation", |object| credentials(object).previous.is_none()).await;
    assert_eq!(lab.keys(USER).await, [lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
    lab.condition("c", "RotationComplete", "True").await;
    let reasons: Vec<_> = lab.events("c").await.into_iter().map(|(_, reason, _)| reason).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "KeyRotated").count(), 2, "{reasons:?}");
    drop(object);
    lab.proxy.take();
    lab.check("c").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn by_age() {
    let lab = Lab::new("age").await;
    lab.apply(&lab.connection("bucket-age", spec(json!({ "interval": "15s", "overlap": "3s" })))).await;
    let object = lab.ready("c").await;
    let now = credentials(&object);
    let (created, next) = (now.created_at.unwrap().0, now.next_rotation_at.unwrap().0);
    assert!((14..=15).contains(&(next.as_second() - created.as_second())), "{created} {next}");
    let mut seen = BTreeSet::from([now.access_key_id.unwrap()]);
    for _ in 0..2 {
        let object = another(&lab, seen.iter().next_back().unwrap()).await;
        let now = credentials(&object);
        seen.insert(now.access_key_id.unwrap());
        assert!(now.created_at.unwrap().0 > created);
        assert!(lab.keys(USER).await.len() <= 2);
    }
    assert!(seen.len() >= 2);
}

/// Grants the operator the permissions of deploy/kubernetes/restart.yaml, in the harness's namespace.
fn may_restart(lab: &Lab) {
    let account = "--serviceaccount=bucketconnection-system:bucketconnection";
    let bound = lab.kubectl(&["create", "rolebinding", "restart", "--clusterrole=bucketconnection-restart", account]);
    assert!(bound.status.success(), "{bound:?}");
}

#[tokio::test]
async fn each_key_in_a_secret_of_its_own_and_workloads_restarted() {
    let lab = Lab::new("versions").await;
    let mut spec = spec(json!({ "overlap": "5s" }));
    spec["credentials"]["secret"] = json!({ "name": "key", "versioned": true });
    lab.apply(&lab.connection("bucket-versions", spec)).await;
    lab.ready("c").await;
    let old = lab.secret("key").await;
    assert_eq!(lab.secret("key-v1").await, old);
    let workloads: Api<Deployment> = Api::namespaced(lab.client.clone(), &lab.namespace);
    for (name, label) in [("asks", "c"), ("does-not", "other")] {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "labels": { "bucketconnection.dev/restart": label } },
            "spec": { "selector": { "matchLabels": { "app": name } }, "template": {
                "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } },
        });
        workloads.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    }
    may_restart(&lab);
    ask(&lab, ROTATE_AT, "1").await;
    another(&lab, &old["AWS_ACCESS_KEY_ID"]).await;
    let new = lab.secret("key").await;
    assert_eq!((lab.secret("key-v1").await, lab.secret("key-v2").await), (old, new.clone()));
    let key = async |name: &str| {
        let template = workloads.get(name).await.unwrap().spec.template.metadata.unwrap();
        template.annotations.and_then(|annotations| annotations.get("bucketconnection.dev/access-key-id").cloned())
    };
    assert_eq!(key("asks").await.as_ref(), Some(&new["AWS_ACCESS_KEY_ID"]));
    assert_eq!(key("does-not").await, None);
    lab.until("c", "end of the rotation", |object| credentials(object).previous.is_none()).await;
    assert!(lab.secrets().get_opt("key-v1").await.unwrap().is_none());
    assert_eq!(lab.keys(USER).await, [new["AWS_ACCESS_KEY_ID"].clone()]);
    // Retained with it, and managed again later.
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(lab.secret("key-v2").await, new);
}

/// A tenant can write any text into an annotation; the operator must not rely on the number there.
#[tokio::test]
async fn a_number_of_a_key_that_no_key_has() {
    let lab = Lab::new("numbers").await;
    let mut spec = spec(json!({ "overlap": "1h" }));
    spec["credentials"]["secret"] = json!({ "name": "key", "versioned": true });
    lab.apply(&lab.connection("bucket-numbers", spec)).await;
    lab.ready("c").await;
    let old = lab.secret("key").await;
    let patch = json!({ "metadata": { "annotations": { "bucketconnection.dev/key-version": "9223372036854775807" } } });
    lab.secrets().patch("key", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    ask(&lab, ROTATE_AT, "1").await;
    another(&lab, &old["AWS_ACCESS_KEY_ID"]).await;
    assert_eq!(lab.secret("key-v2").await, lab.secret("key").await, "the status knows which number is next");
}

#[tokio::test]
async fn an_emergency() {
    let lab = Lab::new("revoke").await;
    lab.apply(&lab.connection("bucket-revoke", spec(json!({ "overlap": "1h" })))).await;
    lab.ready("c").await;
    let first = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    ask(&lab, ROTATE_AT, "1").await;
    another(&lab, &first).await;
    let second = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    lab.proxy.take();
    ask(&lab, REVOKE_AT, "1").await;
    let object = another(&lab, &second).await;
    let now = credentials(&object);
    assert_eq!((now.last_handled_revoke_at.as_deref(), now.previous), (Some("1"), None));
    let order = writes(&lab.proxy.take());
    let mut first = order[..3].to_vec();
    first.sort();
    assert_eq!(first, ["iam:DeleteAccessKey", "iam:DeleteAccessKey", "iam:PutUserPolicy"], "at once: {order:?}");
    assert_eq!(order[3..6], ["iam:PutUserPolicy", "iam:TagUser", "iam:CreateAccessKey"], "{order:?}");
    assert_eq!(lab.keys(USER).await, [lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
    // The remaining denial covers only sessions.
    lab.ready("c").await;
    let denial = lab.iam().get_user_policy().user_name(USER).policy_name("bucketconnection-revoked").send().await.unwrap();
    assert!(denial.policy_document.contains("aws%3ATokenIssueTime"), "{}", denial.policy_document);
    assert!(lab.events("c").await.iter().any(|(kind, reason, _)| kind == "Warning" && reason == "KeyRevoked"));
    lab.patch("c", json!({ "spec": { "deletionPolicy": "Delete" } })).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert!(lab.iam().get_user().user_name(USER).send().await.is_err());
}
