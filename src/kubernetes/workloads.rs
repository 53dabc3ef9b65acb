//! Workloads that ask, by a label, to be restarted after a change of the key. The operator needs a separate permission
//! for that (deploy/kubernetes/base/restart.yaml).

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::owned::label;
use super::{Kubernetes, MANAGER, call};
use crate::api::{BucketConnection, RESTART_LABEL};
use crate::desired::names;
use crate::observed::{Workload, WorkloadKind};
use crate::settings::Reading;
use crate::vocabulary::problem::{Class, Problem, ignore_not_found};

/// Annotation of the pods: id of the key with which they were started.
const ACCESS_KEY: &str = "bucketconnection.dev/access-key-id";
const KINDS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];

impl Kubernetes {
    /// The workloads of the object's namespace whose label names it. Without any permission to list workloads, restarts are
    /// not wanted there.
    pub async fn workloads(&self, object: &BucketConnection) -> Reading<Vec<Workload>> {
        let of_kind = async |kind| {
            let selector = format!("{RESTART_LABEL}={}", label(names::of(object)));
            let (action, api) = (format!("list {}", resource(kind).plural), self.of_kind(object, kind));
            let found = call(&action, api.list(&ListParams::default().labels(&selector))).await?;
            let path = format!("/spec/template/metadata/annotations/{}", ACCESS_KEY.replace('/', "~1"));
            let key = |live: &DynamicObject| live.data.pointer(&path).and_then(|key| key.as_str().map(str::to_owned));
            Ok(found.items.into_iter().map(|live| Workload { kind, name: live.name_any(), key: key(&live) }).collect::<Vec<_>>())
        };
        let found: Vec<Result<_, Problem>> = futures::future::join_all(KINDS.map(of_kind)).await;
        if found.iter().all(|found| matches!(found, Err(problem) if problem.class == Class::Denied)) {
            return Reading::Set(Vec::new());
        }
        match found.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(found) => Reading::Set(found.into_iter().flatten().collect()),
            Err(problem) => Reading::Unreadable(problem),
        }
    }

    /// Restarts the pods of a workload, by an annotation on them, as `kubectl rollout restart` does. A deleted workload
    /// needs no restart.
    pub async fn restart(&self, object: &BucketConnection, kind: WorkloadKind, name: &str, key: &str) -> Result<(), Problem> {
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": { ACCESS_KEY: key } } } } });
        let parameters = PatchParams { field_manager: Some(format!("{MANAGER}/restart")), ..PatchParams::default() };
        let api = self.of_kind(object, kind);
        let action = format!("patch {}", resource(kind).plural);
        ignore_not_found(call(&action, api.patch(name, &parameters, &Patch::Merge(patch))).await.map(drop))
    }

    fn of_kind(&self, object: &BucketConnection, kind: WorkloadKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &object.namespace().unwrap_or_default(), &resource(kind))
    }
}

fn resource(kind: WorkloadKind) -> ApiResource {
    match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    }
}
