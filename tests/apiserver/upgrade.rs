//! Upgrades, as docs/operations.md describes them.

use bucketconnection::api::{BucketConnection, FINALIZER};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

use crate::support::lab::Lab;
use crate::support::stack::Stack;

/// Installs a CRD and waits until the API server goes by it, which an object tells that is applied as a dry run.
async fn install(lab: &Lab, crd: &Value, holds: impl Fn(&Value) -> bool) {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client.clone());
    crds.patch(BucketConnection::crd_name(), &PatchParams::apply("user").force(), &Patch::Apply(crd)).await.unwrap();
    let objects = raw(lab);
    let object = lab.connection("bucket-probe", json!({}));
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("probe").force() };
    loop {
        let probe = objects.patch("probe", &parameters, &Patch::Apply(named(&object, "probe"))).await;
        if probe.is_ok_and(|probe| holds(&probe.data["spec"])) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn named(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    object
}

fn raw(lab: &Lab) -> Api<DynamicObject> {
    Api::namespaced_with(lab.client.clone(), &lab.namespace, &ApiResource::erase::<BucketConnection>(&()))
}

#[tokio::test]
async fn an_object_of_before_accounts_works_with_the_account_default() {
    let stack = Box::leak(Box::new(Stack::start("upgrade", &["--no-aws"])));
    let mut lab = Lab::idle("upgrade", stack, &[]).await;
    let new = serde_json::to_value(BucketConnection::crd()).unwrap();
    let mut old = new.clone();
    let spec = old.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    spec["properties"].as_object_mut().unwrap().remove("accountRef").unwrap();
    let rotation = &mut spec["properties"]["credentials"]["properties"]["rotation"]["properties"];
    rotation["interval"]["pattern"] = json!("^([0-9]{1,5}(d|h|m|s))+$");
    install(&lab, &old, |spec| spec["accountRef"].is_null()).await;
    lab.apply(&lab.connection("bucket-upgrade", json!({}))).await;
    assert!(raw(&lab).get("c").await.unwrap().data["spec"]["accountRef"].is_null());
    // The schema of before took periods that no version could read.
    let unreadable = json!({ "credentials": { "rotation": { "interval": "12h1d" } }, "deletionPolicy": "Delete" });
    let unreadable = named(&lab.connection("bucket-unreadable", unreadable), "unreadable");
    raw(&lab).patch("unreadable", &PatchParams::apply("user"), &Patch::Apply(unreadable)).await.unwrap();

    install(&lab, &new, |spec| spec["accountRef"]["name"] == "default").await;
    assert_eq!(raw(&lab).get("c").await.unwrap().data["spec"]["accountRef"], json!({ "name": "default" }));
    lab.start();
    lab.ready("c").await;
    // And its spec can be applied again as it was.
    lab.apply(&lab.connection("bucket-upgrade", json!({}))).await;
    lab.ready("c").await;
    // The way out of an object that cannot be read passes the new schema.
    let begun = Patch::Merge(json!({ "metadata": { "finalizers": [FINALIZER] }, "status": { "accountId": "123456789012" } }));
    raw(&lab).patch("unreadable", &PatchParams::default(), &begun).await.unwrap();
    raw(&lab).patch_status("unreadable", &PatchParams::default(), &begun).await.unwrap();
    raw(&lab).delete("unreadable", &Default::default()).await.unwrap();
    raw(&lab)
        .patch("unreadable", &PatchParams::default(), &Patch::Merge(json!({ "spec": { "deletionPolicy": "Retain" } })))
        .await
        .unwrap();
    while raw(&lab).get_opt("unreadable").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
