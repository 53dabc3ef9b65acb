//! Kubernetes' own protection: what a tenant cannot do there, and what the operator's identity cannot be used for.

use std::time::Instant;

use bucketconnection::api::{AWSAccount, BucketConnection};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Error};
use serde_json::{Value, json};

use super::{Tenant, harness};
use crate::support::harness::{Harness, LIMIT, client, told};

const OWNER: &str = "bucketconnection.dev/owner";

/// Why the API server refused it; fails if it did not.
fn denied<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Api(status)) if [403, 422].contains(&status.code) => status.message.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_tenant_has_access_only_to_its_own_namespace() {
    let harness = harness("walls", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    bob.apply(&bob.connection("c", "walls-data", json!({}))).await.unwrap();
    harness.ready("c").await;
    let status = Patch::Merge(json!({ "status": { "accountId": "210987654321" } }));
    denied(bob.objects.patch_status("c", &PatchParams::default(), &status).await);
    // The status is not written together with the object, either.
    let mut object = serde_json::to_value(bob.objects.get("c").await.unwrap()).unwrap();
    object["status"] = json!({ "accountId": "210987654321" });
    bob.objects.replace("c", &PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let object = harness.check("c").await;
    assert_eq!(object.status.unwrap().memory.account_id.as_deref(), Some("123456789012"));
    let all = ListParams::default();
    denied(Api::<AWSAccount>::all(bob.client.clone()).list(&all).await);
    denied(Api::<BucketConnection>::all(bob.client.clone()).list(&all).await);
    for namespace in ["bucketconnection-system", "kube-system", "default"] {
        denied(Api::<Secret>::namespaced(bob.client.clone(), namespace).list(&all).await);
        denied(Api::<Lease>::namespaced(bob.client.clone(), namespace).list(&all).await);
    }
    denied(Api::<Role>::namespaced(bob.client.clone(), &harness.namespace).list(&all).await);
}

/// An attacker with the operator's token.
struct Thief {
    secrets: Api<Secret>,
    roles: Api<Role>,
    bindings: Api<RoleBinding>,
}

impl Thief {
    async fn new(harness: &Harness) -> Self {
        let client = client(&harness.operator_kubeconfig).await;
        let namespace = harness.namespace.as_str();
        let thief = Self {
            secrets: Api::namespaced(client.clone(), namespace),
            roles: Api::namespaced(client.clone(), namespace),
            bindings: Api::namespaced(client, namespace),
        };
        // The API server begins to enforce an admission policy a moment after it was installed.
        let end = Instant::now() + LIMIT;
        let probe: Secret = serde_json::from_value(json!({ "metadata": { "name": "probe" } })).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        while thief.secrets.create(&dry, &probe).await.is_ok() {
            assert!(Instant::now() < end, "deploy/kubernetes/base/confine.yaml is not in force");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        thief
    }
}

fn labeled(name: &str, more: Value) -> Value {
    let mut object = json!({ "metadata": {
        "name": name, "labels": { "app.kubernetes.io/managed-by": "bucketconnection" }, "annotations": { OWNER: "cluster/lab/c" },
    } });
    crate::support::merge::merge(&mut object, more);
    object
}

fn parsed<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn the_operators_token_cannot_write_foreign_secrets() {
    let harness = harness("confined", json!({})).await;
    let thief = Thief::new(&harness).await;
    let new = PostParams::default();
    let theirs = json!({ "metadata": { "name": "theirs" }, "stringData": { "password": "x" } });
    harness.secrets().create(&new, &parsed(theirs.clone())).await.unwrap();
    let take = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "bucketconnection" }, "annotations": { OWNER: "x" } } });
    let patched = thief.secrets.patch("theirs", &PatchParams::default(), &Patch::Merge(take.clone())).await;
    assert!(denied(patched).contains("only objects that it created"));
    let applied = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": take["metadata"], "data": {} });
    denied(thief.secrets.patch("theirs", &PatchParams::apply("bucketconnection/secret").force(), &Patch::Apply(applied)).await);
    denied(thief.secrets.delete("theirs", &Default::default()).await);
    assert!(denied(thief.secrets.create(&new, &parsed(json!({ "metadata": { "name": "plain" } }))).await).contains("its label"));
    let annotated = json!({ "metadata": { "name": "plain", "annotations": { OWNER: "x" } } });
    denied(thief.secrets.create(&new, &parsed(annotated)).await);
    let token = labeled(
        "token",
        json!({ "type": "kubernetes.io/service-account-token", "metadata": { "annotations": { "kubernetes.io/service-account.name": "default" } } }),
    );
    assert!(denied(thief.secrets.create(&new, &parsed(token)).await).contains("Opaque"));
    assert!(harness.secrets().get("theirs").await.unwrap().metadata.labels.is_none());
    // The operator's objects stay its own, even if someone removed the label; and no one else is limited.
    thief.secrets.create(&new, &parsed(labeled("ours", json!({})))).await.unwrap();
    let unlabeled = Patch::Merge(json!({ "metadata": { "labels": null } }));
    harness.secrets().patch("ours", &PatchParams::default(), &unlabeled).await.unwrap();
    let patch = Patch::Merge(json!({ "stringData": { "a": "b" } }));
    thief.secrets.patch("ours", &PatchParams::default(), &patch).await.unwrap();
    let bare = Patch::Merge(json!({ "metadata": { "annotations": null } }));
    denied(thief.secrets.patch("ours", &PatchParams::default(), &bare).await);
    thief.secrets.delete("ours", &Default::default()).await.unwrap();
    harness.secrets().delete("theirs", &Default::default()).await.unwrap();
}

