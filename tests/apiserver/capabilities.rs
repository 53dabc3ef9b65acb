//! What the key is verified to do, one capability after the other, and what is reported if one fails.

use std::collections::BTreeMap;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use bucketconnection::api::{BucketConnection, CapabilityState};
use bucketconnection::sdk::{is_allowed_address, probe_url, tls_context};
use serde_json::{Value, json};

use crate::support::lab::{Lab, actions, told, writes};
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

async fn policy(lab: &Lab, user: &str, document: Value) {
    let call = lab.iam().put_user_policy().user_name(user).policy_name("theirs").policy_document(document.to_string());
    call.send().await.unwrap();
}

#[tokio::test]
async fn without_being_asked_only_the_key_is_proven() {
    let lab = Lab::new("usual").await;
    lab.apply(&lab.connection("bucket-usual", json!({ "preset": "IlluminaICA" }))).await;
    let object = lab.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["list", "s3"]);
    assert_eq!(
        states(&object, CapabilityState::NotConfigured),
        ["delete", "federation", "genomicsCloud", "isolation", "read", "write"]
    );
    assert!(capabilities(&object).1.contains("set spec.verification.objects"), "{}", capabilities(&object).1);
}

#[tokio::test]
async fn everything_is_proven_once_and_nothing_is_left() {
    let lab = Lab::new("matrix").await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let spec = json!({
        "preset": "IlluminaICA", "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } },
        "verification": { "objects": true },
    });
    lab.apply(&lab.connection("bucket-matrix", spec)).await;
    let object = lab.ready("c").await;
    let all = ["delete", "federation", "isolation", "kms", "list", "read", "s3", "write"];
    assert_eq!(states(&object, CapabilityState::Valid), all, "{}", capabilities(&object).1);
    let versions = lab.s3().list_object_versions().bucket("bucket-matrix").send().await.unwrap();
    assert!(versions.versions().is_empty() && versions.delete_markers().is_empty(), "{versions:?}");
    // The session has no permissions and the shortest possible lifetime.
    let federation = lab.proxy.take().into_iter().find(|request| request.action == "sts:GetFederationToken").unwrap();
    assert!(federation.text.contains("DurationSeconds=900") && federation.text.contains("Deny"), "{}", federation.text);

    lab.check("c").await;
    lab.proxy.take();
    let object = lab.check("c").await;
    let checked = lab.proxy.take();
    assert_eq!((writes(&checked), checked.len()), (Vec::new(), 8), "{:?}", actions(&checked));
    assert_eq!(states(&object, CapabilityState::Valid), all);

    // Another spec, other verification; what is no longer requested is no longer reported.
    lab.patch("c", json!({ "spec": { "verification": {} } })).await;
    lab.patch("c", json!({ "spec": { "verification": null } })).await;
    let object = lab.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["list", "s3"]);
}

#[tokio::test]
async fn writing_is_proven_without_an_object() {
    let lab = Lab::new("upload").await;
    let grant = json!({ "statements": [{ "actions": ["s3:AbortMultipartUpload"] }] });
    lab.apply(&lab.connection("bucket-upload", json!({ "verification": {}, "policy": grant }))).await;
    let object = lab.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Valid), ["isolation", "list", "s3", "write"]);
    let requests = lab.proxy.take();
    assert!(requests.iter().any(|request| request.action == "s3:AbortMultipartUpload"), "{:?}", actions(&requests));
    assert!(lab.s3().list_multipart_uploads().bucket("bucket-upload").send().await.unwrap().uploads().is_empty());
}

/// Another policy of the user gives the key access beyond the prefix: reported, and reported as fixed later.
async fn reaches_beyond(preset: &str, action: &str) {
    let lab = Lab::new("isolation").await;
    let bucket = format!("bucket-{}", preset.to_lowercase());
    lab.apply(&lab.connection(&bucket, json!({ "preset": preset, "user": { "name": "reaching" } }))).await;
    lab.ready("c").await;
    let key = lab.keys("reaching").await;
    let everything = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    policy(&lab, "reaching", everything).await;
    lab.patch("c", json!({ "spec": { "verification": {} } })).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "Verified");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotIsolated"));
    assert!(message.contains(action) && message.contains("another policy of the user, a group"), "{message}");
    assert_eq!(told(&object, "Ready").1, "NotIsolated");
    let invalid = states(&object, CapabilityState::Invalid);
    assert_eq!(invalid, ["isolation", "s3"], "{}", capabilities(&object).1);

    lab.iam().delete_user_policy().user_name("reaching").policy_name("theirs").send().await.unwrap();
    lab.check("c").await;
    let object = lab.ready("c").await;
    assert!(states(&object, CapabilityState::Invalid).is_empty());
    assert_eq!(lab.keys("reaching").await, key, "nothing is replaced because of a proof");
}

