//! What the operator relies on, seen through kube's client.

use std::sync::Arc;
use std::time::Duration;

use bucketconnection::api::{AWSAccount, BucketConnection};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams};
use kube::core::WatchEvent;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::client::{Fault, Lag, Moment};
use super::{Cluster, Request};
use crate::cluster::request::Verb;
use crate::simulation::clock;

fn cluster() -> Cluster {
    clock::start();
    let cluster = Cluster::new(Arc::new(clock::now));
    for name in ["default", "kube-system"] {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "team": "a" } } });
        cluster.apply("namespaces", &namespace);
    }
    cluster
}

fn connection() -> Value {
    json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "c", "namespace": "default" },
        "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "b" } },
    })
}

fn objects(cluster: &Cluster) -> Api<BucketConnection> {
    Api::namespaced(cluster.client(), "default")
}

fn manager(name: &str) -> PatchParams {
    PatchParams::apply(name).force()
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn versions_and_generations_rise_only_with_changes() {
    let cluster = cluster();
    cluster.apply("bucketconnections", &connection());
    let api = objects(&cluster);
    let first = api.get("c").await.unwrap();
    assert_eq!(first.metadata.generation, Some(1));
    assert!(first.uid().is_some() && first.status.is_none());
    cluster.apply("bucketconnections", &connection());
    assert_eq!(api.get("c").await.unwrap().resource_version(), first.resource_version(), "nothing has changed");

    let patch = Patch::Merge(json!({ "spec": { "region": "eu-west-1" }, "status": { "accountId": "1" } }));
    let second = api.patch("c", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!((second.metadata.generation, second.status.is_none()), (Some(2), true));
    let old = json!({ "metadata": { "finalizers": ["x.dev/y"], "resourceVersion": first.resource_version() } });
    assert_eq!(code(api.patch("c", &PatchParams::default(), &Patch::Merge(old)).await), (409, "Conflict".to_owned()));
    let new = json!({ "metadata": { "finalizers": ["x.dev/y"], "resourceVersion": second.resource_version() } });
    let third = api.patch("c", &PatchParams::default(), &Patch::Merge(new)).await.unwrap();
    assert_eq!((third.metadata.generation, third.finalizers()), (Some(2), &["x.dev/y".to_owned()][..]));
    assert_eq!(code(api.get("other").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_applied_by_path_and_manager() {
    let cluster = cluster();
    cluster.apply("bucketconnections", &connection());
    let api = objects(&cluster);
    let status = |version: Option<String>, status: Value| {
        let mut patch = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c" }, "status": status });
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        Patch::Apply(patch)
    };
    let first = api.get("c").await.unwrap();
    let one = status(first.resource_version(), json!({ "accountId": "1", "observedGeneration": 1 }));
    let second = api.patch_status("c", &manager("a"), &one).await.unwrap();
    assert_eq!(second.metadata.generation, Some(1));
    assert_eq!(code(api.patch_status("c", &manager("a"), &one).await), (409, "Conflict".to_owned()));
    let other = status(None, json!({ "lastHandledReconcileAt": "x" }));
    api.patch_status("c", &manager("b"), &other).await.unwrap();
    // A field that its manager no longer sends is removed; a field of another manager stays.
    let less =
        api.patch_status("c", &manager("a"), &status(None, json!({ "observedGeneration": 1 }))).await.unwrap().status.unwrap();
    assert_eq!(
        (less.memory.account_id, less.last_handled_reconcile_at, less.observed_generation),
        (None, Some("x".to_owned()), Some(1))
    );
    // A manager no longer removes what a person has changed.
    assert!(
        cluster
            .answer(&Request {
                status: true,
                ..Request::new(Verb::Merge, "bucketconnections", "default", "c", json!({ "status": { "observedGeneration": 7 } }))
            })
            .0
            == 200
    );
    let left = api.patch_status("c", &manager("a"), &status(None, json!({}))).await.unwrap().status.unwrap();
    assert_eq!(left.observed_generation, Some(7));
}

#[tokio::test(start_paused = true)]
async fn deletion_waits_for_finalizers_and_deletes_dependents() {
    let cluster = cluster();
    let mut held = connection();
    held["metadata"]["finalizers"] = json!(["x.dev/y"]);
    cluster.apply("bucketconnections", &held);
    let api = objects(&cluster);
    let owner = api.get("c").await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let reference =
        json!([{ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": owner.uid() }]);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "ownerReferences": reference }, "data": { "a": "eA==" } });
    let dry = PatchParams { dry_run: true, ..manager("m") };
    secrets.patch("s", &dry, &Patch::Apply(&secret)).await.unwrap();
    assert_eq!(secrets.get_opt("s").await.unwrap(), None);
    let secret = secrets.patch("s", &manager("m"), &Patch::Apply(&secret)).await.unwrap();
    let wrong = Preconditions { resource_version: Some("1".to_owned()), uid: secret.uid() };
    assert_eq!(code(secrets.delete("s", &DeleteParams::default().preconditions(wrong)).await), (409, "Conflict".to_owned()));

    api.delete("c", &DeleteParams::default()).await.unwrap();
    let deleting = api.get("c").await.unwrap();
    assert!(deleting.metadata.deletion_timestamp.is_some() && secrets.get_opt("s").await.unwrap().is_some());
    let free = Patch::Merge(json!({ "metadata": { "finalizers": [], "resourceVersion": deleting.resource_version() } }));
    api.patch("c", &PatchParams::default(), &free).await.unwrap();
    assert!(api.get_opt("c").await.unwrap().is_none() && secrets.get_opt("s").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn foreground_deletion_deletes_dependents_first() {
    let cluster = cluster();
    let mut held = connection();
    held["metadata"]["finalizers"] = json!(["x.dev/y"]);
    cluster.apply("bucketconnections", &held);
    let owner = objects(&cluster).get("c").await.unwrap();
    let reference =
        json!([{ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "name": "c", "uid": owner.uid() }]);
    for (name, owners) in [("owned", reference), ("free", json!([]))] {
        let metadata = json!({ "name": name, "namespace": "default", "ownerReferences": owners });
        cluster.apply("secrets", &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata }));
    }
    objects(&cluster).delete("c", &DeleteParams::foreground()).await.unwrap();
    assert!(cluster.get("bucketconnections", "default", "c").is_some());
    assert!(cluster.get("secrets", "default", "owned").is_none() && cluster.get("secrets", "default", "free").is_some());
}

#[tokio::test(start_paused = true)]
async fn creation_lists_and_metadata() {
    let cluster = cluster();
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let secret: Secret =
        serde_json::from_value(json!({ "metadata": { "name": "s", "labels": { "a": "b" } }, "data": { "a": "eA==" } })).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(code(secrets.create(&PostParams::default(), &secret).await), (409, "AlreadyExists".to_owned()));
    let elsewhere: Api<Secret> = Api::namespaced(cluster.client(), "nowhere");
    assert_eq!(code(elsewhere.create(&PostParams::default(), &secret).await).0, 404);
    assert_eq!(secrets.list(&ListParams::default().labels("a=b")).await.unwrap().items.len(), 1);
    assert_eq!(secrets.list(&ListParams::default().labels("a=c")).await.unwrap().items.len(), 0);
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    assert_eq!(namespaces.get_metadata("default").await.unwrap().labels()["team"], "a");
    assert_eq!(Api::<AWSAccount>::all(cluster.client()).list_metadata(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn watches_lag_continue_and_end() {
    let cluster = cluster();
    cluster.set_lag(Lag { time: Duration::from_secs(5), changes: 1 });
    let api = objects(&cluster);
    let began = clock::now();
    cluster.apply("bucketconnections", &connection());
    let old = api
        .list(&ListParams {
            resource_version: Some("0".to_owned()),
            version_match: Some(kube::api::VersionMatch::NotOlderThan),
            ..ListParams::default()
        })
        .await
        .unwrap();
    assert!(old.items.is_empty(), "a list from a cache that lags behind");
    let mut watch =
        api.watch(&WatchParams::default().timeout(60), old.metadata.resource_version.as_ref().unwrap()).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Added(seen))) = watch.next().await else { panic!("no event") };
    assert_eq!((seen.name_any(), clock::now().duration_since(began).as_secs()), ("c".to_owned(), 5));
    cluster.patch("bucketconnections", "default", "c", json!({ "metadata": { "annotations": { "a": "b" } } }));
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Modified(_)))));
    cluster.delete("bucketconnections", "default", "c");
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Deleted(_)))));
    cluster.apply("namespaces", &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "new" } }));
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = watch.next().await else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.resource_version, cluster.look(super::Store::version).to_string());
    assert!(watch.next().await.is_none());
    assert_eq!(clock::now().duration_since(began).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn watches_are_cut_and_expire() {
    let cluster = cluster();
    let api = objects(&cluster);
    let (began, version) = (clock::now(), cluster.look(super::Store::version).to_string());
    let watch = async || api.watch(&WatchParams::default().timeout(60), &version).await.map(StreamExt::boxed);
    let mut open = watch().await.unwrap();
    cluster.cut_watches();
    assert!(open.next().await.is_none());
    assert_eq!(clock::now(), began);
    assert!(watch().await.is_ok(), "it continues from there");
    cluster.apply("bucketconnections", &connection());
    cluster.forget_changes();
    let Some(Ok(WatchEvent::Error(refused))) = watch().await.unwrap().next().await else { panic!("it is not refused") };
    assert_eq!(refused.code, 410);
}

#[tokio::test(start_paused = true)]
async fn faults_happen_before_and_after() {
    let cluster = cluster();
    let api: Api<Namespace> = Api::all(cluster.client());
    let namespace = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let fault = |wanted: Moment, fault: Fault| {
        cluster.set_layer(Arc::new(move |moment, _, _| Box::pin(async move { (moment == wanted).then_some(fault) })));
    };
    fault(Moment::Before, Fault::Answer(500, "InternalError"));
    assert_eq!(code(api.patch("x", &manager("m"), &Patch::Apply(namespace("x"))).await).0, 500);
    assert!(cluster.get("namespaces", "", "x").is_none());
    fault(Moment::After, Fault::Cut);
    assert!(!matches!(api.patch("x", &manager("m"), &Patch::Apply(namespace("x"))).await, Err(kube::Error::Api(_)) | Ok(_)));
    assert!(cluster.get("namespaces", "", "x").is_some());
    // The client repeats a request if the server asks for it, and gives up in the end.
    let began: Timestamp = clock::now();
    fault(Moment::Before, Fault::Answer(429, "TooManyRequests"));
    assert_eq!(code(api.get("x").await).0, 429);
    assert!(clock::now().duration_since(began).as_secs() > 1);
}
