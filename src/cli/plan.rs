//! `bucketconnection plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use kube::{Api, ResourceExt};

use super::{Cluster, Failure, file, print};
use crate::api::BucketConnection;
use crate::aws::Sessions;
use crate::controller::{PreviewError, preview};
use crate::kubernetes::{Kubernetes, call};
use crate::render;
use crate::sdk;

/// Show what the operator would change, and change nothing
///
/// Compares the BucketConnections of a file with AWS as it is now, and prints the very steps that the operator would execute.
/// Exit code: 0 everything is in sync, 2 there are changes or problems, 1 the plan could not be made.
#[derive(clap::Args)]
pub(super) struct Plan {
    /// YAML file with BucketConnections; - reads standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,

    /// Namespace of objects that name none [default: the kubeconfig's]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    cluster: Cluster,
}

/// There are changes or problems.
const CHANGES: u8 = 2;

impl Plan {
    pub(super) async fn run(&self) -> Result<ExitCode, Failure> {
        let mut objects = file::read(&self.file)?;
        let client = self.cluster.client().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let sessions = Sessions::new(sdk::environment().await?);
        let kubernetes = Kubernetes::new(client, self.cluster.cluster_id.clone()).await?;
        let mut in_sync = true;
        for object in &mut objects {
            object.metadata.namespace.get_or_insert_with(|| namespace.clone());
            let name = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
            join_live(object, &kubernetes).await?;
            let (desired, plan) =
                preview(object, &sessions, &kubernetes).await.map_err(|error| Failure(explained(&name, error)))?;
            in_sync &= plan.in_sync();
            print(&render::plan(&name, &plan, &desired));
        }
        Ok(if in_sync { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
    }
}

/// Takes uid and status of the object in the cluster, if it is there: the plan is about that one with the file's spec.
async fn join_live(object: &mut BucketConnection, kubernetes: &Kubernetes) -> Result<(), Failure> {
    let namespace = object.namespace().unwrap_or_default();
    let objects: Api<BucketConnection> = Api::namespaced(kubernetes.client.clone(), &namespace);
    let live = call("get bucketconnections", objects.get_opt(&object.name_any())).await?;
    if let Some(live) = live {
        let same = live.spec == object.spec;
        object.metadata.uid = live.metadata.uid;
        object.metadata.generation = live.metadata.generation.map(|generation| if same { generation } else { generation + 1 });
        object.status = live.status;
    }
    Ok(())
}

fn explained(name: &str, error: PreviewError) -> String {
    match error {
        PreviewError::Kubernetes(problem) => format!("{name}: {problem}"),
        PreviewError::Refused(blocker) => format!("{name}: {} ({})", blocker.message, blocker.reason),
        PreviewError::Invalid(errors) => {
            let lines: Vec<_> = errors.iter().map(|error| format!("\n  {error}")).collect();
            format!("{name} cannot be carried out:{}", lines.concat())
        }
    }
}
