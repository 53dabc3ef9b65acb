//! Commands that change connections of the cluster, or hand them to a platform.

mod adopt;
mod export;
mod handover;
mod import;
mod release;
mod request;
mod suspend;

use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

pub(in crate::cli) use adopt::Adopt;
pub(in crate::cli) use export::Export;
pub(in crate::cli) use import::Import;
pub(in crate::cli) use release::Release;
pub(in crate::cli) use request::{Reconcile, Revoke, Rotate};
pub(in crate::cli) use suspend::{Resume, Suspend};

use super::Failure;
use crate::api::BucketConnection;
use crate::cli::cluster::explain;
use crate::kubernetes::call;

/// Field manager of what these commands write. Not a name that begins with `kubectl`: Flux removes the fields of such managers.
const MANAGER: &str = "bucketconnection-cli";

/// `namespace/name` of a connection.
fn shown(object: &BucketConnection) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Writes a patch to the connection, and to no later one of the same name.
async fn patch(client: &Client, object: &BucketConnection, mut patch: Value) -> Result<(), Failure> {
    patch["metadata"]["uid"] = object.uid().into();
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    write(client, object, &parameters, &Patch::Merge(patch)).await
}

async fn write(
    client: &Client,
    object: &BucketConnection,
    parameters: &PatchParams,
    patch: &Patch<Value>,
) -> Result<(), Failure> {
    // Only the metadata of the answer is read.
    let objects: Api<PartialObjectMeta<BucketConnection>> =
        Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let patched = call("patch bucketconnections", objects.patch(&object.name_any(), parameters, patch)).await;
    patched.map(drop).map_err(|problem| Failure(format!("{}: {}", shown(object), explain(&problem))))
}
