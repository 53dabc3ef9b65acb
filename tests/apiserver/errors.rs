//! Failures on either side: each kind is reported as what it is, loses nothing, and ends without action if possible.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::harness::{Harness, drift_count, told, writes};
use crate::support::proxy::Fault;
use crate::support::stack::{ROOT, Stack, scratch};

const BUCKET: &str = "bucket-trouble";

async fn connected(name: &str) -> Harness {
    let harness = Harness::new(name).await;
    harness.apply(&harness.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    harness.ready("c").await;
    harness
}

#[tokio::test]
async fn a_denied_call_names_the_missing_permission() {
    let harness = connected("denied").await;
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    harness.proxy.fault("s3:PutBucketCORS", Fault::Answer(403, "AccessDenied"), 1_000_000);
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "CORSInSync");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AccessDenied"));
    assert!(message.contains("allow the operator s3:PutBucketCORS"), "{message}");
    assert_eq!(
        told(&object, "DriftDetected"),
        ("True".into(), "NotReverted".into(), "drift, not reverted yet: cors.rules[0]".into())
    );
    assert_eq!(told(&object, "BucketReady").0, "True", "the other parts hold");
    assert_eq!(drift_count(&object), 0);
    // The same failure is not written again.
    harness.check("c").await;
    let version = harness.check("c").await.status.unwrap().conditions;
    assert_eq!(harness.check("c").await.status.unwrap().conditions, version);
    harness.proxy.heal();
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert_eq!((told(&object, "Stalled").0.as_str(), drift_count(&object)), ("False", 1));
}

#[tokio::test]
async fn least_privilege_is_really_enforced() {
    let harness = Harness::idle("rights", Stack::cluster(), &[]).await;
    let iam = harness.iam();
    let denied =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "iam:CreateAccessKey", "Resource": "*" }] });
    iam.put_user_policy().user_name("operator").policy_name("scp").policy_document(denied.to_string()).send().await.unwrap();
    let mut harness = harness;
    harness.start();
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("iam:CreateAccessKey") && message.contains("is not authorized"), "{message}");
    let credentials = object.status.unwrap().memory.credentials.unwrap();
    assert_eq!((credentials.intent, credentials.phase), (None, None), "no intent stays where surely no key was issued");
    iam.delete_user_policy().user_name("operator").policy_name("scp").send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    assert_eq!(harness.keys(&format!("{}.c", harness.namespace)).await.len(), 1);
}

