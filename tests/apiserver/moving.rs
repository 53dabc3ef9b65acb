//! Moving to another cluster, as docs/operations.md describes it.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::harness::{Harness, client, drift_count, writes};
use crate::support::stack::Stack;

/// The output of `kubectl get`, without what belongs to the cluster: status, and these fields of the metadata.
fn exported(harness: &Harness, arguments: &[&str], fields: &[&str]) -> Value {
    let output = harness.kubectl(&[&["get"], arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let mut list: Value = serde_json::from_slice(&output.stdout).unwrap();
    for item in list["items"].as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("status");
        fields.iter().for_each(|field| drop(item["metadata"].as_object_mut().unwrap().remove(*field)));
    }
    list
}

fn create(harness: &Harness, list: &Value) {
    let file = harness.directory.join("exported.json");
    std::fs::write(&file, list.to_string()).unwrap();
    let output = harness.kubectl(&["create", "-f", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn another_cluster_continues_with_the_same_keys() {
    let mut harness = Harness::new("moving").await;
    let rotated = json!({ "rotation": { "overlap": "1d" }, "secret": { "name": "key", "versioned": true } });
    let spec = json!({ "user": { "name": "mover" }, "credentials": rotated, "access": { "groups": ["lab-a"] } });
    harness.apply(&harness.connection("bucket-moving", spec)).await;
    harness.ready("c").await;
    let cluster = Api::<Namespace>::all(harness.client.clone()).get("kube-system").await.unwrap().uid().unwrap();
    // 1. The operator is stopped, for good.
    harness.kill();
    let before = (harness.secret("key").await, harness.keys("mover").await);

    // 2. Secrets and objects are exported.
    let fields = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences"];
    let secrets = exported(&harness, &["secrets", "-l", "app.kubernetes.io/managed-by=bucketconnection"], &fields);
    let fields = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers"];
    let accounts = exported(&harness, &["awsaccounts", "--field-selector", "metadata.name=default"], &fields);
    let connections = exported(&harness, &["bucketconnections"], &fields);

    // 3. The other cluster gets namespaces, Secrets and objects, in this order.
    let stack = Stack::start("moved", &["--no-aws"]);
    harness.kubeconfig = stack.fact("kubeconfig").to_owned();
    harness.operator_kubeconfig = stack.fact("operator_kubeconfig").to_owned();
    harness.client = client(&harness.kubeconfig).await;
    assert!(harness.kubectl(&["create", "namespace", &harness.namespace]).status.success());
    assert!(harness.kubectl(&["delete", "awsaccount", "default"]).status.success());
    for list in [&secrets, &accounts, &connections] {
        create(&harness, list);
    }

    // 4. Its operator uses the cluster id of the first cluster.
    harness.environment.insert("BUCKETCONNECTION_CLUSTER_ID".into(), cluster);
    harness.proxy.take();
    harness.start();
    let object = harness.ready("c").await;
    let mut written = writes(&harness.proxy.take());
    written.sort();
    assert_eq!(written, ["iam:TagUser", "s3:PutBucketTagging"], "all of it was there; the tags name the new namespace");
    assert_eq!((harness.secret("key").await, harness.keys("mover").await), before);
    assert_eq!(drift_count(&object), 0);
    let binding = harness.kubectl(&["get", "rolebinding", "key-readers", "-o", "jsonpath={.subjects[*].name}"]);
    assert_eq!(String::from_utf8(binding.stdout).unwrap(), "lab-a");
    harness.check("c").await;
    assert_eq!((harness.secret("key").await, harness.keys("mover").await), before);
}
