//! What the key is verified to do, one capability after the other, and what is reported if one fails.

use std::collections::BTreeMap;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use bucketconnection::api::{BucketConnection, CapabilityState};
use bucketconnection::sdk::{is_allowed_address, probe_url, tls_context};
use serde_json::{Value, json};

use crate::support::harness::{Harness, actions, told, writes};
use crate::support::proxy::Fault;
use crate::support::stack::{Emulator, scratch};

/// The states by name, and all messages in one text.
fn capabilities(object: &BucketConnection) -> (BTreeMap<&str, CapabilityState>, String) {
    let capabilities = &object.status.as_ref().unwrap().capabilities;
    let states = capabilities.iter().map(|(name, capability)| (name.as_str(), capability.state)).collect();
    (states, json!(capabilities).to_string())
}

fn states(object: &BucketConnection, state: CapabilityState) -> Vec<&str> {
    capabilities(object).0.into_iter().filter(|(_, found)| *found == state).map(|(name, _)| name).collect()
}

async fn policy(harness: &Harness, user: &str, document: Value) {
    let call = harness.iam().put_user_policy().user_name(user).policy_name("theirs").policy_document(document.to_string());
    call.send().await.unwrap();
}

#[tokio::test]
async fn by_default_only_the_key_is_verified() {
    let harness = Harness::new("usual").await;
    harness.apply(&harness.connection("bucket-usual", json!({ "preset": "IlluminaICA" }))).await;
    let object = harness.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["list", "s3"]);
    assert_eq!(
        states(&object, CapabilityState::NotConfigured),
        ["delete", "federation", "genomicsCloud", "isolation", "read", "write"]
    );
    assert!(capabilities(&object).1.contains("set spec.verification.objects"), "{}", capabilities(&object).1);
}

#[tokio::test]
async fn everything_is_verified_once_and_nothing_is_left_behind() {
    let harness = Harness::new("matrix").await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let spec = json!({
        "preset": "IlluminaICA", "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } },
        "verification": { "objects": true },
    });
    harness.apply(&harness.connection("bucket-matrix", spec)).await;
    let object = harness.ready("c").await;
    let all = ["delete", "federation", "isolation", "kms", "list", "read", "s3", "write"];
    assert_eq!(states(&object, CapabilityState::Valid), all, "{}", capabilities(&object).1);
    let versions = harness.s3().list_object_versions().bucket("bucket-matrix").send().await.unwrap();
    assert!(versions.versions().is_empty() && versions.delete_markers().is_empty(), "{versions:?}");
    // The session has no permissions and the shortest possible lifetime.
    let federation = harness.proxy.take().into_iter().find(|request| request.action == "sts:GetFederationToken").unwrap();
    assert!(federation.text.contains("DurationSeconds=900") && federation.text.contains("Deny"), "{}", federation.text);

    harness.check("c").await;
    harness.proxy.take();
    let object = harness.check("c").await;
    let checked = harness.proxy.take();
    assert_eq!((writes(&checked), checked.len()), (Vec::new(), 8), "{:?}", actions(&checked));
    assert_eq!(states(&object, CapabilityState::Valid), all);

    // Another spec, other verification; what is no longer requested is no longer reported.
    harness.patch("c", json!({ "spec": { "verification": {} } })).await;
    harness.patch("c", json!({ "spec": { "verification": null } })).await;
    let object = harness.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["list", "s3"]);
}

#[tokio::test]
async fn writing_is_verified_without_an_object() {
    let harness = Harness::new("upload").await;
    let grant = json!({ "statements": [{ "actions": ["s3:AbortMultipartUpload"] }] });
    harness.apply(&harness.connection("bucket-upload", json!({ "verification": {}, "policy": grant }))).await;
    let object = harness.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["isolation", "list", "s3", "write"]);
    let requests = harness.proxy.take();
    assert!(requests.iter().any(|request| request.action == "s3:AbortMultipartUpload"), "{:?}", actions(&requests));
    assert!(harness.s3().list_multipart_uploads().bucket("bucket-upload").send().await.unwrap().uploads().is_empty());
}

/// Another policy of the user gives the key access beyond the prefix: reported, and reported as fixed later.
async fn reaches_beyond(preset: &str, action: &str) {
    let harness = Harness::new("isolation").await;
    let bucket = format!("bucket-{}", preset.to_lowercase());
    harness.apply(&harness.connection(&bucket, json!({ "preset": preset, "user": { "name": "reaching" } }))).await;
    harness.ready("c").await;
    let key = harness.keys("reaching").await;
    let everything = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    policy(&harness, "reaching", everything).await;
    harness.patch("c", json!({ "spec": { "verification": {} } })).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "Verified");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotIsolated"));
    assert!(message.contains(action) && message.contains("another policy of the user, a group"), "{message}");
    assert_eq!(told(&object, "Ready").1, "NotIsolated");
    let invalid = states(&object, CapabilityState::Invalid);
    assert_eq!(invalid, ["isolation", "s3"], "{}", capabilities(&object).1);

    harness.iam().delete_user_policy().user_name("reaching").policy_name("theirs").send().await.unwrap();
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert!(states(&object, CapabilityState::Invalid).is_empty());
    assert_eq!(harness.keys("reaching").await, key, "nothing is replaced because of a proof");
}

