//! The Secret that holds the access key. Always in the object's own namespace; read by name, never listed or watched, so that the
//! operator needs no right to see every Secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as ApiSecret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Kubernetes, MANAGER, call};
use crate::api::BucketConnection;
use crate::credentials::{KeyPair, Sensitive, secret_data};
use crate::desired::{DesiredSecret, names};
use crate::observed::{OwnSecret, Secret};
use crate::problem::{Class, Problem};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const CONNECTION: &str = "bucketconnection.dev/connection";
const OWNER: &str = "bucketconnection.dev/owner";
/// `owned`, or `retained` once the object was deleted with `Retain`.
const STATE: &str = "bucketconnection.dev/state";
const KEY_CREATED_AT: &str = "bucketconnection.dev/key-created-at";
const LABEL_LIMIT: usize = 63;

impl Kubernetes {
    fn secrets(&self, object: &BucketConnection) -> Api<ApiSecret> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Reads the Secret `name`, and tells whether it is ours.
    pub async fn secret(&self, object: &BucketConnection, name: &str) -> Secret {
        let answer = call("get secrets", self.secrets(object).get_opt(name)).await;
        let secret = match answer {
            Ok(Some(secret)) => secret,
            Ok(None) => return Secret::Absent,
            Err(problem) => return Secret::Unreadable(problem),
        };
        let owner = names::owner(object, &self.cluster);
        let connections = secret.owner_references().iter().filter(|r| r.kind == BucketConnection::kind(&()));
        let owned = connections.clone().any(|r| Some(&r.uid) == object.metadata.uid.as_ref());
        let marked = secret.annotations().get(OWNER) == Some(&owner);
        if !owned && !marked {
            return Secret::Foreign(match connections.clone().next() {
                Some(other) => format!("belongs to BucketConnection {}", other.name),
                None => "exists and was not created by this BucketConnection".to_owned(),
            });
        }
        let state = secret.annotations().get(STATE).map(String::as_str);
        let labelled = secret.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER)
            && secret.labels().get(CONNECTION) == Some(&label(names::of(object)));
        let created = secret.annotations().get(KEY_CREATED_AT).and_then(|text| text.parse::<Timestamp>().ok());
        // The status has whole seconds: anything finer would look like a change at each check.
        let created = created.and_then(|at| Timestamp::from_second(at.as_second()).ok());
        let text = |bytes: Vec<u8>| Sensitive::new(String::from_utf8_lossy(&bytes).into_owned());
        Secret::Ours(OwnSecret {
            key_created_at: created,
            claimed: owned && marked && labelled && state == Some("owned"),
            data: secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value.0))).collect(),
        })
    }

    /// Asks the API server whether the Secret could be written: right, quota, admission. Before a key is issued for it.
    pub async fn try_secret(&self, object: &BucketConnection, secret: &DesiredSecret) -> Result<(), Problem> {
        let placeholder = KeyPair { id: "none".to_owned(), secret: Sensitive::new("none".to_owned()) };
        self.apply_secret(object, secret, &placeholder, None, true).await
    }

    /// Writes the Secret with `key`, and claims it.
    pub async fn write_secret(
        &self,
        object: &BucketConnection,
        secret: &DesiredSecret,
        key: &KeyPair,
        created_at: Option<Timestamp>,
    ) -> Result<(), Problem> {
        self.apply_secret(object, secret, key, created_at, false).await
    }

    /// Server-side apply: fields and keys that others put on our Secret stay.
    async fn apply_secret(
        &self,
        object: &BucketConnection,
        secret: &DesiredSecret,
        key: &KeyPair,
        created_at: Option<Timestamp>,
        dry_run: bool,
    ) -> Result<(), Problem> {
        let bytes = |value: Sensitive| ByteString(value.reveal().as_bytes().to_vec());
        let data: BTreeMap<_, _> =
            secret_data(&secret.fields, key).into_iter().map(|(name, field)| (name, bytes(field.value))).collect();
        let mut annotations = BTreeMap::from([
            (OWNER, names::owner(object, &self.cluster)),
            (STATE, "owned".to_owned()),
            ("bucketconnection.dev/description", format!("Access key for BucketConnection {}", names::of(object))),
        ]);
        annotations.extend(created_at.map(|at| (KEY_CREATED_AT, at.to_string())));
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret.name,
                "labels": { MANAGED_BY: MANAGER, CONNECTION: label(names::of(object)) },
                "annotations": annotations,
                "ownerReferences": [object.controller_owner_ref(&())],
            },
            "data": data,
        });
        let parameters = PatchParams { dry_run, ..PatchParams::apply(&format!("{MANAGER}/secret")).force() };
        let secrets = self.secrets(object);
        call("patch secrets", secrets.patch(&secret.name, &parameters, &Patch::Apply(patch))).await.map(drop)
    }

    /// Takes our owner reference off, so that the Secret outlives the object, and marks it; the key in it goes on working.
    pub async fn release_secret(&self, object: &BucketConnection, name: &str) -> Result<(), Problem> {
        let secrets = self.secrets(object);
        let Some(secret) = call("get secrets", secrets.get_opt(name)).await? else { return Ok(()) };
        let others: Vec<_> =
            secret.owner_references().iter().filter(|r| Some(&r.uid) != object.metadata.uid.as_ref()).cloned().collect();
        let patch = json!({ "metadata": {
            "resourceVersion": secret.resource_version(),
            "ownerReferences": if others.is_empty() { Value::Null } else { json!(others) },
            "annotations": { STATE: "retained", OWNER: names::owner(object, &self.cluster) },
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        match call("patch secrets", secrets.patch(name, &parameters, &patch)).await {
            Err(problem) if problem.class != Class::Missing => Err(problem),
            _ => Ok(()),
        }
    }

    /// Deletes the Secret, if it still is the one that was found to be ours.
    pub async fn delete_secret(&self, object: &BucketConnection, name: &str) -> Result<(), Problem> {
        let secrets = self.secrets(object);
        let Some(secret) = call("get secrets", secrets.get_opt(name)).await? else { return Ok(()) };
        let same = Preconditions { uid: secret.metadata.uid, resource_version: secret.metadata.resource_version };
        let parameters = DeleteParams::default().preconditions(same);
        match call("delete secrets", secrets.delete(name, &parameters)).await {
            Err(problem) if problem.class != Class::Missing => Err(problem),
            _ => Ok(()),
        }
    }
}

/// A label value holds 63 characters, a name up to 253; the annotation has all of it.
fn label(name: &str) -> String {
    name.chars().take(LABEL_LIMIT).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}
