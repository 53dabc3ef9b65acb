//! Failures on either side: each kind is reported as what it is, loses nothing, and ends without action if possible.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::lab::{Lab, drift_count, told, writes};
use crate::support::proxy::Fault;
use crate::support::stack::{ROOT, Stack, scratch};

const BUCKET: &str = "bucket-trouble";

async fn connected(name: &str) -> Lab {
    let lab = Lab::new(name).await;
    lab.apply(&lab.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    lab.ready("c").await;
    lab
}

#[tokio::test]
async fn denied_calls_name_the_right_that_is_missing() {
    let lab = connected("denied").await;
    lab.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    lab.proxy.fault("s3:PutBucketCORS", Fault::Answer(403, "AccessDenied"), 1_000_000);
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (status, reason, message) = told(&object, "CORSInSync");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AccessDenied"));
    assert!(message.contains("allow the operator s3:PutBucketCORS"), "{message}");
    assert_eq!(
        told(&object, "DriftDetected"),
        ("True".into(), "NotRepaired".into(), "drift, not reverted yet: cors.rules[0]".into())
    );
    assert_eq!(told(&object, "BucketReady").0, "True", "the other parts hold");
    assert_eq!(drift_count(&object), 0);
    // The same failure is not written again.
    lab.check("c").await;
    let version = lab.check("c").await.status.unwrap().conditions;
    assert_eq!(lab.check("c").await.status.unwrap().conditions, version);
    lab.proxy.heal();
    lab.check("c").await;
    let object = lab.ready("c").await;
    assert_eq!((told(&object, "Stalled").0.as_str(), drift_count(&object)), ("False", 1));
}

#[tokio::test]
async fn the_least_rights_are_really_enforced() {
    let lab = Lab::idle("rights", Stack::cluster(), &[]).await;
    let iam = lab.iam();
    let denied =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "iam:CreateAccessKey", "Resource": "*" }] });
    iam.put_user_policy().user_name("operator").policy_name("scp").policy_document(denied.to_string()).send().await.unwrap();
    let mut lab = lab;
    lab.start();
    lab.apply(&lab.connection(BUCKET, json!({}))).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("iam:CreateAccessKey") && message.contains("is not authorized"), "{message}");
    let credentials = object.status.unwrap().memory.credentials.unwrap();
    assert_eq!((credentials.intent, credentials.phase), (None, None), "no intent stays where surely no key was issued");
    iam.delete_user_policy().user_name("operator").policy_name("scp").send().await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
    assert_eq!(lab.keys(&format!("{}.c", lab.namespace)).await.len(), 1);
}

#[tokio::test]
async fn all_rights_that_are_missing_are_told_at_once() {
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
    let file = scratch("partial").join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let mut lab = Lab::idle("partial", Stack::cluster(), &["--policy", file.to_str().unwrap()]).await;
    lab.start();
    lab.apply(&lab.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    lab.condition("c", "Stalled", "True").await;
    // The first reconcile creates without reading.
    lab.check("c").await;
    let object = lab.check("c").await;
    let all = "AWS denied: iam:GetUser, iam:PutUserPolicy, s3:GetBucketCORS, s3:GetBucketTagging; allow the operator these actions (bucketconnection iam-policy prints the policy that it needs), and look for a denying SCP, RCP or bucket policy";
    for kind in ["Ready", "Stalled"] {
        let (_, reason, message) = told(&object, kind);
        assert_eq!((reason.as_str(), message.starts_with(all)), ("AccessDenied", true), "{message}");
    }
    assert!(told(&object, "UserReady").2.contains("allow the operator iam:GetUser"), "each part tells its own");
    let before = object.status.unwrap().conditions;
    assert_eq!(lab.check("c").await.status.unwrap().conditions, before, "the same again is not written again");

    let everything = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": missing, "Resource": "*" }] });
    let put = lab.iam().put_user_policy().user_name("operator").policy_name("missing");
    put.policy_document(everything.to_string()).send().await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
}

/// The operator's own policy covers one path.
#[tokio::test]
async fn a_user_path_of_ones_own_says_how_to_allow_it() {
    let lab = Lab::new("path").await;
    lab.apply(&lab.connection(BUCKET, json!({ "user": { "name": "worker", "path": "/lab/" } }))).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "UserReady");
    assert_eq!(reason, "AccessDenied");
    assert!(message.contains("(bucketconnection iam-policy --user-path /lab/ prints the policy that it needs)"), "{message}");
}

