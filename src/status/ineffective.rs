//! The writes that the next reconcile may find ineffective, and how often that happened: `plan::breaker` uses them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Checked;
use crate::api::IneffectiveWrite;
use crate::execute::Executed;
use crate::plan::breaker::{LIMIT, fingerprint};
use crate::plan::{Plan, Step};
use crate::vocabulary::conditions::ConditionType;

/// Writes within this time of each other count as one.
const SPACING_SECONDS: i64 = 5;

/// Most writes that are recorded.
const MOST: usize = 20;

/// The writes to record after a reconcile: those that it sent or held back, and earlier ones of the same parts. A write
/// that it read and found in sync is dropped.
pub(super) fn ineffective_writes(check: &Checked<'_>, now: Timestamp) -> Vec<IneffectiveWrite> {
    let Checked { remembered, plan, report, .. } = check;
    let print = |step: &Step| fingerprint(step, remembered);
    let known = |print: &String| remembered.ineffective_writes.iter().find(|repeat| repeat.fingerprint == *print);
    let held = plan
        .ineffective
        .iter()
        .filter_map(print)
        .filter(|held| !plan.steps.iter().any(|step| print(step).as_ref() == Some(held)));
    let mut now_known: Vec<IneffectiveWrite> = held.filter_map(|print| known(&print).cloned()).collect();
    for Executed { step, outcome } in &report.steps {
        let Some(fingerprint) = print(step) else { continue };
        let before = known(&fingerprint);
        let count = before.map_or(0, |repeat| repeat.count);
        // A try that failed says nothing about the write; a retry of a write that was held back counts as a try.
        if outcome.is_done() || count >= LIMIT {
            let path = step.diffs.first().map(|diff| diff.path.clone()).unwrap_or_default();
            let condition = step.part.to_string();
            // If a person or a test reverts the write at once, that does not show that it was ineffective.
            let last = before.map(|repeat| repeat.last_written_at.clone());
            let soon = |last: &Time| (0..SPACING_SECONDS).contains(&(now.as_second() - last.0.as_second()));
            let (count, last_written_at) = match last.filter(soon) {
                Some(last) if count < LIMIT => (count, last),
                _ => (LIMIT.min(count.saturating_add(1)), Time(now)),
            };
            now_known.push(IneffectiveWrite { condition, path, fingerprint, count, last_written_at });
        } else {
            now_known.extend(before.cloned());
        }
    }
    let known_now = |repeat: &IneffectiveWrite| now_known.iter().any(|known| known.fingerprint == repeat.fingerprint);
    // Writes that undo each other alternate: all of them count as ineffective as long as each reconcile writes to the
    // part.
    let counted = report.done().filter(|step| print(step).is_some());
    let written: BTreeSet<_> = counted.map(|step| step.part.to_string()).collect();
    let open = |repeat: &&IneffectiveWrite| {
        !known_now(repeat) && (written.contains(&repeat.condition) || unseen(plan, &repeat.condition))
    };
    let mut all: Vec<_> = remembered.ineffective_writes.iter().filter(open).cloned().chain(now_known.iter().cloned()).collect();
    all.sort_by_key(|repeat| Reverse(repeat.last_written_at.0));
    all.truncate(MOST);
    all
}

/// Whether the reconcile could not read the part.
fn unseen(plan: &Plan, part: &str) -> bool {
    use ConditionType::{BucketReady, CORSInSync, PolicyInSync, UserReady};
    let base = [(CORSInSync, BucketReady), (PolicyInSync, UserReady)].into_iter().find(|(of, _)| of.to_string() == part);
    let hides = |kind: ConditionType| kind.to_string() == part || base.is_some_and(|(_, base)| base == kind);
    plan.frozen || plan.blockers.iter().any(|blocker| blocker.problem.is_some() && hides(blocker.part))
}
