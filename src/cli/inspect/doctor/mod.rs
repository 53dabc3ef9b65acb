//! `bucketconnection doctor`: reads what a person on call would check; `render::diagnosis` judges it.

mod cluster;
mod network;

use std::process::ExitCode;

use jiff::Timestamp;
use kube::Client;

use super::FINDINGS;
use super::read::{Connections, Seen};
use crate::aws::FromHere;
use crate::cli::Failure;
use crate::cli::cluster::Namespaced;
use crate::cli::terminal::{print, print_json, screen};
use crate::render::connection::Overview;
use crate::render::diagnosis::{Diagnosis, Finding, connections, permissions};
use crate::vocabulary::sign_in::SignIn;

/// Check what a person on call would check, each with its result and the next step
///
/// Checks the CRDs and their version, the operator (lease, reconciles), clocks, the sign-in to the accounts, the permissions that the
/// operator lacks, and the endpoints of AWS (DNS, TLS, proxy). With NAME also the region, the Secret, and the key from this machine.
/// Without NAME, the connections in summary. Changes nothing, and prints no secret. What your own permissions do not allow is not
/// checked, and is no failure. Exit code 0: nothing is wrong. 2: something is wrong. 1: it could not check.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection doctor                  # the installation and all connections
  kubectl bucketconnection doctor genomics -n lab  # one connection, its Secret and its key
  kubectl bucketconnection doctor -o json | jq '.findings[] | select(.outcome == \"wrong\")'")]
pub(in crate::cli) struct Doctor {
    /// Name of a BucketConnection
    name: Option<String>,

    #[command(flatten)]
    cluster: Namespaced,

    /// Namespace of the operator, with its leases
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "BUCKETCONNECTION_OPERATOR_NAMESPACE",
        default_value = "bucketconnection-system"
    )]
    operator_namespace: String,

    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A connection, and what to show of it.
struct Patient {
    seen: Seen,
    of: Overview,
}

impl Doctor {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (client, namespace) = self.cluster.client().await?;
        let diagnosis = Box::pin(self.diagnose(&client, &namespace)).await?;
        match self.output {
            Output::Text => {
                print(&screen(&diagnosis.screen()));
            }
            Output::Json => print_json(&diagnosis)?,
        }
        Ok(if diagnosis.is_wrong() { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }

    async fn diagnose(&self, client: &Client, namespace: &str) -> Result<Diagnosis, Failure> {
        let clock = cluster::clock(client).await?;
        // The cluster's own clock, if it has told it: the times in its objects are of the same.
        let now = clock.there.unwrap_or_else(Timestamp::now);
        let mut findings = cluster::crds(client).await;
        let patients = match self.patients(client, namespace, now).await {
            Ok(patients) => patients,
            Err(Failure(why)) if self.name.is_none() => {
                findings.push(Finding::not_checked("connections", "connections", why));
                Vec::new()
            }
            Err(failure) => return Err(failure),
        };
        let overviews: Vec<_> = patients.iter().map(|patient| patient.of.clone()).collect();
        findings.extend(
            cluster::operator(client, &self.operator_namespace, self.name.as_ref().map(|_| namespace), &overviews, now).await,
        );
        findings.push(clock.finding);
        let accounts = cluster::accounts(client, self.name.as_ref().and(patients.first())).await;
        findings.extend(accounts.findings(&overviews));
        let objects: Vec<_> = patients.iter().map(|patient| &patient.seen.object).collect();
        let missing = accounts.missing(&objects);
        findings.extend(permissions(&missing));
        let environment = crate::sdk::environment().await?;
        let places = patients.iter().map(|patient| (accounts.sign_in(&patient.seen.object), patient.of.region.clone())).collect();
        findings.extend(network::endpoints(&environment, places).await);
        match (&self.name, patients.first()) {
            (Some(_), Some(patient)) => {
                let here = FromHere::new(&environment, &accounts.sign_in(&patient.seen.object)).await;
                findings.extend(connections(&overviews));
                findings.extend(network::connection(client, patient, &here).await);
            }
            _ => findings.extend(connections(&overviews)),
        }
        Ok(Diagnosis { findings, missing_permissions: missing })
    }

    /// The named connection; without a name all that the user can list, at least those of the namespace.
    async fn patients(&self, client: &Client, namespace: &str, now: Timestamp) -> Result<Vec<Patient>, Failure> {
        let names: Vec<_> = self.name.iter().cloned().collect();
        let here = Connections::named(client, Some(namespace), &names);
        let asked = self.name.is_some() || self.cluster.namespace.is_some();
        let everywhere = if asked { None } else { Connections::named(client, None, &[]).list().await.ok() };
        let (seen, missing) = match everywhere {
            Some(found) => found,
            None => here.list().await?,
        };
        if let [name, ..] = missing.as_slice() {
            return Err(Failure(format!(
                "no BucketConnection {name} in namespace {namespace}; bucketconnection get -A lists all"
            )));
        }
        Ok(seen.into_iter().map(|seen| Patient { of: seen.overview(now), seen }).collect())
    }
}

/// The sign-in of accounts that the user cannot read: AWS's own endpoints.
fn unknown() -> SignIn {
    SignIn::default()
}
