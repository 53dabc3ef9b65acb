//! `bucketconnection check`.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kube::Api;

use super::{distinct, namespace};
use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::cli::cluster::{Cluster, listable};
use crate::cli::terminal::print;
use crate::kubernetes::Kubernetes;
use crate::vocabulary::problem::Problem;

const TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// More than the answer of /healthz.
const ANSWER_BYTES: u64 = 4_096;

/// Check an installation: the CRDs, permissions to read the objects, a running operator
///
/// Changes nothing, and calls no AWS service. The exit code is 0 if everything is in order, and 1 otherwise.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection check

  # Wait up to 60 seconds for a healthy operator, as helm test does
  bucketconnection check --operator bucketconnection.bucketconnection-system.svc:8080")]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    cluster: Cluster,

    /// The namespaces that the operator reconciles, separated by commas [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE", env = "BUCKETCONNECTION_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    namespace: Vec<String>,

    /// Address of an operator that must be healthy, such as bucketconnection.bucketconnection-system.svc:8080
    #[arg(long, value_name = "HOST:PORT")]
    operator: Option<String>,

    /// How many seconds to wait for that operator
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

impl Check {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let namespaces = distinct(&self.namespace)?;
        let kubernetes = Kubernetes::new(self.cluster.client().await?, self.cluster.cluster_id.clone()).await?;
        print(&format!("cluster {}\n", kubernetes.cluster));
        let client = || kubernetes.client.clone();
        if namespaces.is_empty() {
            lists(&Api::<BucketConnection>::all(client()), "list bucketconnections in all namespaces").await?;
        }
        for namespace in &namespaces {
            let objects = Api::<BucketConnection>::namespaced(client(), namespace);
            lists(&objects, &format!("list bucketconnections in {namespace}")).await?;
        }
        lists(&Api::<AWSAccount>::all(client()), "list awsaccounts").await?;
        if let Some(operator) = &self.operator {
            // There is nothing else to do meanwhile.
            tokio::task::block_in_place(|| healthy(operator, Instant::now() + Duration::from_secs(self.timeout)))?;
            print(&format!("operator {operator}: healthy\n"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the API server knows this kind and allows listing its objects.
async fn lists<K>(objects: &Api<K>, action: &str) -> Result<(), Problem>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    listable(objects, &format!("{action} (are the CRDs installed?)")).await?;
    print(&format!("{action}: allowed\n"));
    Ok(())
}

/// Waits until GET /healthz at `address` returns 200.
fn healthy(address: &str, end: Instant) -> Result<(), Failure> {
    loop {
        let answer = health(address);
        let why = match answer.map(|answer| answer.lines().next().unwrap_or_default().to_owned()) {
            Ok(status) if status.split(' ').nth(1) == Some("200") => return Ok(()),
            Ok(status) => status,
            Err(error) => error.to_string(),
        };
        if Instant::now() >= end {
            return Err(Failure(format!(
                "--operator {address}: GET /healthz: {why}; is a replica ready, and does a NetworkPolicy allow this?"
            )));
        }
        std::thread::sleep(PAUSE);
    }
}

fn health(address: &str) -> std::io::Result<String> {
    let found = address.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("the host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&found, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
