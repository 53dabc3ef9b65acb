//! The result of a plan: one outcome for each step.

use jiff::Timestamp;
use serde::Deserialize;

use crate::observed::ProbeResult;
use crate::plan::{Action, Step};
use crate::problem::Problem;
use crate::settings::tags::Tags;

/// What was executed of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// All steps of the plan, in its order, each with its outcome. Empty if the plan was not executed.
    pub steps: Vec<Executed>,
}

/// A step and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    /// The step.
    pub step: Step,
    /// Its outcome.
    pub outcome: Outcome,
}

impl Report {
    /// The steps that are done.
    pub fn done(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|executed| executed.outcome.is_done()).map(|executed| &executed.step)
    }

    /// The steps that are not done.
    pub fn undone(&self) -> impl Iterator<Item = &Executed> {
        self.steps.iter().filter(|executed| !executed.outcome.is_done())
    }

    /// Whether a step with such an action is done.
    pub fn did(&self, is: impl Fn(&Action) -> bool) -> bool {
        self.done().any(|step| is(&step.action))
    }

    /// The outcome of the first step with such an action.
    pub fn outcome(&self, is: impl Fn(&Action) -> bool) -> Option<&Outcome> {
        self.steps.iter().find(|executed| is(&executed.step.action)).map(|executed| &executed.outcome)
    }

    /// What the steps that are done returned.
    pub fn outputs(&self) -> impl Iterator<Item = &StepOutput> {
        self.steps.iter().filter_map(|executed| match &executed.outcome {
            Outcome::Done(output) => Some(output),
            _ => None,
        })
    }
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
