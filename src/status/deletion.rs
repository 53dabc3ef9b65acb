//! What blocks the deletion of an object.

use super::denials::denials;
use crate::execute::{Executed, Outcome, Report};
use crate::plan::{Blocker, Plan};
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::Place;

/// What blocks a deletion; `None` if nothing failed.
pub fn deletion_trouble(plan: &Plan, report: &Report) -> Option<Blocker> {
    let failed = report.undone().filter_map(|Executed { step, outcome }| {
        let problem = outcome.problem()?;
        let stalled = matches!(outcome, Outcome::Failed(_)) && problem.is_permanent();
        Some(Blocker { stalled, ..Blocker::unreadable(step.part, problem, &Place::default()) })
    });
    // A denial comes first: other failures may follow from it, as a user with a policy cannot be deleted.
    let is_denied = |blocker: &Blocker| blocker.reason == Reason::AccessDenied;
    let failed: Vec<_> = failed.collect();
    let failed = failed.iter().find(|blocker| is_denied(blocker)).or(failed.first()).cloned();
    let all = plan.blockers.iter().cloned().chain(failed);
    let cause = all.max_by_key(|blocker| (blocker.stalled, is_denied(blocker)))?;
    match denials(plan, report, None) {
        Some(message) if cause.reason == Reason::AccessDenied => Some(Blocker { message, ..cause }),
        _ => Some(cause),
    }
}