#[tokio::test]
async fn a_key_that_lists_beyond_the_prefix_is_told() {
    reaches_beyond("ReadWrite", "s3:ListBucket").await;
}

#[tokio::test]
async fn a_key_that_reads_beyond_the_prefix_is_told() {
    reaches_beyond("IlluminaICA", "s3:GetObject").await;
}

#[tokio::test]
async fn a_denied_right_is_told_by_its_name_and_the_key_stays() {
    let lab = Lab::new("denied").await;
    lab.apply(&lab.connection("bucket-denied", json!({ "user": { "name": "denied" } }))).await;
    lab.ready("c").await;
    let (key, secret) = (lab.keys("denied").await, lab.secret("c-s3").await);
    let deny =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*" }] });
    policy(&lab, "denied", deny).await;
    lab.patch("c", json!({ "spec": { "verification": { "objects": true } } })).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Verified");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("s3:DeleteObject") && message.contains("AWS accepts the key, but denies"), "{message}");
    assert_eq!(states(&object, CapabilityState::Invalid), ["delete", "s3"]);
    assert_eq!(states(&object, CapabilityState::Valid), ["isolation", "list", "read", "write"]);

    lab.iam().delete_user_policy().user_name("denied").policy_name("theirs").send().await.unwrap();
    lab.check("c").await;
    let object = lab.ready("c").await;
    assert!(states(&object, CapabilityState::Invalid).is_empty());
    assert_eq!((lab.keys("denied").await, lab.secret("c-s3").await), (key, secret));
    let left = lab.s3().list_objects_v2().bucket("bucket-denied").send().await.unwrap();
    assert!(left.contents().is_empty(), "the next trial takes what the last one had to leave: {left:?}");
}

#[tokio::test]
async fn trouble_in_passing_makes_nothing_invalid() {
    let lab = Lab::new("passing").await;
    lab.proxy.fault("sts:GetFederationToken", Fault::Answer(503, "ServiceUnavailable"), 40);
    lab.apply(&lab.connection("bucket-passing", json!({ "preset": "IlluminaICA", "verification": {} }))).await;
    let pending = |object: &BucketConnection| {
        let known = object.status.as_ref().and_then(|status| status.capabilities.get("federation"));
        known.is_some_and(|capability| capability.state == CapabilityState::Pending)
    };
    let object = lab.until("c", "pending federation", pending).await;
    assert_eq!(told(&object, "Stalled").0, "False");
    lab.proxy.heal();
    let object = lab.ready("c").await;
    assert!(states(&object, CapabilityState::Valid).contains(&"federation"));
}

/// The operator calls a URL that the user names only if the account allows it, and never one near the operator.
#[tokio::test]
async fn the_address_of_genomics_cloud_is_for_the_account_to_allow() {
    let lab = Lab::new("cloud").await;
    let cloud = json!({ "verification": { "genomicsCloud": { "url": "https://localhost:9/health" } } });
    let mut object = lab.connection("bucket-cloud", cloud);
    lab.account(&lab.namespace, json!({ "allowedNamespaces": [lab.rule(json!({ "hosts": ["*.example.org"] }))] })).await;
    object["spec"]["accountRef"] = json!({ "name": lab.namespace });
    lab.apply(&object).await;
    let (_, reason, message) = told(&lab.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "NotAllowed");
    assert!(message.contains("verification.genomicsCloud.url localhost:9 (allowed: *.example.org)"), "{message}");

    lab.account(&lab.namespace, json!({ "allowedNamespaces": [lab.rule(json!({ "hosts": ["localhost:*"] }))] })).await;
    let object = lab.ready("c").await;
    assert_eq!(states(&object, CapabilityState::Invalid), ["genomicsCloud"], "the key works all the same");
    assert!(capabilities(&object).1.contains("may not be asked"), "{}", capabilities(&object).1);
}

#[tokio::test]
async fn one_request_over_tls_to_a_name_that_is_looked_up_once() {
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
