//! What blocks the deletion of an object.

use super::denials::denials;
use crate::execute::{Executed, Outcome, Report};
use crate::plan::{Blocker, Plan};
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::Place;

/// What blocks a deletion; `None` if nothing failed.
pub fn deletion_trouble(plan: &Plan, report: &Report) -> Option<Blocker> {
    let failed = report.undone().find_map(|Executed { step, outcome }| {
        let problem = outcome.problem()?;
        let stalled = matches!(outcome, Outcome::Failed(_)) && problem.is_permanent();
        Some(Blocker { stalled, ..Blocker::unreadable(step.part, problem, &Place::default()) })
    });
    let cause = plan.blockers.iter().cloned().chain(failed).max_by_key(|blocker| blocker.stalled)?;
    match denials(plan, report, None) {
        Some(message) if cause.reason == Reason::AccessDenied => Some(Blocker { message, ..cause }),
        _ => Some(cause),
    }
}
