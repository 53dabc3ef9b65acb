//! What a step is run with, and what comes of it.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Outcome, StepOutput};
use crate::api::BucketConnection;
use crate::aws::Aws;
use crate::credentials::KeyPair;
use crate::fence::Fence;
use crate::kubernetes::Kubernetes;
use crate::vocabulary::problem::Problem;

/// Tells the time: `Timestamp::now`, except in a simulation that makes hours pass in no time. It stands in the objects, in the
/// Secret and in the status; how long something is waited for is tokio's time, which a simulation sets too.
pub type Clock = fn() -> Timestamp;

/// What a plan is carried out with, and for whom.
pub struct Ports<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// Kubernetes.
    pub kubernetes: &'a Kubernetes,
    /// The object.
    pub object: &'a BucketConnection,
    /// Cancelled when the process should end, or something urgent is asked for the object: then nothing is waited for any longer.
    pub stop: CancellationToken,
    /// What time it is.
    pub clock: Clock,
    /// Closed when another operator may be at work.
    pub fence: &'a Fence,
}

/// The result of a step, and the key that was issued in it.
pub(super) struct StepResult {
    pub(super) outcome: Outcome,
    pub(super) key: Option<Issued>,
}

/// A key that was issued by this plan, and when.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) key: KeyPair,
    pub(super) at: Timestamp,
}

impl From<Outcome> for StepResult {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, key: None }
    }
}

impl From<Result<(), Problem>> for StepResult {
    fn from(result: Result<(), Problem>) -> Self {
        result.map(|()| StepOutput::Nothing).into()
    }
}

impl From<Result<StepOutput, Problem>> for StepResult {
    fn from(result: Result<StepOutput, Problem>) -> Self {
        result.map_or_else(Outcome::Failed, Outcome::Done).into()
    }
}
