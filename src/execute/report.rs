//! The result of a plan: one outcome for each step.

use jiff::Timestamp;

use crate::observed::ProbeResult;
use crate::plan::{Action, Step};
use crate::settings::tags::Tags;
use crate::vocabulary::problem::Problem;

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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum StepOutput {
    /// Nothing.
    Nothing,
    /// The bucket was created.
    Bucket {
        /// A time before the call.
        from: Timestamp,
        /// A time after the call.
        to: Timestamp,
    },
    /// The user was created.
    User {
        /// Its id, which AWS never gives twice.
        id: String,
    },
    /// The managed policy was written.
    Policy {
        /// Its default version.
        version: String,
        /// Its id, if it is new.
        id: Option<String>,
    },
    /// The tags that the user now has.
    Recorded(Tags),
    /// A key was issued and is in its Secret.
    Key {
        /// Its id.
        id: String,
        /// When AWS created it.
        created_at: Timestamp,
    },
    /// What was tried with the key. The key works; a later probe may have failed.
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
