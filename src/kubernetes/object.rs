//! The object itself: its finalizer and its status. The operator never writes the spec.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Kubernetes, MANAGER, call, find};
use crate::api::{BucketConnection, BucketConnectionStatus, FINALIZER, Memory};
use crate::desired::names;
use crate::observed::Partial;
use crate::vocabulary::problem::{Class, Problem, Source, ignore_not_found};

/// The version of each object, by uid, after the operator's last write.
pub(super) type Written = Arc<Mutex<HashMap<String, String>>>;

impl Kubernetes {
    /// The object, at least as new as the operator's last write. The watch may lag behind that, and a reconcile with an
    /// old status could miss the intent to issue a key.
    pub async fn fresh(&self, object: &BucketConnection) -> Result<BucketConnection, Problem> {
        let written = self.written().get(&object.uid().unwrap_or_default()).cloned();
        if written.is_none() || written == object.resource_version() {
            return Ok(object.clone());
        }
        let objects: Api<BucketConnection> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        call("get bucketconnections", objects.get(names::of(object))).await
    }

    /// The readable part of an object that cannot be read as a whole; `None` if it was deleted.
    pub async fn partial(&self, namespace: &str, name: &str) -> Result<Option<Partial>, Problem> {
        let kind = ApiResource::erase::<BucketConnection>(&());
        let objects: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let unreadable = |error: serde_json::Error| {
            Problem::at(Source::Operator, Class::Refused, "get bucketconnections", "Unreadable", error.to_string())
        };
        find(&objects, "bucketconnections", name).await?.map(|stored| Partial::of(stored).map_err(unreadable)).transpose()
    }

    /// Forgets an object that was deleted.
    pub fn forget(&self, uid: &str) {
        self.written().remove(uid);
    }

    /// Forgets all others.
    pub fn forget_all_but(&self, uids: &HashSet<String>) {
        self.written().retain(|uid, _| uids.contains(uid));
    }

    fn remember(&self, written: &ObjectMeta) {
        if let (Some(uid), Some(version)) = (&written.uid, &written.resource_version) {
            self.written().insert(uid.clone(), version.clone());
        }
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writes: reads only the metadata of the answer, because the rest may be unreadable.
    fn objects(&self, object: &BucketConnection) -> Api<PartialObjectMeta<BucketConnection>> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Adds the operator's finalizer; returns the updated object. Fails with a conflict if the object has changed in
    /// the meantime.
    pub async fn add_finalizer(&self, object: &BucketConnection) -> Result<BucketConnection, Problem> {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(FINALIZER.to_owned());
        let metadata = self.set_finalizers(object, &finalizers).await?;
        Ok(BucketConnection { metadata, ..object.clone() })
    }

    /// Removes the operator's finalizer; the object may be gone already.
    pub async fn remove_finalizer(&self, object: &BucketConnection) -> Result<(), Problem> {
        let others: Vec<_> = object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
        ignore_not_found(self.set_finalizers(object, &others).await)
    }

    async fn set_finalizers(&self, object: &BucketConnection, finalizers: &[String]) -> Result<ObjectMeta, Problem> {
        let version = object.resource_version();
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
        let (objects, parameters, patch) = (self.objects(object), PatchParams::default(), Patch::Merge(patch));
        let patched = call("patch bucketconnections", objects.patch(names::of(object), &parameters, &patch)).await?;
        self.remember(&patched.metadata);
        Ok(patched.metadata)
    }

    /// Writes the status.
    pub async fn write_status(&self, object: &BucketConnection, status: &BucketConnectionStatus) -> Result<(), Problem> {
        self.apply_status(object, json!(status), None).await
    }

    /// Writes what the operator is about to do (status/intent.rs). Fails if someone else has changed the object in the
    /// meantime.
    pub async fn write_intent(&self, object: &BucketConnection, status: &BucketConnectionStatus) -> Result<(), Problem> {
        self.apply_status(object, json!(status), object.resource_version()).await
    }

    /// Removes `forgotten`, which the operator did not write (observed/seal.rs), from the status, whichever field
    /// manager has it.
    pub async fn forget_status(&self, object: &BucketConnection, forgotten: &Memory) -> Result<(), Problem> {
        tracing::warn!("the status was edited: the operator discards its recorded state");
        let mut fields = json!(forgotten);
        fields.as_object_mut().into_iter().flatten().for_each(|(_, value)| *value = Value::Null);
        let patch = Patch::Merge(json!({ "status": fields }));
        let (objects, parameters) = (self.objects(object), PatchParams::default());
        let patched = self.patched(objects.patch_status(names::of(object), &parameters, &patch)).await?;
        self.remember(&patched.metadata);
        Ok(())
    }

    /// Writes the status of an object that cannot be read; other fields of its status stay.
    pub async fn write_unreadable(&self, object: &BucketConnection, status: &BucketConnectionStatus) -> Result<(), Problem> {
        let patch = Patch::Apply(status_patch(names::of(object), json!(status), None));
        let parameters = PatchParams::apply(&format!("{MANAGER}/unreadable")).force();
        let objects = self.objects(object);
        ignore_not_found(self.patched(objects.patch_status(names::of(object), &parameters, &patch)).await)
    }

    async fn apply_status(&self, object: &BucketConnection, status: Value, version: Option<String>) -> Result<(), Problem> {
        let patch = status_patch(names::of(object), status, version);
        let parameters = PatchParams::apply(&format!("{MANAGER}/status")).force();
        let objects = self.objects(object);
        let ours = Patch::Apply(&patch);
        let patched = match self.patched(objects.patch_status(names::of(object), &parameters, &ours)).await {
            // A field that someone else has put into the status, and still manages, may not fit the operator's fields.
            Err(problem) if problem.class == Class::Refused => {
                let nothing = Patch::Merge(json!({ "status": null }));
                self.patched(objects.patch_status(names::of(object), &PatchParams::default(), &nothing)).await?;
                self.patched(objects.patch_status(names::of(object), &parameters, &Patch::Apply(&status_of(&patch)))).await?
            }
            patched => patched?,
        };
        self.remember(&patched.metadata);
        Ok(())
    }

    async fn patched<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
        call("patch bucketconnections/status", request).await
    }
}

/// The same patch, for an object with a newer version.
fn status_of(patch: &Value) -> Value {
    let mut patch = patch.clone();
    if let Some(metadata) = patch["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    patch
}

fn status_patch(name: &str, status: Value, version: Option<String>) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(version) = version {
        metadata["resourceVersion"] = json!(version);
    }
    json!({
        "apiVersion": BucketConnection::api_version(&()),
        "kind": BucketConnection::kind(&()),
        "metadata": metadata,
        "status": status,
    })
}
