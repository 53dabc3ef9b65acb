//! Kubernetes: the Secret and access to it, the object's status and finalizer, Events.
//!
//! Every call has a timeout: the client itself would retry a busy API server for minutes. Failures are [`Problem`]s
//! whose action reads like an RBAC rule, `patch secrets`.

mod absent;
mod access;
mod account;
mod error;
mod events;
mod lease;
mod object;
mod owned;
mod seal;
mod secret;
mod workloads;

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

pub use absent::NO_CLUSTER;
pub use error::of_watch;
pub use events::events;
pub use lease::Lease;
pub use secret::{Seen, secret_texts};

use crate::desired::names;
use crate::vocabulary::problem::{Class, Problem, Source};

/// Field manager of the Secret; everything else has its own: a field that a manager no longer sends is removed.
pub const MANAGER: &str = "bucketconnection";
const TIMEOUT: Duration = Duration::from_secs(15);

/// The operator's access to Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    /// The client, for watches.
    pub client: Client,
    /// Distinguishes this cluster from others that use the same AWS account: part of every ownership tag.
    pub cluster: String,
    /// Uid of the cluster; a rebuilt cluster has another.
    uid: String,
    written: object::Written,
}

impl Kubernetes {
    /// Uses `client`. The id of the cluster is `cluster` or, without it, the uid of its namespace kube-system. With
    /// `cluster`, the operator also works without the permission to read that namespace; then it never recognizes a
    /// rebuilt cluster.
    pub async fn new(client: Client, cluster: Option<String>) -> Result<Self, Problem> {
        let namespaces = Api::<Namespace>::all(client.clone());
        let uid = match call("get namespaces kube-system", namespaces.get_metadata("kube-system")).await {
            Ok(system) => system.metadata.uid.unwrap_or_default(),
            Err(problem) if cluster.is_some() && problem.class == Class::Denied => names::UNKNOWN_CLUSTER.to_owned(),
            Err(problem) => return Err(problem),
        };
        Ok(Self { client, cluster: cluster.unwrap_or_else(|| uid.clone()), uid, written: object::Written::default() })
    }
}

/// The object `name`, if it exists.
pub(crate) async fn find<K>(api: &Api<K>, resource: &str, name: &str) -> Result<Option<K>, Problem>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    of_name(resource, name, api.get_opt(name)).await
}

/// The metadata of the object `name`, if it exists.
pub(crate) async fn find_metadata<K>(api: &Api<K>, resource: &str, name: &str) -> Result<Option<ObjectMeta>, Problem>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    Ok(of_name(resource, name, api.get_metadata_opt(name)).await?.map(|found| found.metadata))
}

/// Makes a request only for the object `name`, and accepts no other object in the answer.
async fn of_name<K: Resource>(
    resource: &str,
    name: &str,
    request: impl Future<Output = kube::Result<Option<K>>>,
) -> Result<Option<K>, Problem> {
    let action = format!("get {resource}");
    named(&action, name)?;
    match call(&action, request).await? {
        Some(other) if other.meta().name.as_deref() != Some(name) => {
            let text = format!("the API server answered with another object than {name:?}");
            Err(Problem::at(Source::Kubernetes, Class::Refused, &action, "OtherName", text))
        }
        found => Ok(found),
    }
}

/// Refuses a name that would change the path of the request: kube accepts any.
pub(crate) fn named(action: &str, name: &str) -> Result<(), Problem> {
    if names::is_object_name(name) {
        return Ok(());
    }
    let text = format!("{name:?} is not a valid name of a Kubernetes object; use lower-case letters, digits, dots and hyphens");
    Err(Problem::at(Source::Operator, Class::Refused, action, "InvalidName", text))
}

/// Makes one call; `action` is the verb and resource that RBAC must allow.
pub async fn call<T>(action: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error::problem(action, &error)),
        Err(_) => {
            let text = "the API server did not answer in time";
            Err(Problem::at(Source::Kubernetes, Class::Unavailable, action, "Timeout", text))
        }
    }
}
