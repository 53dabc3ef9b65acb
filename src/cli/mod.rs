//! The command line: one file per subcommand, with only calls to the other modules.

mod check;
mod crds;
mod file;
mod iam_policy;
mod log;
mod plan;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Resource};
use rustix::process::{Resource as Limit, Rlimit, setrlimit};

use crate::kubernetes::call;
use crate::render::printable;
use crate::telemetry::Requests;
use crate::vocabulary::problem::Problem;

/// Connects S3 buckets to the platforms that work on them, and keeps them connected.
#[derive(Parser)]
#[command(name = "bucketconnection", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Crds(crds::Crds),
    Plan(plan::Plan),
    IamPolicy(iam_policy::IamPolicy),
}

/// The Kubernetes cluster.
#[derive(clap::Args)]
struct Cluster {
    /// kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Id that distinguishes this cluster from others that use the same AWS account; it is part of every ownership tag, so keep it if
    /// you rebuild the cluster [default: uid of the namespace kube-system]
    #[arg(long, value_name = "ID", env = "BUCKETCONNECTION_CLUSTER_ID", value_parser = cluster_id)]
    cluster_id: Option<String>,
}

fn cluster_id(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("use up to 64 letters, digits and - _ .".to_owned()) }
}

/// The value of one `--namespace`.
fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text {
        "" => Err("a name is empty; name at least one namespace, or omit the option for all namespaces".to_owned()),
        _ if text.len() > 63 || !text.chars().all(fits) || text.starts_with('-') || text.ends_with('-') => {
            Err("not a name of a namespace; use up to 63 lower-case letters, digits and hyphens".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// The values of `--namespace`, in alphabetical order; none for the whole cluster.
fn distinct(names: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = names.to_vec();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure(format!("--namespace names {} more than once; name each namespace once", pair[0]))),
        None => Ok(names),
    }
}

impl Cluster {
    async fn client(&self) -> Result<Client, Failure> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig = kube::config::Kubeconfig::read_from(file)
                    .map_err(|error| Failure(format!("--kubeconfig {}: {error}", file.display())))?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await,
            None => {
                let config = kube::Config::infer().await;
                let hint = "set KUBECONFIG or --kubeconfig, or run in a pod";
                return connect(config.map_err(|error| Failure(format!("no Kubernetes cluster to talk to; {hint}: {error}")))?);
            }
        };
        connect(config.map_err(|error| Failure(format!("the kubeconfig cannot be used: {error}")))?)
    }
}

/// Whether the API server knows the kind of these objects, and allows listing them. `action` is what to report.
async fn listable<K>(objects: &Api<K>, action: &str) -> Result<(), Problem>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    call(action, async { objects.list_metadata(&ListParams::default().limit(1)).await.map(drop) }).await
}

/// A client that counts its requests.
fn connect(config: kube::Config) -> Result<Client, Failure> {
    let builder = ClientBuilder::try_from(config).map_err(|error| Failure(format!("cannot talk to Kubernetes: {error}")))?;
    Ok(builder.with_layer(&Requests).build())
}

/// Why a command failed, for the user.
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the requested command.
pub async fn main(cli: Cli) -> ExitCode {
    close_memory();
    let result = match cli.command {
        Command::Run(command) => command.run().await,
        Command::Check(command) => command.run().await,
        Command::Crds(command) => command.run(),
        Command::Plan(command) => command.run().await,
        Command::IamPolicy(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(Failure(text)) => {
            warn(&text);
            ExitCode::FAILURE
        }
    }
}

/// Keys are in this process's memory: it writes no core dump, and on Linux only root may read its memory.
fn close_memory() {
    let closed = setrlimit(Limit::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let closed = closed.and(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable));
    if let Err(error) = closed {
        warn(&format!("core dumps cannot be switched off: {error}"));
    }
}

/// Prints a warning to standard error.
fn warn(text: &str) {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("bucketconnection: {}\n", lines.join("\n")).as_bytes());
}

/// Writes to standard output; a closed pipe is not an error.
fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