#[tokio::test]
async fn the_operators_token_cannot_grant_more_than_named_secrets() {
    let harness = harness("grants", json!({})).await;
    let thief = Thief::new(&harness).await;
    // A Role that would grant more exists.
    let _ = Tenant::new(&harness, "bob", &harness.namespace).await;
    let new = PostParams::default();
    let rule = |change: Value| {
        let mut rule = json!({ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"] });
        crate::support::merge::merge(&mut rule, change);
        labeled("a-readers", json!({ "rules": [rule] }))
    };
    for change in [
        json!({ "resourceNames": null }),
        json!({ "resourceNames": [] }),
        json!({ "verbs": ["get", "delete"] }),
        json!({ "verbs": ["*"] }),
        json!({ "resources": ["secrets", "namespaces"] }),
        json!({ "apiGroups": ["bucketconnection.dev"], "resources": ["bucketconnections"] }),
    ] {
        denied(thief.roles.create(&new, &parsed(rule(change))).await);
    }
    thief.roles.create(&new, &parsed(rule(json!({})))).await.unwrap();
    let wide = json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] });
    denied(thief.roles.patch("a-readers", &PatchParams::default(), &Patch::Merge(wide)).await);
    let binding = |change: Value| {
        let group = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "lab-b" });
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a-readers" });
        let mut binding = labeled("a-readers", json!({ "roleRef": role, "subjects": [group] }));
        crate::support::merge::merge(&mut binding, change);
        binding
    };
    let subject =
        |kind: &str, name: &str| json!({ "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name }] });
    for change in [
        json!({ "roleRef": { "kind": "ClusterRole", "name": "bucketconnection" } }),
        json!({ "roleRef": { "name": "tenant" } }),
        json!({ "metadata": { "name": "other" } }),
        subject("User", "bob"),
        subject("Group", "system:authenticated"),
        subject("Group", "system:masters"),
    ] {
        denied(thief.bindings.create(&new, &parsed(binding(change))).await);
    }
    thief.bindings.create(&new, &parsed(binding(json!({})))).await.unwrap();
    thief.bindings.delete("a-readers", &Default::default()).await.unwrap();
    thief.roles.delete("a-readers", &Default::default()).await.unwrap();
    // It has no other permissions.
    for arguments in [
        ["list", "secrets"],
        ["create", "pods"],
        ["create", "serviceaccounts"],
        ["create", "clusterrolebindings"],
        ["bind", "roles"],
        ["escalate", "roles"],
        ["impersonate", "users"],
        ["update", "validatingadmissionpolicies"],
    ] {
        let who = "system:serviceaccount:bucketconnection-system:bucketconnection";
        let answer = harness.kubectl(&[&["auth", "can-i", "--as", who][..], &arguments[..]].concat());
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "no", "{arguments:?}");
    }
}

/// The operator works as usual with the admission policy in force; the other tests have it too, since the local stack
/// installs it.
#[tokio::test]
async fn the_operator_works_with_the_admission_policy() {
    let harness = harness("within", json!({})).await;
    let _ = Thief::new(&harness).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let spec = json!({ "access": { "groups": ["lab-b"] }, "credentials": { "secret": { "name": "c-s3", "versioned": true } }, "deletionPolicy": "Delete" });
    bob.apply(&bob.connection("c", "within-data", spec)).await.unwrap();
    harness.ready("c").await;
    // What others remove is written again.
    let bare = Patch::Merge(json!({ "metadata": { "labels": null } }));
    harness.secrets().patch("c-s3", &PatchParams::default(), &bare).await.unwrap();
    let roles: Api<Role> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let wide =
        json!({ "metadata": { "labels": null }, "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }] });
    roles.patch("c-s3-readers", &PatchParams::default(), &Patch::Merge(wide)).await.unwrap();
    let object = harness.check("c").await;
    assert_eq!(told(&object, "Ready").0, "True", "{:?}", object.status);
    assert!(harness.secrets().get("c-s3").await.unwrap().metadata.labels.is_some());
    bob.objects.delete("c", &Default::default()).await.unwrap();
    harness.gone("c").await;
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none() && roles.get_opt("c-s3-readers").await.unwrap().is_none());
}
