//! The context of a step, and its result.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Outcome, StepOutput};
use crate::api::BucketConnection;
use crate::aws::Aws;
use crate::credentials::KeyPair;
use crate::fence::Fence;
use crate::kubernetes::Kubernetes;
use crate::vocabulary::problem::Problem;

/// Returns the time: `Timestamp::now`, except in a simulation where hours pass in no time. It is used for times in the
/// objects, the Secret and the status. Waits use tokio's time, which a simulation also controls.
pub type Clock = fn() -> Timestamp;

/// The context in which a plan is executed.
pub struct Ports<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// Kubernetes.
    pub kubernetes: &'a Kubernetes,
    /// The object.
    pub object: &'a BucketConnection,
    /// Canceled when the process should end, or when something urgent is requested for the object: then the plan waits
    /// for nothing anymore.
    pub stop: CancellationToken,
    /// Returns the current time.
    pub clock: Clock,
    /// Closed when another operator may be active.
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
