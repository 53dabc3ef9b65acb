//! Moving to another cluster, as docs/operations.md describes it.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::lab::{Lab, client, drift_count, writes};
use crate::support::stack::Stack;

/// The output of `kubectl get`, without what belongs to the cluster: status, and these fields of the metadata.
fn exported(lab: &Lab, arguments: &[&str], fields: &[&str]) -> Value {
    let output = lab.kubectl(&[&["get"], arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let mut list: Value = serde_json::from_slice(&output.stdout).unwrap();
    for item in list["items"].as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("status");
        fields.iter().for_each(|field| drop(item["metadata"].as_object_mut().unwrap().remove(*field)));
    }
    list
}

fn create(lab: &Lab, list: &Value) {
    let file = lab.directory.join("exported.json");
    std::fs::write(&file, list.to_string()).unwrap();
    let output = lab.kubectl(&["create", "-f", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn another_cluster_goes_on_with_the_same_keys() {
    let mut lab = Lab::new("moving").await;
    let rotated = json!({ "rotation": { "overlap": "1d" }, "secret": { "name": "key", "versioned": true } });
    let spec = json!({ "user": { "name": "mover" }, "credentials": rotated, "access": { "groups": ["lab-a"] } });
    lab.apply(&lab.connection("bucket-moving", spec)).await;
    lab.ready("c").await;
    let cluster = Api::<Namespace>::all(lab.client.clone()).get("kube-system").await.unwrap().uid().unwrap();
    // 1. The operator is stopped, for good.
    lab.kill();
    let before = (lab.secret("key").await, lab.keys("mover").await);

    // 2. Secrets and objects are exported.
    let fields = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences"];
    let secrets = exported(&lab, &["secrets", "-l", "app.kubernetes.io/managed-by=bucketconnection"], &fields);
    let fields = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers"];
    let accounts = exported(&lab, &["awsaccounts", "--field-selector", "metadata.name=default"], &fields);
    let connections = exported(&lab, &["bucketconnections"], &fields);

    // 3. The other cluster gets namespaces, Secrets and objects, in this order.
    let stack = Stack::start("moved", &["--no-aws"]);
    lab.kubeconfig = stack.fact("kubeconfig").to_owned();
    lab.operator_kubeconfig = stack.fact("operator_kubeconfig").to_owned();
    lab.client = client(&lab.kubeconfig).await;
    assert!(lab.kubectl(&["create", "namespace", &lab.namespace]).status.success());
    assert!(lab.kubectl(&["delete", "awsaccount", "default"]).status.success());
    for list in [&secrets, &accounts, &connections] {
        create(&lab, list);
    }

    // 4. Its operator uses the cluster id of the first cluster.
    lab.environment.insert("BUCKETCONNECTION_CLUSTER_ID".into(), cluster);
    lab.proxy.take();
    lab.start();
    let object = lab.ready("c").await;
    let mut written = writes(&lab.proxy.take());
    written.sort();
    assert_eq!(written, ["iam:TagUser", "s3:PutBucketTagging"], "all of it was there; the tags name the new namespace");
    assert_eq!((lab.secret("key").await, lab.keys("mover").await), before);
    assert_eq!(drift_count(&object), 0);
    let binding = lab.kubectl(&["get", "rolebinding", "key-readers", "-o", "jsonpath={.subjects[*].name}"]);
    assert_eq!(String::from_utf8(binding.stdout).unwrap(), "lab-a");
    lab.check("c").await;
    assert_eq!((lab.secret("key").await, lab.keys("mover").await), before);
}
