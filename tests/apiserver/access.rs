//! Groups that can read the Secret: what they can and cannot do, as decided by the API server itself, and how the
//! operator enforces it.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, told};

const BUCKET: &str = "bucket-access";
const NAME: &str = "c-s3-readers";

fn spec(groups: &[&str]) -> Value {
    json!({ "user": { "name": "read" }, "access": { "groups": groups } })
}

async fn connected(name: &str, spec: Value) -> Harness {
    let harness = Harness::new(name).await;
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    harness
}

/// Whether a user in `group` may do this.
fn may(harness: &Harness, group: &str, arguments: &[&str]) -> bool {
    let somebody = ["--as", "somebody", "--as-group", group];
    harness.kubectl(&[arguments, &somebody].concat()).status.success()
}

fn reads(harness: &Harness, group: &str, secret: &str) -> bool {
    may(harness, group, &["get", "secret", secret])
}

fn roles(harness: &Harness) -> Api<Role> {
    Api::namespaced(harness.client.clone(), &harness.namespace)
}

fn bindings(harness: &Harness) -> Api<RoleBinding> {
    Api::namespaced(harness.client.clone(), &harness.namespace)
}

async fn there(harness: &Harness, name: &str) -> (bool, bool) {
    (roles(harness).get_opt(name).await.unwrap().is_some(), bindings(harness).get_opt(name).await.unwrap().is_some())
}

#[tokio::test]
async fn the_groups_read_this_secret_and_nothing_else() {
    let harness = connected("groups", spec(&["lab-a", "system:serviceaccounts:clc"])).await;
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" } });
    harness.secrets().create(&PostParams::default(), &serde_json::from_value::<Secret>(other).unwrap()).await.unwrap();
    assert!(reads(&harness, "lab-a", "c-s3") && reads(&harness, "system:serviceaccounts:clc", "c-s3"));
    assert!(!reads(&harness, "lab-b", "c-s3") && !reads(&harness, "lab-a", "other"));
    for more in [vec!["get", "secrets"], vec!["delete", "secret", "c-s3"], vec!["get", "role", NAME], vec!["get", "bc", "c"]] {
        assert!(!may(&harness, "lab-a", &more), "{more:?}");
    }
    let object = harness.get("c").await;
    assert_eq!(told(&object, "AccessInSync").1, "InSync");
    let role = roles(&harness).get(NAME).await.unwrap();
    assert_eq!(role.metadata.owner_references, None, "the garbage collector would delete it");
    assert_eq!(role.metadata.labels, harness.secrets().get("c-s3").await.unwrap().metadata.labels);
    let wide = String::from_utf8(harness.kubectl(&["get", "bc", "-o", "wide"]).stdout).unwrap();
    assert!(wide.contains(r#"["lab-a","system:serviceaccounts:clc"]"#), "{wide}");

    // A reconcile that finds the same state reads both again, and writes nothing.
    harness.check("c").await;
    let (writes, reads) = (harness.api_writes().len(), harness.api_reads().len());
    harness.check("c").await;
    assert_eq!(harness.api_writes()[writes..], ["patch bucketconnections/status"]);
    let mut looked = harness.api_reads()[reads..].to_vec();
    looked.sort();
    assert_eq!(looked, ["get rolebindings", "get roles", "get secrets"]);
}

#[tokio::test]
async fn without_groups_no_roles_are_read() {
    let harness = connected("none", json!({})).await;
    assert_eq!(told(&harness.get("c").await, "AccessInSync").1, "NotManaged");
    harness.check("c").await;
    let reads = harness.api_reads().len();
    harness.check("c").await;
    assert_eq!(harness.api_reads()[reads..], ["get secrets"]);
    assert!(!harness.api_reads().iter().any(|read| read.contains("role")), "{:?}", harness.api_reads());
}

#[tokio::test]
async fn drift_is_reverted() {
    let harness = connected("tamper", spec(&["lab-a"])).await;
    let found = async |path: &str, count: i64| {
        let object = harness.check("c").await;
        assert_eq!((told(&object, "Ready").0.as_str(), drift_count(&object)), ("True", count), "{path}");
        let journal = object.status.unwrap().drift.unwrap().journal;
        assert_eq!(journal[0].path, path);
        assert!(reads(&harness, "lab-a", "c-s3") && !reads(&harness, "lab-b", "c-s3"), "{path}");
        journal[0].clone()
    };
    let group = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name });
    let added = json!({ "subjects": [group("lab-a"), group("lab-b")] });
    bindings(&harness).patch(NAME, &PatchParams::default(), &Patch::Merge(added)).await.unwrap();
    assert!(reads(&harness, "lab-b", "c-s3"));
    let entry = found("access.groups", 1).await;
    assert_eq!((entry.live.as_deref(), entry.desired.as_deref()), (Some(r#"["lab-a","lab-b"]"#), Some(r#"["lab-a"]"#)));

    bindings(&harness).delete(NAME, &DeleteParams::default()).await.unwrap();
    found("access.groups", 2).await;

    let wide = json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }] });
    roles(&harness).patch(NAME, &PatchParams::default(), &Patch::Merge(wide)).await.unwrap();
    found(&format!("role({NAME}).rules"), 3).await;

    // The role of a RoleBinding cannot be changed, so the operator replaces the RoleBinding.
    let mut other = serde_json::to_value(bindings(&harness).get(NAME).await.unwrap()).unwrap();
    other["roleRef"]["kind"] = json!("ClusterRole");
    other["roleRef"]["name"] = json!("view");
    for field in ["resourceVersion", "uid", "managedFields", "creationTimestamp"] {
        other["metadata"].as_object_mut().unwrap().remove(field);
    }
    bindings(&harness).delete(NAME, &DeleteParams::default()).await.unwrap();
    bindings(&harness).create(&PostParams::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
    found(&format!("roleBinding({NAME}).roleRef"), 4).await;
    roles(&harness).delete(NAME, &DeleteParams::default()).await.unwrap();
    found(&format!("role({NAME})"), 5).await;
}

