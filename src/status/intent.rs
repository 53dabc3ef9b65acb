//! What is written to the status before a plan is carried out, so that a crash in between leaves nothing unexplained: the intent to
//! issue a key, and the names of a policy, a Secret or a Role that are about to be written.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{is_true, set};
use crate::api::conditions::{ConditionType, Reason};
use crate::api::{BucketConnection, BucketConnectionStatus, KeyIntent, KeyPhase};
use crate::desired::Desired;
use crate::plan::{Action, Plan, Step};

/// How long issuing a key takes at most: the steps before it, the call's timeout, and the attempts to write the Secret.
const ATTEMPT: SignedDuration = SignedDuration::from_mins(5);

/// The status to write before `plan` is carried out; `None` where the plan does nothing that must be remembered first.
pub fn intend(object: &BucketConnection, desired: &Desired, plan: &Plan, now: Timestamp) -> Option<BucketConnectionStatus> {
    let known_keys = plan.steps.iter().find_map(|step| match &step.action {
        Action::IssueKey { known, .. } => Some(known.clone()),
        _ => None,
    });
    let goes = |step: &Step| match &step.action {
        Action::DeleteKey { id } => Some(id.clone()),
        _ => None,
    };
    let mut status = object.status.clone().unwrap_or_default();
    let writes_policy =
        plan.steps.iter().any(|step| matches!(step.action, Action::PutInlinePolicy { .. } | Action::CreatePolicy { .. }));
    let identity = desired.policy.identity();
    let new_policy = writes_policy && !status.policy.as_ref().is_some_and(|policy| policy.is(&identity));
    let writes_secret = plan.steps.iter().any(|step| matches!(step.action, Action::IssueKey { .. } | Action::WriteSecret { .. }));
    let named = status.credentials.as_ref().and_then(|credentials| credentials.secret_name.as_ref());
    let new_secret = writes_secret && named != Some(&desired.secret.name);
    let grants = plan.steps.iter().any(|step| matches!(step.action, Action::WriteRole { .. } | Action::WriteRoleBinding { .. }));
    let readers = &desired.access.name;
    let new_readers = grants && !status.permissions.as_ref().is_some_and(|known| known.roles.contains(readers));
    if known_keys.is_none() && !new_policy && !new_secret && !new_readers {
        return None;
    }
    if new_secret {
        let credentials = status.credentials.get_or_insert_default();
        credentials.earlier_secrets.extend(credentials.secret_name.replace(desired.secret.name.clone()));
    }
    if new_readers {
        status.permissions.get_or_insert_default().roles.push(readers.clone());
    }
    if new_policy {
        status.earlier_policies.extend(status.policy.replace(identity));
    }
    let generation = object.metadata.generation;
    if let Some(known_keys) = known_keys {
        let credentials = status.credentials.get_or_insert_default();
        credentials.phase = Some(KeyPhase::Issuing);
        // An earlier attempt that is not accounted for yet stays explained until its key has been looked for and deleted.
        let since = credentials.intent.take().map_or(Time(now), |earlier| earlier.since);
        let until = Time(now.saturating_add(ATTEMPT).unwrap_or(now));
        credentials.retiring = plan.steps.iter().filter_map(goes).collect();
        credentials.intent = Some(KeyIntent { since, until, known_keys });
    }
    status.observed_generation = generation;
    let text = "the plan is being carried out";
    set(&mut status.conditions, generation, now, ConditionType::Reconciling, Some(true), Reason::Progressing, text);
    if !is_true(&status, ConditionType::Ready) {
        set(&mut status.conditions, generation, now, ConditionType::Ready, Some(false), Reason::Progressing, text);
    }
    Some(status)
}
