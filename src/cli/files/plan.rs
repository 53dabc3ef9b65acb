//! `bucketconnection plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};

use super::file::{self, Contents, Entry};
use crate::api::{AWSAccount, BucketConnection};
use crate::aws::Sessions;
use crate::cli::Failure;
use crate::cli::cluster::Cluster;
use crate::cli::terminal::{print, warn};
use crate::controller::{NotOpened, Others, Preview, PreviewError, preview};
use crate::kubernetes::{Kubernetes, call, find, named};
use crate::render;
use crate::sdk;
use crate::vocabulary::problem::Problem;

/// Show what the operator would change, and change nothing
///
/// Compares the BucketConnections of a file with AWS, and prints the steps that the operator would execute. It uses an AWSAccount of
/// the file only with --accounts-from-file. It reports an object on standard error if the object is invalid or refused, or if another
/// BucketConnection has its bucket or user; it plans the others. Exit code 0: everything is in sync. 2: there are changes or problems.
/// 1: no plan was possible for at least one object.
#[derive(clap::Args)]
pub(in crate::cli) struct Plan {
    /// YAML file with BucketConnections, or a directory of such files; or - for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,

    /// Namespace of objects without one [default: the kubeconfig's]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// If the cluster has no AWSAccount of that name, sign in with the one in the file: with its Secret, roles and endpoints, and with
    /// your own permissions. Use it only for files that you trust
    #[arg(long)]
    accounts_from_file: bool,

    #[command(flatten)]
    cluster: Cluster,
}

/// There are changes or problems.
const CHANGES: u8 = 2;

impl Plan {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let file = file::read(&self.file)?;
        let client = self.cluster.client().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let sessions = Sessions::new(sdk::environment().await?);
        let kubernetes = Kubernetes::new(client, self.cluster.cluster_id.clone()).await?;
        let mut contents = file.contents(&namespace);
        for (place, entry) in contents.connections.iter_mut().enumerate() {
            if let Ok(object) = &mut entry.object {
                let joined = join_live(object, place, &kubernetes).await;
                entry.object = joined.map(|()| object.clone()).map_err(|problem| problem.to_string());
            }
        }
        let others = others(&contents, &kubernetes).await.unwrap_or_else(|problem| {
            warn(&format!("cannot read whether other BucketConnections have these buckets or users: {problem}"));
            Others::default()
        });
        let (mut in_sync, mut failed) = (true, false);
        for entry in &contents.connections {
            match self.planned(entry, &contents, &others, &sessions, &kubernetes).await {
                Ok((title, Preview { desired, plan, doubts, report })) => {
                    doubts.iter().for_each(|doubt| warn(&format!("status discarded: {}: {doubt}", entry.name)));
                    in_sync &= plan.in_sync();
                    print(&render::plan(&title, &plan, &desired));
                    print(&format!("\n{report}"));
                }
                // The others are still planned.
                Err(text) => {
                    failed = true;
                    warn(&text);
                }
            }
        }
        Ok(match (failed, in_sync) {
            (true, _) => ExitCode::FAILURE,
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::from(CHANGES),
        })
    }

    /// The plan for one object, and its title; or why there is none, with the object's name.
    async fn planned(
        &self,
        entry: &Entry,
        contents: &Contents,
        others: &Others,
        sessions: &Sessions,
        kubernetes: &Kubernetes,
    ) -> Result<(String, Preview), String> {
        let name = &entry.name;
        let object = entry.object.clone().map_err(|text| format!("{name}: {text}"))?;
        let asked = |problem| format!("{name}: {problem}");
        let account_name = &object.spec.account_ref.name;
        let (title, account) = match kubernetes.account(account_name).await.map_err(asked)? {
            Some(account) => (name.clone(), Some(account)),
            None => match contents.account(account_name).map_err(|text| format!("{name}: {text}"))? {
                Some(_) if !self.accounts_from_file => {
                    return Err(format!(
                        "{name}: the cluster has no AWSAccount {account_name}: apply the one in the file first, or sign in with the one in the file with --accounts-from-file, if you trust the file"
                    ));
                }
                Some(account) => (format!("{name} (with AWSAccount {account_name} of the file)"), Some(account.clone())),
                None => (name.clone(), None),
            },
        };
        let planned = preview(object, account.as_ref(), others, sessions, kubernetes).await;
        planned.map(|planned| (title, planned)).map_err(|error| explained(name, error))
    }
}

/// Uses uid, age and status of the object in the cluster, if it exists: the plan is for that object with the file's
/// spec. An object that does not exist counts as younger than all existing ones, and than those before it in the file.
async fn join_live(object: &mut BucketConnection, place: usize, kubernetes: &Kubernetes) -> Result<(), Problem> {
    let namespace = object.namespace().unwrap_or_default();
    named("get bucketconnections", &namespace)?;
    let objects: Api<BucketConnection> = Api::namespaced(kubernetes.client.clone(), &namespace);
    let live = find(&objects, "bucketconnections", &object.name_any()).await?;
    if let Some(live) = live {
        let same = live.spec == object.spec;
        object.metadata.uid = live.metadata.uid;
        object.metadata.generation = live.metadata.generation.map(|generation| if same { generation } else { generation + 1 });
        object.status = live.status;
        object.metadata.creation_timestamp = live.metadata.creation_timestamp;
    } else {
        let seconds = i64::try_from(place).unwrap_or_default();
        object.metadata.creation_timestamp = Some(Time(Timestamp::now() + SignedDuration::from_secs(seconds)));
    }
    Ok(())
}

/// All connections as they will be once the file is applied, and the accounts of the cluster.
async fn others(contents: &Contents, kubernetes: &Kubernetes) -> Result<Others, Problem> {
    let connections: Api<DeserializeGuard<BucketConnection>> = Api::all(kubernetes.client.clone());
    let accounts: Api<DeserializeGuard<AWSAccount>> = Api::all(kubernetes.client.clone());
    let all = ListParams::default();
    let live = call("list bucketconnections", connections.list(&all)).await?;
    let accounts = call("list awsaccounts", accounts.list(&all)).await?;
    let mut others = Others::default();
    for object in live.items.into_iter().filter_map(|object| object.0.ok()) {
        others.add_connection(object);
    }
    for entry in &contents.connections {
        if let Ok(object) = &entry.object {
            others.add_connection(object.clone());
        }
    }
    others.accounts = accounts.items.into_iter().filter_map(|account| account.0.ok()).map(|a| (a.name_any(), a)).collect();
    Ok(others)
}

fn explained(name: &str, error: PreviewError) -> String {
    match error {
        PreviewError::Refused(NotOpened { blocker, report }) => {
            let report = if report.decisions.is_empty() { String::new() } else { format!("\n{}", report.to_string().trim_end()) };
            format!("{name}: {} ({}){report}", blocker.message, blocker.reason)
        }
        PreviewError::Invalid(errors) => format!("{name} cannot be carried out:{}", file::lines(&errors)),
    }
}