#[tokio::test]
async fn it_follows_the_spec() {
    let harness = connected("follow", spec(&["lab-a"])).await;
    harness
        .patch("c", json!({ "spec": { "access": { "groups": ["lab-b"] }, "credentials": { "secret": { "name": "moved" } } } }))
        .await;
    let object = harness.ready("c").await;
    assert!(reads(&harness, "lab-b", "moved") && !reads(&harness, "lab-a", "moved"));
    assert_eq!((there(&harness, NAME).await, there(&harness, "moved-readers").await), ((false, false), (true, true)));
    let permissions = object.status.clone().unwrap().memory.access.unwrap();
    assert_eq!((permissions.groups, permissions.roles), (vec!["lab-b".to_owned()], vec!["moved-readers".to_owned()]));
    assert_eq!(drift_count(&object), 0);

    harness.patch("c", json!({ "spec": { "access": null } })).await;
    let object = harness.condition("c", "AccessInSync", "True").await;
    assert_eq!(there(&harness, "moved-readers").await, (false, false));
    assert!(!reads(&harness, "lab-b", "moved"));
    assert_eq!((object.status.clone().unwrap().memory.access, drift_count(&object)), (None, 0));
}

#[tokio::test]
async fn a_foreign_role_is_left_as_it_is() {
    let harness = Harness::new("foreign").await;
    let theirs = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": NAME }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
    let theirs = roles(&harness).create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    harness.apply(&harness.connection(BUCKET, spec(&["lab-a"]))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "AccessNotOwned");
    assert!(message.contains(&format!("Role {NAME} exists")) && message.contains("does not change it"), "{message}");
    assert_eq!(roles(&harness).get(NAME).await.unwrap(), theirs);
    assert!(bindings(&harness).get_opt(NAME).await.unwrap().is_none());
    harness.condition("c", "Verified", "True").await;
    roles(&harness).delete(NAME, &DeleteParams::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    assert!(reads(&harness, "lab-a", "c-s3"));

    // Someone creates a foreign Secret with the name of the managed one: no group gets access to it.
    harness.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "c-s3" } });
    harness.secrets().create(&PostParams::default(), &serde_json::from_value::<Secret>(secret).unwrap()).await.unwrap();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "AccessInSync").1, "SecretNotOwned");
    assert!(!reads(&harness, "lab-a", "c-s3"));
}

#[tokio::test]
async fn deletion_removes_or_releases_it() {
    let harness = connected("delete", spec(&["lab-a"])).await;
    harness.delete("c").await;
    harness.gone("c").await;
    assert!(reads(&harness, "lab-a", "c-s3"), "Retain: no consumer notices");
    let role = roles(&harness).get(NAME).await.unwrap();
    let binding = bindings(&harness).get(NAME).await.unwrap();
    for metadata in [role.metadata, binding.metadata] {
        assert_eq!(metadata.owner_references, None);
        assert_eq!(metadata.annotations.unwrap()["bucketconnection.dev/state"], "retained");
    }

    // The same object manages them again; an object without groups still knows the existing readers.
    harness.apply(&harness.connection(BUCKET, spec(&["lab-a"]))).await;
    harness.ready("c").await;
    let role = roles(&harness).get(NAME).await.unwrap();
    assert_eq!(role.metadata.annotations.unwrap()["bucketconnection.dev/state"], "owned");
    harness.delete("c").await;
    harness.gone("c").await;
    harness.apply(&harness.connection(BUCKET, spec(&[]))).await;
    harness.ready("c").await;
    assert_eq!(there(&harness, NAME).await, (false, false));

    harness.patch("c", json!({ "spec": { "access": { "groups": ["lab-a"] }, "deletionPolicy": "Delete" } })).await;
    harness.ready("c").await;
    assert!(reads(&harness, "lab-a", "c-s3"));
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(there(&harness, NAME).await, (false, false));
}
