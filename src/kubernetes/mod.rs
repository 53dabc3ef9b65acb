//! Kubernetes: the Secret and who may read it, the object's status and finalizer, Events.
//!
//! Every call has a timeout: the client itself would retry a busy API server for minutes. Failures are
//! [`Problem`]s whose action reads like an RBAC rule, `patch secrets`.

mod access;
mod account;
mod events;
mod lease;
mod object;
mod owned;
mod seal;
mod secret;
mod workloads;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

pub use lease::Lease;
pub use secret::Seen;

use crate::problem::{Class, Problem};

/// Field manager of the Secret, and of everything else one each: a field that a manager stops sending is removed.
pub const MANAGER: &str = "bucketconnection";
const TIMEOUT: Duration = Duration::from_secs(15);

/// The operator's way to Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    /// The client, for watches.
    pub client: Client,
    /// Tells this cluster from others that work on the same AWS account: part of every ownership tag.
    pub cluster: String,
    written: object::Written,
}

impl Kubernetes {
    /// Uses `client`. The cluster is known by `cluster` or, without it, by the uid of its namespace kube-system.
    pub async fn new(client: Client, cluster: Option<String>) -> Result<Self, Problem> {
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => {
                let namespaces = Api::<Namespace>::all(client.clone());
                let system = call("get namespaces kube-system", namespaces.get("kube-system")).await?;
                system.metadata.uid.unwrap_or_default()
            }
        };
        Ok(Self { client, cluster, written: object::Written::default() })
    }
}

/// Makes one call; `action` is the verb and resource that RBAC must allow.
pub async fn call<T>(action: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(problem(action, &error)),
        Err(_) => Err(Problem::new(Class::Unavailable, action, "Timeout", "the API server did not answer in time")),
    }
}

fn problem(action: &str, error: &kube::Error) -> Problem {
    match error {
        kube::Error::Api(status) => {
            let class = match status.code {
                401 | 403 => Class::Denied,
                404 => Class::Missing,
                409 if status.reason == "AlreadyExists" => Class::Exists,
                409 => Class::Conflict,
                429 => Class::Throttled,
                500.. => Class::Unavailable,
                _ => Class::Refused,
            };
            let code = if status.reason.is_empty() { format!("HTTP {}", status.code) } else { status.reason.clone() };
            // What an operator newer than the installed CRDs gets.
            let old = status.message.contains("field not declared in schema");
            let advice = if old { "; install the CRDs of this version (bucketconnection crds)" } else { "" };
            Problem::new(class, action, code, format!("{}{advice}", status.message))
        }
        // The error's own text may quote the answer, which may be a Secret.
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            Problem::new(Class::Unavailable, action, "BadResponse", "the answer could not be understood")
        }
        other => Problem::new(Class::Unavailable, action, "Unreachable", root_cause(other)),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}