/// A quota and an admission policy deny with the same code as RBAC.
#[tokio::test]
async fn what_the_cluster_forbids_is_not_told_as_missing_rights() {
    let lab = Lab::new("forbidden").await;
    let quotas: Api<ResourceQuota> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let hard = json!({ "hard": { "secrets": "0" } });
    let quota = json!({ "metadata": { "name": "none" }, "spec": hard });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // The test control plane has no controller that would do this.
    let counted = json!({ "status": { "hard": { "secrets": "0" }, "used": { "secrets": "0" } } });
    quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(counted)).await.unwrap();
    lab.apply(&lab.connection(BUCKET, json!({}))).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "QuotaExceeded");
    assert!(message.contains("exceeded quota: none") && message.contains("raise the ResourceQuota"), "{message}");
    quotas.delete("none", &Default::default()).await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;

    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": lab.namespace } });
    let rules =
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] }]);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(lab.client.clone());
    let name = format!("no-keys-{}", lab.namespace);
    let policy = json!({ "metadata": { "name": name }, "spec": {
        "matchConstraints": { "namespaceSelector": here, "resourceRules": rules },
        "validations": [{ "expression": "false", "message": "no keys here", "reason": "Forbidden" }],
    } });
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(lab.client.clone());
    let binding = json!({ "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] } });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let tried = serde_json::from_value(json!({ "metadata": { "name": "tried" } })).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let end = std::time::Instant::now() + crate::support::lab::LIMIT;
    while lab.secrets().create(&dry_run, &tried).await.is_ok() {
        assert!(std::time::Instant::now() < end, "the policy is never enforced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CredentialsReady");
    assert_eq!(reason, "KubernetesError");
    assert!(message.contains("no keys here") && message.contains("not RBAC: change the policy"), "{message}");
    bindings.delete(&name, &Default::default()).await.unwrap();
    policies.delete(&name, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn throttling_passes_and_ready_does_not_flap() {
    let lab = connected("throttled").await;
    lab.proxy.fault("s3:GetBucketCORS", Fault::Answer(503, "SlowDown"), 1_000_000);
    lab.check("c").await;
    let object = lab.condition("c", "Reconciling", "True").await;
    assert_eq!(told(&object, "Reconciling").1, "Throttled");
    assert_eq!(told(&object, "Ready").0, "True", "what held is not known to be wrong");
    lab.proxy.heal();
    let object = lab.condition("c", "Reconciling", "False").await;
    assert_eq!(told(&object, "Ready").0, "True");
    assert_eq!(drift_count(&object), 0);
}

#[tokio::test]
async fn throttled_creation_goes_on() {
    let lab = Lab::new("slow").await;
    for action in ["iam:CreateUser", "iam:PutUserPolicy", "iam:CreateAccessKey"] {
        lab.proxy.fault(action, Fault::Answer(400, "Throttling"), 4);
    }
    lab.proxy.fault("s3:CreateBucket", Fault::Answer(503, "SlowDown"), 4);
    lab.apply(&lab.connection(BUCKET, json!({ "user": { "name": "worker" } }))).await;
    lab.ready("c").await;
    assert_eq!(lab.keys("worker").await.len(), 1);
}

#[tokio::test]
async fn unknown_codes_show_as_they_are() {
    let lab = connected("unknown").await;
    lab.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    lab.proxy.fault("s3:PutBucketCORS", Fault::Answer(418, "BrandNewRefusal"), 1_000_000);
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "CORSInSync");
    assert_eq!(reason, "RequestRefused");
    assert!(message.contains("BrandNewRefusal"), "{message}");
    lab.proxy.heal();
    lab.proxy.fault("s3:PutBucketCORS", Fault::Answer(599, "BrandNewOutage"), 1_000_000);
    lab.check("c").await;
    let object = lab.condition("c", "Reconciling", "True").await;
    assert_eq!(told(&object, "Reconciling").1, "AWSUnavailable");
    lab.proxy.heal();
    lab.condition("c", "Reconciling", "False").await;
}

#[tokio::test]
async fn aws_that_cannot_be_reached_is_waited_for() {
    let mut lab = Lab::idle("outage", Stack::cluster(), &[]).await;
    let good = lab.proxy.url.clone();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    lab.environment.insert("AWS_ENDPOINT_URL".into(), format!("http://{closed}"));
    lab.start();
    lab.apply(&lab.connection(BUCKET, json!({}))).await;
    let object = lab.condition("c", "Reconciling", "True").await;
    let (status, reason, message) = told(&object, "AccountReady");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "AWSUnavailable"));
    assert!(message.contains("refused"), "{message}");
    lab.kill();
    lab.environment.insert("AWS_ENDPOINT_URL".into(), good);
    lab.start();
    lab.ready("c").await;
}

#[tokio::test]
async fn a_call_that_hangs_ends() {
    let lab = connected("hang").await;
    lab.proxy.fault("iam:GetUser", Fault::Hang, 3);
    lab.check("c").await;
    let object = lab.condition("c", "Reconciling", "True").await;
    let (_, reason, message) = told(&object, "Reconciling");
    assert_eq!(reason, "AWSUnavailable");
    assert!(message.contains("iam:GetUser: Timeout"), "{message}");
    lab.condition("c", "Reconciling", "False").await;
}

#[tokio::test]
async fn an_answer_to_create_access_key_that_is_lost_leaves_no_key() {
    for fault in [Fault::LoseAnswer, Fault::Cut, Fault::Answer(500, "InternalError")] {
        let lab = Lab::new("lost").await;
        lab.proxy.fault("iam:CreateAccessKey", fault, 1);
        lab.apply(&lab.connection(BUCKET, json!({ "user": { "name": "worker" } }))).await;
        lab.ready("c").await;
        let keys = lab.keys("worker").await;
        assert_eq!(keys, [lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()]);
        assert_eq!(lab.proxy.count("iam:CreateAccessKey"), 2, "sent once in each pass, never repeated by the SDK");
    }
}

#[tokio::test]
async fn answers_that_are_lost_elsewhere_do_no_harm() {
    let lab = Lab::new("lose").await;
    for action in ["s3:CreateBucket", "s3:PutBucketCORS", "iam:CreateUser", "iam:CreatePolicy", "iam:AttachUserPolicy"] {
        lab.proxy.fault(action, Fault::LoseAnswer, 1);
    }
    let spec = json!({ "preset": "IlluminaICA", "policy": { "type": "Managed" }, "user": { "name": "worker" } });
    lab.apply(&lab.connection(BUCKET, spec)).await;
    lab.ready("c").await;
    assert_eq!(lab.keys("worker").await.len(), 1);
    lab.proxy.take();
    lab.check("c").await;
    assert_eq!(writes(&lab.proxy.take()), [""; 0]);
}

#[tokio::test]
async fn a_key_that_spreads_slowly_is_waited_for() {
    let lab = Lab::new("spread").await;
    // AWS does not know the key yet; then it knows the key, but not its policy.
    lab.apply(&{
        lab.proxy.fault("s3:ListBucket", Fault::Answer(403, "InvalidAccessKeyId"), 2);
        lab.proxy.fault("s3:ListBucket", Fault::Answer(403, "AccessDenied"), 1);
        lab.connection(BUCKET, json!({ "user": { "name": "worker" } }))
    })
    .await;
    let object = lab.ready("c").await;
    assert_eq!(lab.keys("worker").await.len(), 1, "no second key was issued");
    assert_eq!(object.status.unwrap().memory.credentials.unwrap().phase, Some(bucketconnection::api::KeyPhase::Verified));
    assert_eq!(lab.proxy.count("s3:ListBucket"), 4);
}

#[tokio::test]
async fn an_api_server_that_goes_away_and_comes_back() {
    let mut lab = Lab::idle("api", Stack::cluster(), &[]).await;
    let forwarder = lab.forward();
    lab.start();
    lab.apply(&lab.connection(BUCKET, json!({ "preset": "IlluminaICA", "user": { "name": "worker" } }))).await;
    lab.ready("c").await;
    forwarder.cut();
    // It is unavailable while something must be done.
    lab.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    let mut second = lab.connection("bucket-api-second", json!({}));
    second["metadata"]["name"] = json!("second");
    lab.apply(&second).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(lab.get("second").await.status.is_none());
    forwarder.mend();
    lab.ready("second").await;
    lab.check("c").await;
    let object = lab.ready("c").await;
    assert_eq!(drift_count(&object), 1);
    assert_eq!(lab.keys("worker").await.len(), 1);
}

#[tokio::test]
async fn an_environment_that_cannot_work_says_what_to_set() {
    let lab = Lab::idle("environment", Stack::cluster(), &[]).await;
    let cases = [
        ("AWS_CA_BUNDLE", "/no/such/file.pem", "AWS_CA_BUNDLE=/no/such/file.pem"),
        ("AWS_CA_BUNDLE", "/etc/hostname", "no certificate in it"),
        ("LOG_SENSITIVE_BODIES", "true", "unset it"),
        ("KUBECONFIG", "/no/such/kubeconfig", "KUBECONFIG"),
        ("BUCKETCONNECTION_CLUSTER_ID", "a/b", "--cluster-id"),
        ("BUCKETCONNECTION_LOG", "bucketconnection=loud", "--log bucketconnection=loud"),
    ];
    for (name, value, expected) in cases {
        let mut lab_environment = lab.environment.clone();
        lab_environment.insert(name.to_owned(), value.to_owned());
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bucketconnection"))
            .arg("run")
            .env_clear()
            .env("KUBECONFIG", &lab.operator_kubeconfig)
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
async fn a_key_that_comes_late() {
    let lab = Lab::new("late").await;
    lab.proxy.fault("iam:CreateAccessKey", Fault::Delay(std::time::Duration::from_secs(16)), 1);
    lab.apply(&lab.connection("bucket-late", json!({ "user": { "name": "late" } }))).await;
    lab.ready("c").await;
    let held = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let end = std::time::Instant::now() + crate::support::lab::LIMIT;
    while lab.keys("late").await.len() < 2 {
        assert!(std::time::Instant::now() < end, "the first attempt is never carried out");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    lab.check("c").await;
    assert_eq!(lab.keys("late").await, std::slice::from_ref(&held));
    assert_eq!(lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"], held);
}
