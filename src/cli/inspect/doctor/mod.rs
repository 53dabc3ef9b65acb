//! `bucketconnection doctor`: reads what a person on call would check; `render::diagnosis` judges it.

mod cluster;
mod network;

use std::process::ExitCode;

use jiff::Timestamp;
use kube::Client;

use super::FINDINGS;
use super::read::{Connections, Seen};
use crate::cli::Failure;
use crate::cli::cluster::{Namespaced, OperatorNamespace};
use crate::cli::connections::absent;
use crate::cli::terminal::{print, print_json, screen};
use crate::render::connection::Overview;
use crate::render::diagnosis::{Diagnosis, Finding, connections, permissions, unusable};
use crate::vocabulary::problem::Problem;

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

    #[command(flatten)]
    operator: OperatorNamespace,

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

/// The connections that were read.
struct Patients {
    /// `None` if none could be read.
    read: Option<Vec<Patient>>,
    /// Their namespace, if they are all that it has.
    place: Option<String>,
    /// What could not be read.
    unread: Option<Finding>,
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
        let Patients { read, place, unread } = self.patients(client, namespace, now).await?;
        let overviews: Option<Vec<_>> = read.as_ref().map(|read| read.iter().map(|patient| patient.of.clone()).collect());
        let patients = read.unwrap_or_default();
        let of_namespace = self.name.as_ref().map(|_| namespace);
        findings.extend(cluster::operator(client, &self.operator.namespace, of_namespace, overviews.as_deref(), now).await);
        findings.push(clock.finding);
        let named = self.name.as_ref().and(patients.first());
        let accounts = cluster::accounts(client, named).await;
        findings.extend(accounts.findings(overviews.as_deref().unwrap_or_default()));
        let objects: Vec<_> = patients.iter().map(|patient| &patient.seen.object).collect();
        let missing = accounts.missing(&objects);
        let seen = [(!objects.is_empty(), "a connection"), (accounts.are_read(), "an AWSAccount")];
        let seen: Vec<_> = seen.into_iter().filter(|(is, _)| *is).map(|(_, whose)| whose).collect();
        findings.extend(permissions(&missing, &seen));
        let environment = crate::sdk::environment().await.map_err(|error| unusable(&error.to_string()));
        match &environment {
            Ok(environment) => findings.extend(network::endpoints(environment, &patients, &accounts).await),
            Err(finding) => findings.push(finding.clone()),
        }
        findings.extend(overviews.map(|overviews| connections(&overviews, place.as_deref())).unwrap_or_default());
        findings.extend(unread);
        if let Some(patient) = named {
            findings.extend(network::connection(client, patient, environment.as_ref().ok(), &accounts).await);
        }
        Ok(Diagnosis::of(findings, missing))
    }

    /// The named connection; without a name all that the user can list, at least those of the namespace.
    async fn patients(&self, client: &Client, namespace: &str, now: Timestamp) -> Result<Patients, Failure> {
        let patients = |seen: Vec<Seen>| Some(seen.into_iter().map(|seen| Patient { of: seen.overview(now), seen }).collect());
        let names: Vec<_> = self.name.iter().cloned().collect();
        let here = Connections::named(client, Some(namespace), &names);
        let (verb, about) = match &self.name {
            Some(name) => ("get", format!("connection {namespace}/{name}")),
            None => ("list", "connections".to_owned()),
        };
        let unread = |about: &str, place: &str, problem: &Problem| {
            Some(Finding::unread("connections", about, &format!("{verb} bucketconnections in {place}"), problem))
        };
        let others = if self.name.is_some() || self.cluster.namespace.is_some() {
            None
        } else {
            match Connections::named(client, None, &[]).list().await {
                Ok((seen, _)) => return Ok(Patients { read: patients(seen), place: None, unread: None }),
                Err(problem) => unread("connections of other namespaces", "all namespaces", &problem),
            }
        };
        let place = self.name.is_none().then(|| namespace.to_owned());
        match here.list().await {
            Ok((_, missing)) if !missing.is_empty() => Err(Failure(absent(namespace, &missing[0]))),
            Ok((seen, _)) => Ok(Patients { read: patients(seen), place, unread: others }),
            Err(problem) => Ok(Patients { read: None, place: None, unread: unread(&about, namespace, &problem) }),
        }
    }
}
