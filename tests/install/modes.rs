//! The operator with the permissions of the chart's other modes: listed namespaces, and observing only.

use std::time::{Duration, Instant};

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::chart::{kubectl, succeeded, template};
use super::helm::token_kubeconfig;
use crate::support::harness::{Harness, LIMIT, condition, told};
use crate::support::stack::{ROOT, Stack};

/// The operator's and the administrator's own.
const USERS_OF_THE_EMULATOR: usize = 2;

/// The objects that the chart prints with a name of its own and these values, in the shared cluster; deleted at the end.
struct Release(String);

impl Release {
    fn apply(harness: &mut Harness, name: &str, values: &[&str]) -> Self {
        let set = [format!("fullnameOverride={name}"), format!("watch.namespaces={{{}}}", harness.namespace)];
        let set = ["--skip-tests", "--set", "crds.install=false", "--set", &set[0], "--set", &set[1]];
        let text = template(&[&set, values].concat());
        succeeded(kubectl(Stack::cluster(), &["apply", "--server-side", "-f", "-"], Some(&text)));
        let place = harness.directory.join("token.kubeconfig");
        token_kubeconfig(Stack::cluster(), name, &place);
        harness.operator_kubeconfig = place.to_str().unwrap().to_owned();
        Self(text)
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = kubectl(Stack::cluster(), &["delete", "--wait=false", "--ignore-not-found", "-f", "-"], Some(&self.0));
    }
}

/// Whether the operator's identity is allowed something.
fn can(harness: &Harness, arguments: &[&str]) -> bool {
    let command = [&["--kubeconfig", &harness.operator_kubeconfig, "auth", "can-i"], arguments].concat();
    let output = kubectl(Stack::cluster(), &command, None);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(["yes", "no"].contains(&text.trim()), "{text} {}", String::from_utf8_lossy(&output.stderr));
    text.trim() == "yes"
}

#[tokio::test]
async fn an_operator_of_listed_namespaces_needs_only_the_roles_there() {
    let mut harness = Harness::idle("listed", Stack::cluster(), &[]).await;
    let _release = Release::apply(&mut harness, "listed", &[]);
    harness.lease = true;
    harness.start();
    let spec = json!({ "access": { "groups": ["analysts"] }, "deletionPolicy": "Delete" });
    harness.apply(&harness.connection("listed-data", spec)).await;
    harness.ready("c").await;
    assert!(can(&harness, &["get", "secrets", "-n", &harness.namespace]));
    for (verb, resource) in [("get", "secrets"), ("list", "bucketconnections"), ("create", "roles.rbac.authorization.k8s.io")] {
        assert!(!can(&harness, &[verb, resource, "-n", "default"]), "{verb} {resource}");
    }
    assert!(!can(&harness, &["get", "namespace/default"]) && !can(&harness, &["patch", "awsaccounts/status"]));
    succeeded(harness.cli(&["check", "--namespace", &harness.namespace]));
    let everywhere = String::from_utf8(harness.cli(&["check"]).stderr).unwrap();
    assert!(everywhere.contains("list bucketconnections in all namespaces") && everywhere.contains("Forbidden"), "{everywhere}");
    harness.delete("c").await;
    harness.gone("c").await;
}

#[tokio::test]
async fn an_operator_that_only_observes_changes_nothing() {
    let policy = format!("{ROOT}/deploy/iam/observe-policy.json");
    let mut harness = Harness::idle("observer", Stack::cluster(), &["--policy", &policy]).await;
    harness.s3().create_bucket().bucket("observed-data").send().await.unwrap();
    // From before the admission policy, so it enforces.
    harness.apply(&harness.connection("enforced-data", json!({}))).await;
    let _release = Release::apply(&mut harness, "observer", &["--set", "observeOnly=true"]);
    // The API server begins to enforce an admission policy a moment after it was installed.
    let end = Instant::now() + LIMIT;
    while dry_run(&harness, json!({})).await.is_ok() {
        assert!(Instant::now() < end, "the admission policy is not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (spec, message) in [
        (json!({}), "this operator only observes; set spec.management.default: Observe"),
        (json!({ "management": { "cors": "Observe" } }), "set spec.management.default: Observe"),
        (json!({ "management": { "default": "Observe", "cors": "Enforce" } }), "set each section of spec.management"),
    ] {
        let refused = dry_run(&harness, spec).await.unwrap_err();
        assert!(refused.contains(message), "{refused}");
    }

    let spec = json!({ "management": { "default": "Observe" }, "bucket": { "versioning": "Enabled" } });
    harness.apply(&named(&harness, spec)).await;
    harness.start();
    let object = harness.ready("observing").await;
    assert_eq!(told(&object, "DriftDetected").1, "Observed");
    let differences = object.status.unwrap().drift.unwrap().differences;
    assert!(differences.iter().any(|difference| difference.path == "bucket.versioning"), "{differences:?}");
    let denied = |object: &_| condition(object, "Ready").is_some_and(|ready| ready.reason == "AccessDenied");
    harness.until("c", "AccessDenied", denied).await;

    // AWS, the Secrets and the Roles are as they were.
    let buckets = harness.s3().list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect::<Vec<_>>(), ["observed-data"]);
    assert!(harness.s3().get_bucket_tagging().bucket("observed-data").send().await.is_err(), "it has no tags");
    assert_eq!(harness.iam().list_users().send().await.unwrap().users().len(), USERS_OF_THE_EMULATOR);
    assert!(harness.secrets().list(&ListParams::default()).await.unwrap().items.is_empty());
    for (verb, resource) in [("create", "secrets"), ("patch", "secrets"), ("delete", "secrets"), ("create", "roles")] {
        assert!(!can(&harness, &[verb, resource, "-n", &harness.namespace]), "{verb} {resource}");
    }
    for name in ["observing", "c"] {
        harness.delete(name).await;
        harness.gone(name).await;
    }
}

/// A connection `observing` to the existing bucket.
fn named(harness: &Harness, spec: Value) -> Value {
    let mut object = harness.connection("observed-data", spec);
    object["metadata"]["name"] = json!("observing");
    object
}

/// Why the API server refuses this spec.
async fn dry_run(harness: &Harness, spec: Value) -> Result<(), String> {
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
    let applied = harness.objects().patch("observing", &parameters, &Patch::Apply(&named(harness, spec))).await;
    applied.map(drop).map_err(|error| error.to_string())
}
