//! Upgrades, as docs/operations.md describes them.

use bucketconnection::api::{BucketConnection, FINALIZER};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

use crate::support::harness::{Harness, told};
use crate::support::stack::Stack;

/// Installs a CRD and waits until the API server uses it, which a dry run of an object shows.
async fn install(harness: &Harness, crd: &Value, holds: impl Fn(&Value) -> bool) {
    let object = named(&harness.connection("bucket-probe", json!({})), "probe");
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("probe").force() };
    install_until(harness, crd, async || {
        let probe = raw(harness).patch("probe", &parameters, &Patch::Apply(&object)).await;
        probe.is_ok_and(|probe| holds(&probe.data["spec"]))
    })
    .await;
}

async fn install_until(harness: &Harness, crd: &Value, holds: impl AsyncFn() -> bool) {
    let crds: Api<CustomResourceDefinition> = Api::all(harness.client.clone());
    crds.patch(BucketConnection::crd_name(), &PatchParams::apply("user").force(), &Patch::Apply(crd)).await.unwrap();
    while !holds().await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn named(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    object
}

fn raw(harness: &Harness) -> Api<DynamicObject> {
    Api::namespaced_with(harness.client.clone(), &harness.namespace, &ApiResource::erase::<BucketConnection>(&()))
}

#[tokio::test]
async fn an_object_from_before_accounts_uses_the_account_default() {
    let stack = Box::leak(Box::new(Stack::start("upgrade", &["--no-aws"])));
    let mut harness = Harness::idle("upgrade", stack, &[]).await;
    let new = serde_json::to_value(BucketConnection::crd()).unwrap();
    let mut old = new.clone();
    let spec = old.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    spec["properties"].as_object_mut().unwrap().remove("accountRef").unwrap();
    let rotation = &mut spec["properties"]["credentials"]["properties"]["rotation"]["properties"];
    rotation["interval"]["pattern"] = json!("^([0-9]{1,5}(d|h|m|s))+$");
    install(&harness, &old, |spec| spec["accountRef"].is_null()).await;
    harness.apply(&harness.connection("bucket-upgrade", json!({}))).await;
    assert!(raw(&harness).get("c").await.unwrap().data["spec"]["accountRef"].is_null());
    // The old schema accepted periods that no version could read.
    let unreadable = json!({ "credentials": { "rotation": { "interval": "12h1d" } }, "deletionPolicy": "Delete" });
    let unreadable = named(&harness.connection("bucket-unreadable", unreadable), "unreadable");
    raw(&harness).patch("unreadable", &PatchParams::apply("user"), &Patch::Apply(unreadable)).await.unwrap();

    install(&harness, &new, |spec| spec["accountRef"]["name"] == "default").await;
    assert_eq!(raw(&harness).get("c").await.unwrap().data["spec"]["accountRef"], json!({ "name": "default" }));
    harness.start();
    harness.ready("c").await;
    // Its spec can be applied again unchanged.
    harness.apply(&harness.connection("bucket-upgrade", json!({}))).await;
    harness.ready("c").await;
    // The new schema accepts the change that releases an unreadable object.
    let begun = Patch::Merge(json!({ "metadata": { "finalizers": [FINALIZER] }, "status": { "accountId": "123456789012" } }));
    raw(&harness).patch("unreadable", &PatchParams::default(), &begun).await.unwrap();
    raw(&harness).patch_status("unreadable", &PatchParams::default(), &begun).await.unwrap();
    raw(&harness).delete("unreadable", &Default::default()).await.unwrap();
    raw(&harness)
        .patch("unreadable", &PatchParams::default(), &Patch::Merge(json!({ "spec": { "deletionPolicy": "Retain" } })))
        .await
        .unwrap();
    while raw(&harness).get_opt("unreadable").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// An object from before names were checked, or under an old CRD.
#[tokio::test]
async fn an_account_with_an_invalid_name_is_not_read() {
    let stack = Box::leak(Box::new(Stack::start("names", &["--no-aws"])));
    let mut harness = Harness::idle("names", stack, &[]).await;
    let new = serde_json::to_value(BucketConnection::crd()).unwrap();
    let mut old = new.clone();
    let name = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/accountRef/properties/name";
    old.pointer_mut(name).unwrap().as_object_mut().unwrap().remove("x-kubernetes-validations").unwrap();
    harness.account("small", json!({ "allowedNamespaces": [harness.rule(json!({}))] })).await;
    let of_lab = harness.connection("bucket-names", json!({}));
    let connection = |account: &str, name: &str| {
        let mut object = named(&of_lab, name);
        object["spec"]["accountRef"] = json!({ "name": account });
        object
    };
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
    for name in ["../../etc", "a/b?x=y", "small?anything=1"] {
        let refused = raw(&harness).patch("refused", &parameters, &Patch::Apply(connection(name, "refused"))).await;
        assert!(refused.unwrap_err().to_string().contains("accountRef.name must be the name of an AWSAccount"), "{name}");
    }
    install_until(&harness, &old, async || {
        raw(&harness).patch("refused", &parameters, &Patch::Apply(connection("a?b", "refused"))).await.is_ok()
    })
    .await;
    harness.start();
    for (n, account) in ["../../etc", "a/b?x=y", "small?anything=1"].into_iter().enumerate() {
        let name = format!("c{n}");
        harness.apply(&connection(account, &name)).await;
        let object = harness.condition(&name, "Stalled", "True").await;
        let (_, reason, message) = told(&object, "AccountReady");
        assert_eq!(reason, "InvalidSpec", "{message}");
        assert!(message.contains(&format!("accountRef.name {account:?} is not a valid name of an AWSAccount")), "{message}");
        harness.delete(&name).await;
        harness.gone(&name).await;
    }
    assert_eq!(
        harness.proxy.take().into_iter().filter(|request| request.action != "sts:GetCallerIdentity").collect::<Vec<_>>(),
        []
    );
    let asked = |address: &String| ["/etc", "x=y", "anything"].iter().any(|part| address.contains(part));
    assert_eq!(harness.api_addresses().into_iter().filter(asked).collect::<Vec<_>>(), [""; 0]);
}
