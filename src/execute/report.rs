//! The result of a plan: one outcome for each step.

use jiff::Timestamp;
use serde::Deserialize;

use crate::observed::ProbeResult;
use crate::problem::Problem;
use crate::settings::tags::Tags;

/// Outcomes, in the order of the plan's steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One for each step.
    pub outcomes: Vec<Outcome>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done(StepOutput),
    /// It was refused or could not be sent: nothing has changed.
    Failed(Problem),
    /// No answer came: it may or may not have been executed. The next reconcile finds out.
    Unknown(Problem),
    /// It continues in the next reconcile.
    Pending(Problem),
    /// A step that it depends on was not done, so it was not tried.
    Skipped,
}

/// What a step found out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub enum StepOutput {
    Nothing,
    /// The bucket was created between these times.
    Bucket {
        from: Timestamp,
        to: Timestamp,
    },
    User {
        id: String,
    },
    /// The managed policy has this version now; a new one has this id.
    Policy {
        version: String,
        id: Option<String>,
    },
    /// The user has these tags now.
    Recorded(Tags),
    Key {
        id: String,
        created_at: Timestamp,
    },
    /// The results of the optional verification calls; some may have failed. The key itself works.
    ProbeResult(Vec<ProbeResult>),
}

impl Outcome {
    /// Done, with nothing to report.
    pub const DONE: Self = Self::Done(StepOutput::Nothing);

    /// Whether the step is done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The problem, if there is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed(problem) | Self::Unknown(problem) | Self::Pending(problem) => Some(problem),
            Self::Done(_) | Self::Skipped => None,
        }
    }
}
