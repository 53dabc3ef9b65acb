//! What the Secret, the Role and the RoleBinding of a connection have in common: their owner, and the transitions
//! between their states: owned, released, deleted.
//!
//! None of them has an owner reference to the connection. They may have to outlive it, and the garbage collector does
//! not wait for a finalizer. With `kubectl delete --cascade=foreground`, which is the default of Argo CD, it deletes
//! them first. In another cluster, where the owner's uid is not known, it deletes them as soon as they are restored. So
//! an annotation names their owner, and the finalizer releases or deletes them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Kubernetes, MANAGER, call, find_metadata};
use crate::api::{BucketConnection, GROUP};
use crate::desired::names;
use crate::vocabulary::problem::{Problem, ignore_not_found};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const CONNECTION: &str = "bucketconnection.dev/connection";
const OWNER: &str = "bucketconnection.dev/owner";
/// `owned`, or `retained` once the object was deleted with `Retain`.
const STATE: &str = "bucketconnection.dev/state";
const LABEL_LIMIT: usize = 63;

/// The owner of a resource.
pub(super) enum Whose {
    /// Managed; `claimed` if labels, annotations and owner references are as the operator writes them.
    Ours { claimed: bool },
    /// Foreign: why.
    Foreign(String),
}

impl Kubernetes {
    /// Whether it is managed, by its annotation alone: a resource of the same name that others create has no
    /// annotation, and a restored one still has it.
    pub(super) fn whose(&self, metadata: &ObjectMeta, object: &BucketConnection) -> Whose {
        let noted = |place: &Option<BTreeMap<String, String>>, name: &str| place.as_ref().and_then(|p| p.get(name).cloned());
        match noted(&metadata.annotations, OWNER) {
            Some(owner) if owner == names::owner(object, &self.cluster) => {}
            Some(owner) => {
                let here = owner.strip_prefix(&self.cluster).and_then(|rest| rest.strip_prefix('/'));
                return Whose::Foreign(format!("belongs to BucketConnection {}", here.unwrap_or(&owner)));
            }
            None => return Whose::Foreign("exists and was not created by this BucketConnection".to_owned()),
        }
        let labelled = noted(&metadata.labels, MANAGED_BY).as_deref() == Some(MANAGER)
            && noted(&metadata.labels, CONNECTION) == Some(label(names::of(object)));
        let owned = noted(&metadata.annotations, STATE).as_deref() == Some("owned");
        Whose::Ours { claimed: labelled && owned && !refers(metadata) }
    }

    /// The metadata of a managed resource.
    pub(super) fn claim(
        &self,
        object: &BucketConnection,
        name: &str,
        annotations: impl Iterator<Item = (&'static str, String)>,
    ) -> Value {
        let ours = [(OWNER, names::owner(object, &self.cluster)), (STATE, "owned".to_owned())];
        json!({
            "name": name,
            "labels": { MANAGED_BY: MANAGER, CONNECTION: label(names::of(object)) },
            "annotations": ours.into_iter().chain(annotations).collect::<BTreeMap<_, _>>(),
        })
    }

    /// Removes owner references to connections, which earlier versions set, from what was just written.
    pub(super) async fn disown<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        live: &ObjectMeta,
    ) -> Result<(), Problem> {
        if !refers(live) {
            return Ok(());
        }
        let patch = json!({ "metadata": { "resourceVersion": live.resource_version, "ownerReferences": other_owners(live) } });
        let name = live.name.as_deref().unwrap_or_default();
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        ignore_not_found(call(&format!("patch {resource}"), api.patch_metadata(name, &parameters, &patch)).await)
    }

    /// Marks it as released, if it is still managed: it outlives the object, and the same object applied again manages
    /// it again.
    pub(super) async fn release<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        object: &BucketConnection,
        name: &str,
    ) -> Result<(), Problem> {
        let Some(live) = self.ours(api, resource, object, name).await? else { return Ok(()) };
        let patch = json!({ "metadata": {
            "resourceVersion": live.resource_version,
            "ownerReferences": other_owners(&live),
            "annotations": { STATE: "retained", OWNER: names::owner(object, &self.cluster) },
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        ignore_not_found(call(&format!("patch {resource}"), api.patch_metadata(name, &parameters, &patch)).await)
    }

    /// Deletes it, if it is still managed.
    pub(super) async fn delete<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        object: &BucketConnection,
        name: &str,
    ) -> Result<(), Problem> {
        let Some(live) = self.ours(api, resource, object, name).await? else { return Ok(()) };
        let ObjectMeta { uid, resource_version, .. } = live;
        let parameters = DeleteParams::default().preconditions(Preconditions { uid, resource_version });
        ignore_not_found(call(&format!("delete {resource}"), api.delete(name, &parameters)).await)
    }

    /// Its metadata, if it exists and is still managed.
    async fn ours<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        object: &BucketConnection,
        name: &str,
    ) -> Result<Option<ObjectMeta>, Problem> {
        let live = find_metadata(api, resource, name).await?;
        Ok(live.filter(|live| matches!(self.whose(live, object), Whose::Ours { .. })))
    }
}

/// Whether an owner reference names a connection.
fn refers(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(is_connection)
}

/// The owner references to anything else, in the form of a patch.
fn other_owners(metadata: &ObjectMeta) -> Value {
    let others: Vec<_> = metadata.owner_references.iter().flatten().filter(|owner| !is_connection(owner)).collect();
    if others.is_empty() { Value::Null } else { json!(others) }
}

fn is_connection(owner: &OwnerReference) -> bool {
    owner.kind == BucketConnection::kind(&()) && owner.api_version.split('/').next() == Some(GROUP)
}

/// A label value holds 63 characters, a name up to 253; the annotation has the whole name.
pub(super) fn label(name: &str) -> String {
    name.chars().take(LABEL_LIMIT).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}
