//! What the Secret, the Role and the RoleBinding of a connection have in common: whose they are, and the way from one state to
//! the next: owned, released, deleted.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Kubernetes, MANAGER, call, find};
use crate::api::BucketConnection;
use crate::desired::names;
use crate::problem::{Problem, gone};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const CONNECTION: &str = "bucketconnection.dev/connection";
const OWNER: &str = "bucketconnection.dev/owner";
/// `owned`, or `retained` once the object was deleted with `Retain`.
const STATE: &str = "bucketconnection.dev/state";
const LABEL_LIMIT: usize = 63;

/// Whose something is.
pub(super) enum Whose {
    /// Ours; claimed where owner reference, labels and annotations are as we write them.
    Ours { claimed: bool },
    /// Not ours: why.
    Foreign(String),
}

impl Kubernetes {
    /// Ours by its owner reference, or by the annotation that is left of one.
    pub(super) fn whose(&self, metadata: &ObjectMeta, object: &BucketConnection) -> Whose {
        let owners = metadata.owner_references.iter().flatten().filter(|r| r.kind == BucketConnection::kind(&()));
        let owned = owners.clone().any(|r| Some(&r.uid) == object.metadata.uid.as_ref());
        let noted = |place: &Option<BTreeMap<String, String>>, name: &str| place.as_ref().and_then(|p| p.get(name).cloned());
        let marked = noted(&metadata.annotations, OWNER) == Some(names::owner(object, &self.cluster));
        if !owned && !marked {
            return Whose::Foreign(match owners.clone().next() {
                Some(other) => format!("belongs to BucketConnection {}", other.name),
                None => "exists and was not created by this BucketConnection".to_owned(),
            });
        }
        let labelled = noted(&metadata.labels, MANAGED_BY).as_deref() == Some(MANAGER)
            && noted(&metadata.labels, CONNECTION) == Some(label(names::of(object)));
        let state = noted(&metadata.annotations, STATE);
        Whose::Ours { claimed: owned && marked && labelled && state.as_deref() == Some("owned") }
    }

    /// The metadata of something that is ours.
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
            "ownerReferences": [object.controller_owner_ref(&())],
        })
    }

    /// Takes our owner reference off, so that it outlives the object, and marks it.
    pub(super) async fn release<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        object: &BucketConnection,
        name: &str,
    ) -> Result<(), Problem> {
        let Some(live) = find(api, resource, name).await? else { return Ok(()) };
        let owners = live.meta().owner_references.iter().flatten();
        let others: Vec<_> = owners.filter(|r| Some(&r.uid) != object.metadata.uid.as_ref()).collect();
        let patch = json!({ "metadata": {
            "resourceVersion": live.meta().resource_version,
            "ownerReferences": if others.is_empty() { Value::Null } else { json!(others) },
            "annotations": { STATE: "retained", OWNER: names::owner(object, &self.cluster) },
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        gone(call(&format!("patch {resource}"), api.patch(name, &parameters, &patch)).await)
    }

    /// Deletes it, if it still is what was found to be ours.
    pub(super) async fn delete<K: Resource + Clone + Debug + DeserializeOwned>(
        &self,
        api: &Api<K>,
        resource: &str,
        object: &BucketConnection,
        name: &str,
    ) -> Result<(), Problem> {
        let Some(live) = find(api, resource, name).await? else { return Ok(()) };
        let ObjectMeta { uid, resource_version, .. } = live.meta().clone();
        if let Whose::Foreign(_) = self.whose(live.meta(), object) {
            return Ok(());
        }
        let parameters = DeleteParams::default().preconditions(Preconditions { uid, resource_version });
        gone(call(&format!("delete {resource}"), api.delete(name, &parameters)).await)
    }
}

/// A label value holds 63 characters, a name up to 253; the annotation has all of it.
pub(super) fn label(name: &str) -> String {
    name.chars().take(LABEL_LIMIT).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}
