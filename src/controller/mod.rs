//! The controller: watches the objects, runs one pass at a time over each, and decides when the next one is due.

mod backoff;
mod reconcile;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::aws::Aws;
use crate::kubernetes::Kubernetes;

pub use reconcile::{PreviewError, preview};
pub use watch::run;

/// What every pass shares.
pub struct Context {
    /// AWS.
    pub aws: Aws,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// The only namespace to work in; all without it.
    pub namespace: Option<String>,
    /// Cancelled when the process should end: passes end early where they only wait.
    pub stop: CancellationToken,
    backoff: backoff::Backoff,
}

impl Context {
    /// Puts together what every pass shares.
    pub fn new(aws: Aws, kubernetes: Kubernetes, namespace: Option<String>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { aws, kubernetes, namespace, stop, backoff: backoff::Backoff::default() })
    }
}
