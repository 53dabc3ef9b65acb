//! `bucketconnection release`.

use std::process::ExitCode;

use kube::api::{DeleteParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{patch, shown};
use crate::api::BucketConnection;
use crate::cli::cluster::{Namespaced, explain};
use crate::cli::connections::connection;
use crate::cli::terminal::{confirm, print, warn};
use crate::cli::wait::{Found, Waiting, interruptible};
use crate::cli::{Failure, INTERRUPTED};
use crate::kubernetes::call;
use crate::render::{adoption, gitops};

/// Stop managing a connection, and keep everything in AWS for another one
///
/// Sets deletionPolicy: Release, deletes the BucketConnection, and waits until it is gone. The bucket, the user, its policy, the key and
/// the Secret stay and continue to work, without the operator's ownership tags. Asks first; --yes answers.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection release genomics
  kubectl bucketconnection release genomics -n lab-a --yes

See docs/adoption.md, \"Release and move\".")]
pub(in crate::cli) struct Release {
    /// Name of the BucketConnection
    #[arg(value_name = "NAME")]
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    cluster: Namespaced,
}

impl Release {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (client, namespace) = self.cluster.client().await?;
        let object = connection(&client, &namespace, &self.name).await?;
        let name = shown(&object);
        print(&adoption::release(&object));
        if let Some(tool) = gitops::tool(object.managed_fields()) {
            warn(&format!("{name}: {tool} manages the object and will create it again; remove it from its source first"));
        }
        if !(self.yes || confirm("Release it?", &object.name_any(), "--yes").await?) {
            return Err(Failure("nothing is released: the answer was another one".to_owned()));
        }
        delete(&client, &object).await?;
        if self.waiting.no_wait {
            print(&format!("{name}: the operator releases it\n"));
            return Ok(ExitCode::SUCCESS);
        }
        let uid = object.uid();
        let gone = |now: Option<&BucketConnection>| match now.filter(|now| now.uid() == uid) {
            None => Found::Ended(()),
            Some(now) => Found::Waiting(adoption::deleting(now)),
        };
        let Some(released) = interruptible(self.waiting.until(&client, &namespace, &self.name, gone)).await? else {
            warn("stopped waiting; the operator continues to release it");
            return Ok(ExitCode::from(INTERRUPTED));
        };
        released?;
        print(&format!("{name}: released; another connection can adopt the bucket with bucket.adopt: true\n"));
        Ok(ExitCode::SUCCESS)
    }
}

async fn delete(client: &Client, object: &BucketConnection) -> Result<(), Failure> {
    patch(client, object, json!({ "spec": { "deletionPolicy": "Release" } })).await?;
    let namespace = object.namespace().unwrap_or_default();
    let objects: Api<PartialObjectMeta<BucketConnection>> = Api::namespaced(client.clone(), &namespace);
    let only = Preconditions { uid: object.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
    let deleted = call("delete bucketconnections", objects.delete(&object.name_any(), &parameters)).await;
    let failed = |problem| Failure(format!("{}: deletionPolicy is Release now, but: {}", shown(object), explain(&problem)));
    deleted.map(drop).map_err(failed)
}
