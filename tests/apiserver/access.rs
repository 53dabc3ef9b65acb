//! Groups that can read the Secret: what they can and cannot do, as decided by the API server itself, and how the
//! operator enforces it.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::lab::{Lab, drift_count, told};

const BUCKET: &str = "bucket-access";
const NAME: &str = "c-s3-readers";

fn spec(groups: &[&str]) -> Value {
    json!({ "user": { "name": "read" }, "access": { "groups": groups } })
}

async fn connected(name: &str, spec: Value) -> Lab {
    let lab = Lab::new(name).await;
    lab.apply(&lab.connection(BUCKET, spec)).await;
    lab.ready("c").await;
    lab
}

/// Whether a user in `group` may do this.
fn may(lab: &Lab, group: &str, arguments: &[&str]) -> bool {
    let somebody = ["--as", "somebody", "--as-group", group];
    lab.kubectl(&[arguments, &somebody].concat()).status.success()
}

fn reads(lab: &Lab, group: &str, secret: &str) -> bool {
    may(lab, group, &["get", "secret", secret])
}

fn roles(lab: &Lab) -> Api<Role> {
    Api::namespaced(lab.client.clone(), &lab.namespace)
}

fn bindings(lab: &Lab) -> Api<RoleBinding> {
    Api::namespaced(lab.client.clone(), &lab.namespace)
}

async fn there(lab: &Lab, name: &str) -> (bool, bool) {
    (roles(lab).get_opt(name).await.unwrap().is_some(), bindings(lab).get_opt(name).await.unwrap().is_some())
}

#[tokio::test]
async fn the_groups_read_this_secret_and_nothing_else() {
    let lab = connected("groups", spec(&["lab-a", "system:serviceaccounts:clc"])).await;
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" } });
    lab.secrets().create(&PostParams::default(), &serde_json::from_value::<Secret>(other).unwrap()).await.unwrap();
    assert!(reads(&lab, "lab-a", "c-s3") && reads(&lab, "system:serviceaccounts:clc", "c-s3"));
    assert!(!reads(&lab, "lab-b", "c-s3") && !reads(&lab, "lab-a", "other"));
    for more in [vec!["get", "secrets"], vec!["delete", "secret", "c-s3"], vec!["get", "role", NAME], vec!["get", "bc", "c"]] {
        assert!(!may(&lab, "lab-a", &more), "{more:?}");
    }
    let object = lab.get("c").await;
    assert_eq!(told(&object, "AccessInSync").1, "InSync");
    let role = roles(&lab).get(NAME).await.unwrap();
    assert_eq!(role.metadata.owner_references, None, "the garbage collector would delete it");
    assert_eq!(role.metadata.labels, lab.secrets().get("c-s3").await.unwrap().metadata.labels);
    let wide = String::from_utf8(lab.kubectl(&["get", "bc", "-o", "wide"]).stdout).unwrap();
    assert!(wide.contains(r#"["lab-a","system:serviceaccounts:clc"]"#), "{wide}");

    // A reconcile that finds the same state reads both again, and writes nothing.
    lab.check("c").await;
    let (writes, reads) = (lab.api_writes().len(), lab.api_reads().len());
    lab.check("c").await;
    assert_eq!(lab.api_writes()[writes..], ["patch bucketconnections/status"]);
    let mut looked = lab.api_reads()[reads..].to_vec();
    looked.sort();
    assert_eq!(looked, ["get rolebindings", "get roles", "get secrets"]);
}

#[tokio::test]
async fn without_groups_nothing_more_is_read() {
    let lab = connected("none", json!({})).await;
    assert_eq!(told(&lab.get("c").await, "AccessInSync").1, "NotManaged");
    lab.check("c").await;
    let reads = lab.api_reads().len();
    lab.check("c").await;
    assert_eq!(lab.api_reads()[reads..], ["get secrets"]);
    assert!(!lab.api_reads().iter().any(|read| read.contains("role")), "{:?}", lab.api_reads());
}

#[tokio::test]
async fn what_others_change_is_put_right() {
    let lab = connected("tamper", spec(&["lab-a"])).await;
    let found = async |path: &str, count: i64| {
        let object = lab.check("c").await;
        assert_eq!((told(&object, "Ready").0.as_str(), drift_count(&object)), ("True", count), "{path}");
        let journal = object.status.unwrap().drift.unwrap().journal;
        assert_eq!(journal[0].path, path);
        assert!(reads(&lab, "lab-a", "c-s3") && !reads(&lab, "lab-b", "c-s3"), "{path}");
        journal[0].clone()
    };
    let group = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name });
    let added = json!({ "subjects": [group("lab-a"), group("lab-b")] });
    bindings(&lab).patch(NAME, &PatchParams::default(), &Patch::Merge(added)).await.unwrap();
    assert!(reads(&lab, "lab-b", "c-s3"));
    let entry = found("access.groups", 1).await;
    assert_eq!((entry.live.as_deref(), entry.desired.as_deref()), (Some(r#"["lab-a","lab-b"]"#), Some(r#"["lab-a"]"#)));

    bindings(&lab).delete(NAME, &DeleteParams::default()).await.unwrap();
    found("access.groups", 2).await;

    let wide = json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }] });
    roles(&lab).patch(NAME, &PatchParams::default(), &Patch::Merge(wide)).await.unwrap();
    found(&format!("role({NAME}).rules"), 3).await;

    // The role of a RoleBinding cannot be changed, so the operator replaces the RoleBinding.
    let mut other = serde_json::to_value(bindings(&lab).get(NAME).await.unwrap()).unwrap();
    other["roleRef"]["kind"] = json!("ClusterRole");
    other["roleRef"]["name"] = json!("view");
    for field in ["resourceVersion", "uid", "managedFields", "creationTimestamp"] {
        other["metadata"].as_object_mut().unwrap().remove(field);
    }
    bindings(&lab).delete(NAME, &DeleteParams::default()).await.unwrap();
    bindings(&lab).create(&PostParams::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
    found(&format!("roleBinding({NAME}).roleRef"), 4).await;
    roles(&lab).delete(NAME, &DeleteParams::default()).await.unwrap();
    found(&format!("role({NAME})"), 5).await;
}

