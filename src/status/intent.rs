//! The status that the operator writes before it executes a plan, so that a crash leaves nothing unexplained: the
//! intent to issue a key, and the names of a policy, a Secret or a Role that it is about to write.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::conditions::{condition, is_true, set};
use super::credentials;
use crate::api::{BucketConnection, BucketConnectionStatus};
use crate::desired::{Desired, names};
use crate::plan::{Action, Plan, revocation};
use crate::vocabulary::conditions::{ConditionType, Reason};

/// The status to write before `plan` is executed; `None` if nothing in the plan must be recorded first.
pub fn intend(object: &BucketConnection, desired: &Desired, plan: &Plan, now: Timestamp) -> Option<BucketConnectionStatus> {
    let issues = plan.steps.iter().any(|step| matches!(step.action, Action::IssueKey { .. }));
    let revokes = plan.steps.iter().find_map(|step| match step.action {
        Action::DenyAllAccess { sessions_before } => sessions_before,
        _ => None,
    });
    let mut status = object.status.clone().unwrap_or_default();
    let writes_policy =
        plan.steps.iter().any(|step| matches!(step.action, Action::PutInlinePolicy { .. } | Action::CreatePolicy { .. }));
    let identity = desired.policy.identity();
    let new_policy = writes_policy && !status.memory.policy.as_ref().is_some_and(|policy| policy.is(&identity));
    let main = &desired.secret.name;
    let writes_secret = plan.steps.iter().any(|step| match &step.action {
        Action::IssueKey { secret: name, .. } | Action::WriteSecret { name, .. } => name == main,
        _ => false,
    });
    let named = status.memory.credentials.as_ref().and_then(|credentials| credentials.secret_name.as_ref());
    let new_secret = writes_secret && named != Some(main);
    let grants = plan.steps.iter().any(|step| matches!(step.action, Action::WriteRole { .. } | Action::WriteRoleBinding { .. }));
    let readers = &desired.access.name;
    let new_readers = grants && !status.memory.access.as_ref().is_some_and(|known| known.roles.contains(readers));
    let writing = |section: &str| plan.steps.iter().any(|step| step.action.section() == section);
    let adds: BTreeMap<_, _> = plan
        .adds
        .iter()
        .filter(|(section, _)| writing(section))
        .map(|(section, names)| ((*section).to_owned(), names.clone()))
        .collect();
    let new_names = !adds.is_empty() && status.memory.writing != adds;
    if !issues && revokes.is_none() && !new_policy && !new_secret && !new_readers && !new_names {
        return None;
    }
    if new_names {
        status.memory.writing = adds;
    }
    if new_secret {
        let credentials = status.memory.credentials.get_or_insert_default();
        let own = credentials.secret_name.as_ref().zip(credentials.version).map(|(name, number)| names::version(name, number));
        credentials.earlier_secrets.extend(own);
        credentials.earlier_secrets.extend(credentials.secret_name.replace(main.clone()));
    }
    if new_readers {
        status.memory.access.get_or_insert_default().roles.push(readers.clone());
    }
    if new_policy {
        status.memory.earlier_policies.extend(status.memory.policy.replace(identity));
    }
    let generation = object.metadata.generation;
    if let Some(before) = revokes {
        status.memory.credentials.get_or_insert_default().revocation = Some(revocation::revocation(before));
    }
    if issues {
        credentials::before(status.memory.credentials.get_or_insert_default(), plan, desired, now);
    }
    // A failure that a person must fix is retried in each reconcile: that is not progress, and is not reported each
    // time.
    let stalled = condition(&status, ConditionType::Stalled);
    if stalled.is_some_and(|stalled| stalled.status == "True" && stalled.observed_generation == generation) {
        return Some(status);
    }
    status.observed_generation = generation;
    let text = "the plan is being carried out";
    set(&mut status.conditions, generation, now, ConditionType::Reconciling, Some(true), Reason::Progressing, text);
    if !is_true(&status, ConditionType::Ready) {
        set(&mut status.conditions, generation, now, ConditionType::Ready, Some(false), Reason::Progressing, text);
    }
    Some(status)
}
