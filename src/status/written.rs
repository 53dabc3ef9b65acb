//! The last written values, by section, so that the next reconcile can recognize drift.

use std::collections::{BTreeMap, BTreeSet};

use super::Checked;
use crate::api::ManagementMode;
use crate::observed::Bucket;
use crate::plan::Action;
use crate::vocabulary::conditions::ConditionType;

type Written = BTreeMap<String, String>;

/// The fingerprints after a reconcile that began with `before`: the desired value for sections in sync, the one of
/// `before` for sections that could not be read or not be written yet. Nothing for a section that is not complete yet.
pub(super) fn written(mut before: Written, check: &Checked<'_>) -> Written {
    let Checked { desired, observed, plan, report, .. } = check;
    if plan.frozen {
        return before;
    }
    let undone = report.undone().map(|executed| &executed.step);
    let mut open: BTreeSet<&str> = undone.chain(&plan.ineffective).map(|step| step.action.section()).collect();
    open.extend(&plan.open);
    let blocked = |part| plan.blockers.iter().any(|blocker| blocker.part == part);
    let made = report.did(|action| matches!(action, Action::CreateBucket { .. }));
    let there = made || matches!(observed.bucket, Bucket::There(_));
    let in_force = |section: &str| match section {
        _ if open.contains(section) => false,
        "user" => !blocked(ConditionType::UserReady),
        "policy" => !blocked(ConditionType::PolicyInSync),
        "credentials" => !blocked(ConditionType::CredentialsReady),
        "access" => !blocked(ConditionType::AccessInSync),
        _ => there,
    };
    let enforced = desired.fingerprints().into_iter();
    let enforced = enforced.filter(|(section, _)| desired.management.of(section) == ManagementMode::Enforce);
    let enforced = enforced.filter(|(section, _)| !plan.unfinished.contains(section));
    let known = enforced.filter_map(|(section, wanted)| {
        let known = if in_force(section) { Some(wanted) } else { before.remove(section) };
        Some((section.to_owned(), known?))
    });
    known.collect()
}