#[tokio::test]
async fn all_missing_permissions_are_reported_at_once() {
    let missing = ["s3:GetBucketTagging", "s3:GetBucketCORS", "iam:GetUser", "iam:PutUserPolicy"];
    let text = std::fs::read_to_string(format!("{ROOT}/deploy/iam/operator-policy.json")).unwrap();
    let mut policy: serde_json::Value = serde_json::from_str(&text).unwrap();
    policy["Statement"].as_array_mut().unwrap().retain_mut(|statement| {
        let actions: Vec<_> = match &statement["Action"] {
            serde_json::Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        let left: Vec<_> = actions.into_iter().filter(|action| !missing.contains(&action.as_str().unwrap())).collect();
        statement["Action"] = json!(left);
        !left.is_empty()
    });
    let place = scratch("partial");
    let file = place.join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let mut harness = Harness::idle("partial", Stack::cluster(), &["--policy", file.to_str().unwrap()]).await;
    harness.start();
    harness.apply(&harness.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    harness.condition("c", "Stalled", "True").await;
    // The first reconcile creates without reading.
    harness.check("c").await;
    let object = harness.check("c").await;
    let all = "AWS denied: iam:GetUser, iam:PutUserPolicy, s3:GetBucketCORS, s3:GetBucketTagging; allow the operator these actions (bucketconnection iam-policy prints the policy that it needs), and look for a denying SCP, RCP or bucket policy";
    for kind in ["Ready", "Stalled"] {
        let (_, reason, message) = told(&object, kind);
        assert_eq!((reason.as_str(), message.starts_with(all)), ("AccessDenied", true), "{message}");
    }
    assert!(told(&object, "UserReady").2.contains("allow the operator iam:GetUser"), "each part tells its own");
    let before = object.status.unwrap().conditions;
    assert_eq!(harness.check("c").await.status.unwrap().conditions, before, "the same again is not written again");

    let everything = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": missing, "Resource": "*" }] });
    let put = harness.iam().put_user_policy().user_name("operator").policy_name("missing");
    put.policy_document(everything.to_string()).send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

/// The operator's own policy covers one path.
#[tokio::test]
async fn a_custom_user_path_is_reported_with_how_to_allow_it() {
    let harness = Harness::new("path").await;
    harness.apply(&harness.connection(BUCKET, json!({ "user": { "name": "worker", "path": "/lab/" } }))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "UserReady");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("(bucketconnection iam-policy --user-path /lab/ prints the policy that it needs)"), "{message}");
}

/// A quota and an admission policy deny with the same code as RBAC.
#[tokio::test]
async fn a_refusal_by_the_cluster_is_not_reported_as_missing_permission() {
    let harness = Harness::new("forbidden").await;
    let quotas: Api<ResourceQuota> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let hard = json!({ "hard": { "secrets": "0" } });
    let quota = json!({ "metadata": { "name": "none" }, "spec": hard });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // The test control plane has no controller that would do this.
    let counted = json!({ "status": { "hard": { "secrets": "0" }, "used": { "secrets": "0" } } });
    quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(counted)).await.unwrap();
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "QuotaExceeded");
    assert!(message.contains("exceeded quota: none") && message.contains("raise the ResourceQuota"), "{message}");
    quotas.delete("none", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;

    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": harness.namespace } });
    let rules =
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] }]);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(harness.client.clone());
    let name = format!("no-keys-{}", harness.namespace);
    let policy = json!({ "metadata": { "name": name }, "spec": {
        "matchConstraints": { "namespaceSelector": here, "resourceRules": rules },
        "validations": [{ "expression": "false", "message": "no keys here", "reason": "Forbidden" }],
    } });
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(harness.client.clone());
    let binding = json!({ "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] } });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let tried = serde_json::from_value(json!({ "metadata": { "name": "tried" } })).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let end = std::time::Instant::now() + crate::support::harness::LIMIT;
    while harness.secrets().create(&dry_run, &tried).await.is_ok() {
        assert!(std::time::Instant::now() < end, "the policy is never enforced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "KubernetesError");
    assert!(message.contains("no keys here") && message.contains("not RBAC: change the policy"), "{message}");
    bindings.delete(&name, &Default::default()).await.unwrap();
    policies.delete(&name, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn throttling_is_transient_and_ready_does_not_flap() {
    let harness = connected("throttled").await;
    harness.proxy.fault("s3:GetBucketCORS", Fault::Answer(503, "SlowDown"), 1_000_000);
    harness.check("c").await;
    let object = harness.condition("c", "Reconciling", "True").await;
    assert_eq!(told(&object, "Reconciling").1, "Throttled");
    assert_eq!(told(&object, "Ready").0, "True", "what held is not known to be wrong");
    harness.proxy.heal();
    let object = harness.condition("c", "Reconciling", "False").await;
    assert_eq!(told(&object, "Ready").0, "True");
    assert_eq!(drift_count(&object), 0);
}

#[tokio::test]
async fn a_throttled_creation_continues() {
    let harness = Harness::new("slow").await;
    for action in ["iam:CreateUser", "iam:PutUserPolicy", "iam:CreateAccessKey"] {
        harness.proxy.fault(action, Fault::Answer(400, "Throttling"), 4);
    }
    harness.proxy.fault("s3:CreateBucket", Fault::Answer(503, "SlowDown"), 4);
    harness.apply(&harness.connection(BUCKET, json!({ "user": { "name": "worker" } }))).await;
    harness.ready("c").await;
    assert_eq!(harness.keys("worker").await.len(), 1);
}

#[tokio::test]
async fn unknown_codes_show_as_they_are() {
    let harness = connected("unknown").await;
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    harness.proxy.fault("s3:PutBucketCORS", Fault::Answer(418, "BrandNewRefusal"), 1_000_000);
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CORSInSync");
    assert_eq!(reason, "RequestRefused");
    assert!(message.contains("BrandNewRefusal"), "{message}");
    harness.proxy.heal();
    harness.proxy.fault("s3:PutBucketCORS", Fault::Answer(599, "BrandNewOutage"), 1_000_000);
    harness.check("c").await;
    let object = harness.condition("c", "Reconciling", "True").await;
    assert_eq!(told(&object, "Reconciling").1, "AWSUnavailable");
    harness.proxy.heal();
    harness.condition("c", "Reconciling", "False").await;
}

#[tokio::test]
async fn the_operator_waits_for_unreachable_aws() {
    let mut harness = Harness::idle("outage", Stack::cluster(), &[]).await;
    let good = harness.proxy.url.clone();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    harness.environment.insert("AWS_ENDPOINT_URL".into(), format!("http://{closed}"));
    harness.start();
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    let object = harness.condition("c", "Reconciling", "True").await;
    let (status, reason, message) = told(&object, "AccountReady");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "AWSUnavailable"));
    assert!(message.contains("refused"), "{message}");
    harness.kill();
    harness.environment.insert("AWS_ENDPOINT_URL".into(), good);
    harness.start();
    harness.ready("c").await;
}

#[tokio::test]
async fn a_call_that_hangs_ends() {
    let harness = connected("hang").await;
    harness.proxy.fault("iam:GetUser", Fault::Hang, 3);
    harness.check("c").await;
    let object = harness.condition("c", "Reconciling", "True").await;
    let (_, reason, message) = told(&object, "Reconciling");
    assert_eq!(reason, "AWSUnavailable");
    assert!(message.contains("iam:GetUser: Timeout"), "{message}");
    harness.condition("c", "Reconciling", "False").await;
}

#[tokio::test]
async fn a_lost_answer_to_create_access_key_leaves_no_key() {
    for fault in [Fault::LoseAnswer, Fault::Cut, Fault::Answer(500, "InternalError")] {
        let harness = Harness::new("lost").await;
        harness.proxy.fault("iam:CreateAccessKey", fault, 1);
        harness.apply(&harness.connection(BUCKET, json!({ "user": { "name": "worker" } }))).await;
        harness.ready("c").await;
        let keys = harness.keys("worker").await;
        assert_eq!(keys, [harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
        assert_eq!(harness.proxy.count("iam:CreateAccessKey"), 2, "sent once in each pass, never repeated by the SDK");
    }
}

#[tokio::test]
async fn other_lost_answers_do_no_harm() {
    let harness = Harness::new("lose").await;
    for action in ["s3:CreateBucket", "s3:PutBucketCORS", "iam:CreateUser", "iam:CreatePolicy", "iam:AttachUserPolicy"] {
        harness.proxy.fault(action, Fault::LoseAnswer, 1);
    }
    let spec = json!({ "preset": "IlluminaICA", "policy": { "type": "Managed" }, "user": { "name": "worker" } });
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    assert_eq!(harness.keys("worker").await.len(), 1);
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn the_operator_waits_for_a_key_that_propagates_slowly() {
    let harness = Harness::new("spread").await;
    // AWS does not know the key yet; then it knows the key, but not its policy.
    harness
        .apply(&{
            harness.proxy.fault("s3:ListBucket", Fault::Answer(403, "InvalidAccessKeyId"), 2);
            harness.proxy.fault("s3:ListBucket", Fault::Answer(403, "AccessDenied"), 1);
            harness.connection(BUCKET, json!({ "user": { "name": "worker" } }))
        })
        .await;
    let object = harness.ready("c").await;
    assert_eq!(harness.keys("worker").await.len(), 1, "no second key was issued");
    assert_eq!(object.status.unwrap().memory.credentials.unwrap().phase, Some(bucketconnection::api::KeyPhase::Verified));
    assert_eq!(harness.proxy.count("s3:ListBucket"), 4);
}

#[tokio::test]
async fn an_unreachable_api_server_does_no_harm() {
    let mut harness = Harness::idle("api", Stack::cluster(), &[]).await;
    let forwarder = harness.forward();
    harness.start();
    harness.apply(&harness.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    harness.ready("c").await;
    forwarder.cut();
    // It is unavailable while something must be done.
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    let mut second = harness.connection("bucket-api-second", json!({}));
    second["metadata"]["name"] = json!("second");
    harness.apply(&second).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(harness.get("second").await.status, Some(Default::default()), "not reconciled");
    forwarder.mend();
    harness.ready("second").await;
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert_eq!(drift_count(&object), 1);
    assert_eq!(harness.keys("worker").await.len(), 1);
}

#[tokio::test]
async fn an_incomplete_environment_is_reported_with_what_to_set() {
    let harness = Harness::idle("environment", Stack::cluster(), &[]).await;
    let cases = [
        ("AWS_CA_BUNDLE", "/no/such/file.pem", "AWS_CA_BUNDLE=/no/such/file.pem"),
        ("AWS_CA_BUNDLE", "/etc/hostname", "no certificate in it"),
        ("LOG_SENSITIVE_BODIES", "true", "unset it"),
        ("KUBECONFIG", "/no/such/kubeconfig", "KUBECONFIG"),
        ("BUCKETCONNECTION_CLUSTER_ID", "a/b", "--cluster-id"),
        ("BUCKETCONNECTION_LOG", "bucketconnection=loud", "--log bucketconnection=loud"),
    ];
    for (name, value, expected) in cases {
        let mut lab_environment = harness.environment.clone();
        lab_environment.insert(name.to_owned(), value.to_owned());
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bucketconnection"))
            .arg("run")
            .env_clear()
            .env("KUBECONFIG", &harness.operator_kubeconfig)
            .envs(&lab_environment)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}={value}");
        assert!(text.contains(expected), "{name}={value}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// AWS may execute a call long after its caller has given up and another attempt was made.
#[tokio::test]
async fn a_key_that_appears_late_is_deleted() {
    let harness = Harness::new("late").await;
    harness.proxy.fault("iam:CreateAccessKey", Fault::Delay(std::time::Duration::from_secs(16)), 1);
    harness.apply(&harness.connection("bucket-late", json!({ "user": { "name": "late" } }))).await;
    harness.ready("c").await;
    let held = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let end = std::time::Instant::now() + crate::support::harness::LIMIT;
    while harness.keys("late").await.len() < 2 {
        assert!(std::time::Instant::now() < end, "the first attempt is never carried out");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    harness.check("c").await;
    assert_eq!(harness.keys("late").await, std::slice::from_ref(&held));
    assert_eq!(harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"], held);
}
