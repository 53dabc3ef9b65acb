//! The end of every reconcile: the status, Events, the log, and the time of the next reconcile.

use std::time::Duration;

use kube::ResourceExt;

use super::Context;
use super::accounts::Opened;
use super::counts::{count, count_steps};
use crate::api::{BucketConnection, BucketConnectionStatus};
use crate::desired::Desired;
use crate::execute::{Executed, Ports, Report};
use crate::status::{self, Reconcile, Stage, fold, notes, worth_writing};
use crate::vocabulary::problem::{Class, Problem};

/// What the steps of a plan for `object` need.
pub(super) fn ports<'a>(object: &'a BucketConnection, opened: &'a Opened, context: &'a Context) -> Ports<'a> {
    let Context { kubernetes, fence, clock, .. } = context;
    let stop = context.running.token(&object.uid().unwrap_or_default());
    Ports { aws: &opened.aws, kubernetes, object, stop, fence, clock: *clock }
}

/// The end of every reconcile: folds, writes the status if it has news, publishes Events, and determines the time of
/// the next reconcile.
pub(super) async fn finish(object: &BucketConnection, stage: Stage<'_>, context: &Context) -> Result<Option<Duration>, Problem> {
    // Another operator may have written since: this reconcile ends as if the process had ended.
    context.fence.ensure_valid_for(Duration::ZERO)?;
    let suspended = matches!(stage, Stage::Suspended);
    let revoking = matches!(stage, Stage::Revoking(_));
    let reconcile = Reconcile { object, now: (context.clock)(), stage };
    let before = object.status.clone().unwrap_or_default();
    let mut after = fold(&reconcile);
    context.seal.mark(object, &mut after);
    let done = match &reconcile.stage {
        Stage::Checked(check) => Some((check.desired, check.plan, check.report)),
        _ => None,
    };
    // Also if the status cannot be written.
    if let Some((_, plan, report)) = done {
        count_steps(plan, report);
    }
    if worth_writing(&before, &after, reconcile.now) {
        context.kubernetes.write_status(object, &after).await.or_else(|problem| match problem.class {
            // The object was deleted in the meantime: nothing to report.
            Class::Missing => Ok(()),
            _ => Err(problem),
        })?;
    }
    for note in notes(&before, &after, done) {
        context.kubernetes.publish(object, note.warning, note.reason, &note.text).await;
    }
    count(object, &before, &after, &context.changes, reconcile.now);
    log(&after, done.map(|(desired, _, report)| (desired, report)));
    let uid = object.uid().unwrap_or_default();
    if suspended {
        context.backoff.forget(&uid);
        return Ok(None);
    }
    match status::pending_revocation(object, &after) {
        // The next reconcile issues another key.
        None if revoking => return Ok(Some(Duration::ZERO)),
        // The user is known only now.
        Some(_) if !revoking && after.memory.user.is_some() => return Ok(Some(Duration::ZERO)),
        _ => {}
    }
    let (report, began) = match &reconcile.stage {
        Stage::Checked(check) => (Some(check.report), check.began),
        _ => (None, reconcile.now),
    };
    let next = context.backoff.next(&uid, &after, report, Duration::from(object.spec.resync_interval));
    // The status has whole seconds.
    let due = status::due(&after, began, (context.clock)()).map(|due| due.unsigned_abs() + Duration::from_secs(1));
    Ok(Some(due.map_or(next, |due| next.min(due))))
}

fn log(status: &BucketConnectionStatus, done: Option<(&Desired, &Report)>) {
    if let Some((desired, report)) = done {
        for Executed { step, outcome } in &report.steps {
            let what = crate::render::summary(step, desired);
            match outcome.problem() {
                Some(problem) => tracing::warn!(step = what, %problem, "not done"),
                None => tracing::info!(step = what, drift = step.drift, done = outcome.is_done(), "step"),
            }
        }
    }
    if let Some(ready) = crate::status::condition(status, crate::vocabulary::conditions::ConditionType::Ready) {
        tracing::info!(ready = ready.status, reason = ready.reason, detail = ready.message, "reconcile ended");
    }
}
