//! `bucketconnection run`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, Client};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::log::{self, LogFormat};
use super::{distinct, namespace};
use crate::api::{AWSAccount, BucketConnection};
use crate::aws::Sessions;
use crate::cli::Failure;
use crate::cli::cluster::{Cluster, OperatorNamespace, listable};
use crate::controller::{self, Metrics, Setup};
use crate::fence::Fence;
use crate::kubernetes::{Kubernetes, Lease};
use crate::sdk;
use crate::telemetry::traces;
use crate::vocabulary::problem::Problem;

const PAUSE: Duration = Duration::from_secs(5);
/// Name of the lease.
const LEASE: &str = "bucketconnection";

/// Run the operator
///
/// Signs in to AWS with the AWS SDK's usual environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity (IRSA), a
/// container role (Pod Identity) or an instance role. Also uses AWS_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE, HTTPS_PROXY and
/// NO_PROXY. Sends traces if OTEL_EXPORTER_OTLP_ENDPOINT is set.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  # For the whole cluster, as in the chart
  bucketconnection run

  # For two namespaces, from your machine
  bucketconnection run --namespace lab-a,lab-b --metrics-address off --log debug")]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    cluster: Cluster,

    /// Reconcile only these namespaces, separated by commas; the option can also be repeated [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE", env = "BUCKETCONNECTION_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    namespace: Vec<String>,

    #[command(flatten)]
    operator: OperatorNamespace,

    /// Run without a lease; only if no second operator for the same objects can start
    #[arg(long)]
    no_lease: bool,

    /// Address and port of GET /metrics, for Prometheus, GET /healthz and GET /readyz; off disables them
    #[arg(long, value_name = "ADDRESS", env = "BUCKETCONNECTION_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: Listen,

    /// Whether /metrics has series for each connection, not only for each account
    #[arg(
        long,
        value_name = "BOOL",
        env = "BUCKETCONNECTION_PER_OBJECT_METRICS",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    per_object_metrics: bool,

    /// What to log, such as info or bucketconnection=debug,kube=warn
    #[arg(long, value_name = "FILTER", env = "BUCKETCONNECTION_LOG", default_value = "info")]
    log: String,

    /// Format of log lines: for people or for machines [default: human on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// The address to listen on, if any.
#[derive(Clone, Copy)]
struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))).map_err(|_| "write it as 0.0.0.0:8080 or [::]:8080".to_owned()),
        }
    }
}

impl Run {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let namespaces = distinct(&self.namespace)?;
        let traces = traces()?;
        log::start(&self.log, self.log_format, traces.as_ref())?;
        controller::log_panics();
        let stop = stop_on_signals()?;
        let sessions = Sessions::new(sdk::environment().await?);
        let client = self.cluster.client().await?;
        let metrics = self.metrics().await?;
        let started = async {
            let cluster = || Kubernetes::new(client.clone(), self.cluster.cluster_id.clone());
            let kubernetes = retry_forever(cluster, &metrics).await;
            retry_forever(|| crds_installed(&kubernetes, namespaces.is_empty()), &metrics).await;
            let seal = retry_forever(|| kubernetes.seal(&self.operator.namespace), &metrics).await;
            (kubernetes, seal)
        };
        let (kubernetes, seal) = tokio::select! {
            started = started => started,
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster = kubernetes.cluster, "started");
        let leases = lease_names(&namespaces);
        let setup = |fence| Setup {
            sessions,
            kubernetes,
            seal,
            clock: Timestamp::now,
            threads: true,
            namespaces,
            fence,
            stop: stop.clone(),
        };
        let work = |fence| controller::run(setup(fence), &metrics);
        if self.no_lease {
            work(Fence::open()).await;
        } else {
            self.with_leases(client, leases, &stop, &metrics, work).await?;
        }
        tracing::info!("stopped");
        if let Some(traces) = traces {
            tokio::task::spawn_blocking(|| traces.end()).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Works while all leases are held; running reconciles end before the leases are released.
    async fn with_leases<W: Future<Output = ()>>(
        &self,
        client: Client,
        names: Vec<String>,
        stop: &CancellationToken,
        metrics: &Metrics,
        work: impl FnOnce(Fence) -> W,
    ) -> Result<(), Failure> {
        let (mut fences, mut kept, ended) = (Vec::new(), Vec::new(), CancellationToken::new());
        for name in names {
            let mut lease = Lease::new(client.clone(), &self.operator.namespace, name);
            tokio::select! {
                () = lease.acquire(|tried| metrics.standby(tried.map_err(ToString::to_string))) => {}
                () = stop.cancelled() => break,
            }
            fences.push(lease.fence());
            // A separate task: the lease is renewed in time, whatever the reconciles do.
            kept.push(tokio::spawn(lease.keep(stop.clone(), ended.clone())));
        }
        if !stop.is_cancelled() {
            work(Fence::all(fences)).await;
        }
        ended.cancel();
        for kept in futures::future::join_all(kept).await {
            kept?.map_err(Failure)?;
        }
        Ok(())
    }

    /// Served from the start: a replica that waits for the lease is healthy too.
    async fn metrics(&self) -> Result<Arc<Metrics>, Failure> {
        let metrics = Arc::new(Metrics::new(self.per_object_metrics));
        if let Listen(Some(address)) = self.metrics_address {
            let bound = metrics.serve(address).await;
            let address = bound.map_err(|error| {
                Failure(format!("--metrics-address {address}: {error}; choose another, or off for no metrics"))
            })?;
            tracing::info!(%address, "serves /metrics, /healthz and /readyz");
        }
        Ok(metrics)
    }
}

/// One lease for each namespace: so two operators never reconcile the same namespace, whatever else they list. All
/// operators acquire them in the same order, so that none waits for another one that waits for it.
fn lease_names(namespaces: &[String]) -> Vec<String> {
    match namespaces {
        [] => vec![LEASE.to_owned()],
        _ => namespaces.iter().map(|namespace| format!("{LEASE}-{namespace}")).collect(),
    }
}

/// Waits for the CRDs, which are installed together. An operator of listed namespaces does not wait for these: one may
/// not exist yet.
async fn crds_installed(kubernetes: &Kubernetes, whole_cluster: bool) -> Result<(), Problem> {
    let client = &kubernetes.client;
    let action = |resource: &str| format!("list {resource} (are the CRDs installed? kubectl apply --server-side -f crds/)");
    listable(&Api::<AWSAccount>::all(client.clone()), &action("awsaccounts")).await?;
    if !whole_cluster {
        return Ok(());
    }
    listable(&Api::<BucketConnection>::all(client.clone()), &action("bucketconnections")).await
}

/// Retries until it works: a dependency that is missing at the start may appear, and a restart would only hide the
/// problem.
async fn retry_forever<T, F: Future<Output = Result<T, Problem>>>(attempt: impl Fn() -> F, metrics: &Metrics) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(problem) => {
                tracing::warn!(%problem, "waiting");
                metrics.standby(Err(problem.to_string()));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: running reconciles end first");
        token.cancel();
    });
    Ok(stop)
}
