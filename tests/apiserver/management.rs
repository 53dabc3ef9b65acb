//! Enforce, Observe and Ignore, and every transition between them.

use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, told, writes};

const BUCKET: &str = "bucket-managed";

async fn cors(harness: &Harness) -> bool {
    harness.s3().get_bucket_cors().bucket(BUCKET).send().await.is_ok()
}

#[tokio::test]
async fn every_transition_of_one_section() {
    let harness = Harness::new("modes").await;
    let spec = |management: Value| json!({ "preset": "IlluminaICA", "user": { "name": "managed" }, "management": management });
    harness.apply(&harness.connection(BUCKET, spec(json!({})))).await;
    harness.ready("c").await;
    let modes = ["Enforce", "Observe", "Ignore", "Enforce", "Ignore", "Observe", "Enforce"];
    for mode in modes {
        harness.apply(&harness.connection(BUCKET, spec(json!({ "cors": mode })))).await;
        harness.ready("c").await;
        let count = drift_count(&harness.get("c").await);
        if cors(&harness).await {
            harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
        }
        harness.proxy.take();
        let object = harness.check("c").await;
        let written = writes(&harness.proxy.take());
        assert_eq!(told(&object, "Ready").0, "True", "{mode}");
        let (status, reason, message) = told(&object, "CORSInSync");
        let drift = object.status.as_ref().unwrap().drift.clone().unwrap_or_default();
        match mode {
            "Enforce" => {
                assert_eq!(written, ["s3:PutBucketCORS"]);
                assert_eq!((status.as_str(), drift_count(&object)), ("True", count + 1));
                assert!(drift.differences.is_empty());
            }
            "Observe" => {
                assert_eq!((written, reason.as_str()), (vec![], "Observed"), "{message}");
                assert_eq!(told(&object, "DriftDetected").1, "Observed");
                assert_eq!(drift.differences[0].path, "cors.rules[0]");
            }
            _ => {
                assert_eq!((written, reason.as_str()), (vec![], "NotManaged"), "{message}");
                assert_eq!(told(&object, "DriftDetected").0, "False");
                assert!(drift.differences.is_empty());
            }
        }
        // What was found once is not written to the status again.
        let version = harness.check("c").await.metadata.resource_version;
        let again = harness.check("c").await;
        assert_ne!(again.metadata.resource_version, version, "the annotation itself");
        assert_eq!(cors(&harness).await, mode == "Enforce");
    }
}

#[tokio::test]
async fn a_whole_object_is_only_observed() {
    let harness = Harness::new("observe").await;
    harness.s3().create_bucket().bucket(BUCKET).send().await.unwrap();
    let spec = |management: Value| json!({ "preset": "IlluminaICA", "user": { "name": "managed" }, "deletionPolicy": "Delete", "forceDestroy": true, "management": management });
    harness.apply(&harness.connection(BUCKET, spec(json!({ "default": "Observe" })))).await;
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").1, "Observed");
    assert_eq!(told(&object, "Stalled").0, "False");
    let status = object.status.unwrap();
    assert!(status.memory.bucket.is_none() && status.memory.user.is_none(), "what is only observed is not managed");
    let differences = status.drift.unwrap().differences;
    for path in ["bucket.tags[bucketconnection.dev/owner]", "cors.rules[0]", "user", "policy", "secret(c-s3)"] {
        assert!(differences.iter().any(|difference| difference.path == path), "{path}: {differences:?}");
    }
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    // Enforcing does not bypass adoption.
    harness.apply(&harness.connection(BUCKET, spec(json!({})))).await;
    assert_eq!(told(&harness.condition("c", "Stalled", "True").await, "Ready").1, "BucketNotOwned");
    harness.apply(&harness.connection(BUCKET, spec(json!({ "default": "Observe" })))).await;
    harness.ready("c").await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "not even deletion changes anything");
    harness.apply(&harness.connection(BUCKET, spec(json!({ "everything": "Observe" })))).await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "InvalidSpec");
    assert!(message.contains("everything is not a section (allowed: default, bucket, user, policy"), "{message}");
}

#[tokio::test]
async fn observed_from_enforced_and_deleted() {
    let harness = Harness::new("hands-off").await;
    let spec = |management: Value| json!({ "user": { "name": "managed" }, "deletionPolicy": "Delete", "management": management });
    harness.apply(&harness.connection(BUCKET, spec(json!({})))).await;
    harness.ready("c").await;
    let key = harness.keys("managed").await;
    harness.apply(&harness.connection(BUCKET, spec(json!({ "default": "Observe" })))).await;
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").1, "Connected", "the key was tried in looking");
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(harness.keys("managed").await, key);
    let secret = harness.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references, None, "the Secret outlives the object");
}

#[tokio::test]
async fn sections_have_independent_modes() {
    let harness = Harness::new("beside").await;
    let spec = json!({ "user": { "name": "managed" }, "management": { "policy": "Ignore" } });
    harness.apply(&harness.connection(BUCKET, spec)).await;
    // Without a policy the key is denied: someone else has to grant it.
    while harness.iam().get_user().user_name("managed").send().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    let grant = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    harness
        .iam()
        .put_user_policy()
        .user_name("managed")
        .policy_name("theirs")
        .policy_document(grant.to_string())
        .send()
        .await
        .unwrap();
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").1, "Connected");
    assert_eq!(told(&object, "PolicyInSync").1, "NotManaged");
}
