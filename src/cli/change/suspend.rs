//! `bucketconnection suspend` and `resume`.

use std::process::ExitCode;

use kube::api::{Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::{MANAGER, shown, write};
use crate::api::BucketConnection;
use crate::cli::Failure;
use crate::cli::connections::Selection;
use crate::cli::terminal::{print, warn};
use crate::render::gitops;

/// Stop all reconciles of a connection: before you change something in AWS by hand
///
/// Sets spec.suspend. The key and everything else in AWS continue to work. The operator neither reverts drift nor rotates the key until
/// you resume. It still carries out a revocation and a deletion.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection suspend genomics
  kubectl bucketconnection suspend -n lab-a -l team=sequencing")]
pub(in crate::cli) struct Suspend {
    #[command(flatten)]
    selection: Selection,
}

/// Reconcile a suspended connection again
///
/// The operator then reverts what was changed in AWS meanwhile. kubectl bucketconnection plan NAME shows first what that is.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection resume genomics")]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    selection: Selection,
}

impl Suspend {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        set(&self.selection, true).await
    }
}

impl Resume {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        set(&self.selection, false).await
    }
}

async fn set(selection: &Selection, suspend: bool) -> Result<ExitCode, Failure> {
    let selected = selection.read_to_change().await?;
    let mut failed = false;
    for object in selected.objects {
        let done = match object {
            Ok(object) => set_one(&selected.client, &object, suspend).await,
            Err(failure) => Err(failure),
        };
        if let Err(Failure(text)) = done {
            failed = true;
            warn(&text);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn set_one(client: &Client, object: &BucketConnection, suspend: bool) -> Result<(), Failure> {
    let (name, word) = (shown(object), if suspend { "suspended" } else { "resumed" });
    if object.spec.suspend == suspend {
        print(&format!("{name}: {}\n", if suspend { "already suspended" } else { "not suspended" }));
        return Ok(());
    }
    let parameters = PatchParams::apply(MANAGER).force();
    write(client, object, &parameters, &Patch::Apply(applied(object, suspend))).await?;
    print(&format!("{name}: {word}\n"));
    let (fields, path) = (object.managed_fields(), ["spec", "suspend"]);
    let stays = gitops::leaves(fields, &path).filter(|_| suspend);
    if let Some(text) = gitops::reverts(fields, &path).or(stays) {
        warn(&format!("{name}: {text}"));
    }
    Ok(())
}

/// What this command applies. To resume, it gives the field up if no one else set it: otherwise a later apply of the file would
/// conflict.
fn applied(object: &BucketConnection, suspend: bool) -> Value {
    let others = gitops::managers(object.managed_fields(), &["spec", "suspend"]).any(|manager| manager != MANAGER);
    let spec = if suspend || others { json!({ "suspend": suspend }) } else { json!({}) };
    json!({
        "apiVersion": BucketConnection::api_version(&()),
        "kind": BucketConnection::kind(&()),
        "metadata": { "name": object.name_any(), "uid": object.uid() },
        "spec": spec,
    })
}
