//! The operator as `bucketconnection run` starts it, except for the network and the clock.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use bucketconnection::aws::Sessions;
use bucketconnection::controller::{self, Metrics, Setup};
use bucketconnection::fence::Fence;
use bucketconnection::kubernetes::Kubernetes;
use bucketconnection::vocabulary::problem::Problem;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::clock;
use super::layers::OfAws;
use crate::cluster::Cluster;
use crate::model::client::config;
use crate::model::{Model, Pair};

/// Namespace of the operator itself.
pub const NAMESPACE: &str = "bucketconnection-system";

/// Runs forever.
pub async fn operate(cluster: Cluster, aws: SdkConfig) {
    let client = cluster.client();
    let kubernetes = retry_forever(|| Kubernetes::new(client.clone(), None)).await;
    let seal = retry_forever(|| kubernetes.seal(NAMESPACE)).await;
    let (sessions, fence, stop) = (Sessions::new(aws), Fence::open(), CancellationToken::new());
    let setup = Setup { sessions, kubernetes, seal, clock: clock::now, threads: false, namespace: None, fence, stop };
    controller::run(setup, &Metrics::new(true)).await;
}

async fn retry_forever<T, F: Future<Output = Result<T, Problem>>>(attempt: impl Fn() -> F) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
}

/// The configuration from the operator's environment (src/sdk/client.rs), with the same limits and retries.
pub fn environment(model: &Model, calls: &Calls, key: &Pair) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3_100))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build();
    config(model, Arc::new(OfAws(calls.clone())), key, "us-east-1")
        .to_builder()
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(100)))
        .build()
}