#[tokio::test]
async fn a_key_that_lists_beyond_the_prefix_is_reported() {
    reaches_beyond("ReadWrite", "s3:ListBucket").await;
}

#[tokio::test]
async fn a_key_that_reads_beyond_the_prefix_is_reported() {
    reaches_beyond("IlluminaICA", "s3:GetObject").await;
}

#[tokio::test]
async fn a_denied_permission_is_named_and_the_key_stays() {
    let harness = Harness::new("denied").await;
    harness.apply(&harness.connection("bucket-denied", json!({ "user": { "name": "denied" } }))).await;
    harness.ready("c").await;
    let (key, secret) = (harness.keys("denied").await, harness.secret("c-s3").await);
    let deny =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*" }] });
    policy(&harness, "denied", deny).await;
    harness.patch("c", json!({ "spec": { "verification": { "objects": true } } })).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Verified");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("s3:DeleteObject") && message.contains("AWS accepts the key, but denies"), "{message}");
    assert_eq!(states(&object, CapabilityState::Invalid), ["delete", "s3"]);
    assert_eq!(states(&object, CapabilityState::Valid), ["isolation", "list", "read", "write"]);

    harness.iam().delete_user_policy().user_name("denied").policy_name("theirs").send().await.unwrap();
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert!(states(&object, CapabilityState::Invalid).is_empty());
    assert_eq!((harness.keys("denied").await, harness.secret("c-s3").await), (key, secret));
    let left = harness.s3().list_objects_v2().bucket("bucket-denied").send().await.unwrap();
    assert!(left.contents().is_empty(), "the next trial takes what the last one had to leave: {left:?}");
}

#[tokio::test]
async fn a_transient_failure_makes_no_capability_invalid() {
    let harness = Harness::new("passing").await;
    harness.proxy.fault("sts:GetFederationToken", Fault::Answer(503, "ServiceUnavailable"), 40);
    harness.apply(&harness.connection("bucket-passing", json!({ "preset": "IlluminaICA", "verification": {} }))).await;
    let pending = |object: &BucketConnection| {
        let known = object.status.as_ref().and_then(|status| status.capabilities.get("federation"));
        known.is_some_and(|capability| capability.state == CapabilityState::Pending)
    };
    let object = harness.until("c", "pending federation", pending).await;
    assert_eq!(told(&object, "Stalled").0, "False");
    harness.proxy.heal();
    let object = harness.ready("c").await;
    assert!(states(&object, CapabilityState::Valid).contains(&"federation"));
}

/// The operator calls a URL that the user names only if the account allows it, and never one near the operator.
#[tokio::test]
async fn the_account_must_allow_the_url_of_genomics_cloud() {
    let harness = Harness::new("cloud").await;
    let cloud = json!({ "verification": { "genomicsCloud": { "url": "https://localhost:9/health" } } });
    let mut object = harness.connection("bucket-cloud", cloud);
    harness
        .account(&harness.namespace, json!({ "allowedNamespaces": [harness.rule(json!({ "hosts": ["*.example.org"] }))] }))
        .await;
    object["spec"]["accountRef"] = json!({ "name": harness.namespace });
    harness.apply(&object).await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "NotAllowed");
    assert!(message.contains("verification.genomicsCloud.url localhost:9 (allowed: *.example.org)"), "{message}");

    harness
        .account(&harness.namespace, json!({ "allowedNamespaces": [harness.rule(json!({ "hosts": ["localhost:*"] }))] }))
        .await;
    let object = harness.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Invalid), ["genomicsCloud"], "the key works all the same");
    assert!(capabilities(&object).1.contains("may not be asked"), "{}", capabilities(&object).1);
}

#[tokio::test]
async fn one_request_over_tls_with_one_name_lookup() {
    let place = scratch("visit");
    let server = Emulator::start(&["--tls", place.to_str().unwrap()]);
    let ca = std::fs::read(place.join("ca.pem")).unwrap();
    let trust = || {
        let store = TrustStore::empty().with_pem_certificate(ca.clone());
        TlsContext::builder().with_trust_store(store).build().unwrap()
    };
    let url = format!("{}/nowhere", server.url());
    let status = probe_url(&url, "localhost", |_| true, trust()).await.unwrap();
    assert!((200..600).contains(&status), "{status}");
    let refused = probe_url(&url, "localhost", is_allowed_address, trust()).await.unwrap_err();
    assert!(refused.message.contains("may not be asked"), "{refused:?}");
    let strange = probe_url(&url, "localhost", |_| true, tls_context().unwrap()).await.unwrap_err();
    assert!(strange.message.contains("certificate"), "{strange:?}");
}