#[tokio::test]
async fn it_follows_the_spec() {
    let lab = connected("follow", spec(&["lab-a"])).await;
    lab.patch("c", json!({ "spec": { "access": { "groups": ["lab-b"] }, "credentials": { "secret": { "name": "moved" } } } }))
        .await;
    let object = lab.ready("c").await;
    assert!(reads(&lab, "lab-b", "moved") && !reads(&lab, "lab-a", "moved"));
    assert_eq!((there(&lab, NAME).await, there(&lab, "moved-readers").await), ((false, false), (true, true)));
    let permissions = object.status.clone().unwrap().memory.access.unwrap();
    assert_eq!((permissions.groups, permissions.roles), (vec!["lab-b".to_owned()], vec!["moved-readers".to_owned()]));
    assert_eq!(drift_count(&object), 0);

    lab.patch("c", json!({ "spec": { "access": null } })).await;
    let object = lab.condition("c", "AccessInSync", "True").await;
    assert_eq!(there(&lab, "moved-readers").await, (false, false));
    assert!(!reads(&lab, "lab-b", "moved"));
    assert_eq!((object.status.clone().unwrap().memory.access, drift_count(&object)), (None, 0));
}

#[tokio::test]
async fn a_role_of_somebody_else_is_left_alone() {
    let lab = Lab::new("foreign").await;
    let theirs = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": NAME }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
    let theirs = roles(&lab).create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    lab.apply(&lab.connection(BUCKET, spec(&["lab-a"]))).await;
    let object = lab.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "AccessNotOwned");
    assert!(message.contains(&format!("Role {NAME} exists")) && message.contains("does not change it"), "{message}");
    assert_eq!(roles(&lab).get(NAME).await.unwrap(), theirs);
    assert!(bindings(&lab).get_opt(NAME).await.unwrap().is_none());
    lab.condition("c", "Verified", "True").await;
    roles(&lab).delete(NAME, &DeleteParams::default()).await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
    assert!(reads(&lab, "lab-a", "c-s3"));

    // Someone creates a foreign Secret with the name of the managed one: no group gets access to it.
    lab.secrets().delete("c-s3", &DeleteParams::default()).await.unwrap();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "c-s3" } });
    lab.secrets().create(&PostParams::default(), &serde_json::from_value::<Secret>(secret).unwrap()).await.unwrap();
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "AccessInSync").1, "SecretNotOwned");
    assert!(!reads(&lab, "lab-a", "c-s3"));
}

#[tokio::test]
async fn deletion_removes_it_or_lets_it_go() {
    let lab = connected("delete", spec(&["lab-a"])).await;
    lab.delete("c").await;
    lab.gone("c").await;
    assert!(reads(&lab, "lab-a", "c-s3"), "Retain: no consumer notices");
    let role = roles(&lab).get(NAME).await.unwrap();
    let binding = bindings(&lab).get(NAME).await.unwrap();
    for metadata in [role.metadata, binding.metadata] {
        assert_eq!(metadata.owner_references, None);
        assert_eq!(metadata.annotations.unwrap()["bucketconnection.dev/state"], "retained");
    }

    // The same object manages them again; an object without groups still knows the existing readers.
    lab.apply(&lab.connection(BUCKET, spec(&["lab-a"]))).await;
    lab.ready("c").await;
    let role = roles(&lab).get(NAME).await.unwrap();
    assert_eq!(role.metadata.annotations.unwrap()["bucketconnection.dev/state"], "owned");
    lab.delete("c").await;
    lab.gone("c").await;
    lab.apply(&lab.connection(BUCKET, spec(&[]))).await;
    lab.ready("c").await;
    assert_eq!(there(&lab, NAME).await, (false, false));

    lab.patch("c", json!({ "spec": { "access": { "groups": ["lab-a"] }, "deletionPolicy": "Delete" } })).await;
    lab.ready("c").await;
    assert!(reads(&lab, "lab-a", "c-s3"));
    lab.delete("c").await;
    lab.gone("c").await;
    assert_eq!(there(&lab, NAME).await, (false, false));
}
