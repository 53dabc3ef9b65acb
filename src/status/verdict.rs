//! What a reconcile says about one part of a connection.

use super::Checked;
use crate::plan::{Action, Step};
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::Problem;

/// What a reconcile says about a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// True, False, or unknown.
    pub holds: Option<bool>,
    /// The cause.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// Only a person can fix it.
    pub stalled: bool,
    /// The read failed transiently: nothing new is known about the part.
    pub transient: bool,
}

impl Verdict {
    pub(super) fn holds(reason: Reason, message: impl Into<String>) -> Self {
        Self { holds: Some(true), reason, message: message.into(), stalled: false, transient: false }
    }

    pub(super) fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self { holds: None, reason, message: message.into(), stalled: false, transient: false }
    }

    /// A step that was not done: the part is known to differ.
    pub(super) fn of_problem(step: &Step, problem: &Problem, check: &Checked<'_>) -> Self {
        let what = crate::render::summary(step, check.desired);
        let (reason, text) = problem.describe(&check.desired.place());
        let hint = match &step.action {
            Action::WriteSetting(write) => write.hint(problem),
            _ => None,
        };
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Self {
            holds: Some(false),
            reason,
            message: format!("{what}: {text}{hint}"),
            stalled: problem.is_permanent(),
            transient: false,
        }
    }
}
