//! What is written to the status before a plan is carried out, so that a crash in between leaves nothing unexplained: the intent to
//! issue a key, and the names of a policy, a Secret or a Role that are about to be written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{condition, is_true, set};
use crate::api::conditions::{ConditionType, Reason};
use crate::api::{BucketConnection, BucketConnectionStatus, KeyIntent, KeyPhase, PendingKey};
use crate::desired::{Desired, names};
use crate::keys::ATTEMPT;
use crate::plan::{Action, Plan, Step, revocation};
use crate::settings::short_name;

/// The status to write before `plan` is carried out; `None` where the plan does nothing that must be remembered first.
pub fn intend(object: &BucketConnection, desired: &Desired, plan: &Plan, now: Timestamp) -> Option<BucketConnectionStatus> {
    let issued = plan.steps.iter().find_map(|step| match &step.action {
        Action::IssueKey { secret, version, known, .. } => Some((secret, *version, known.clone())),
        _ => None,
    });
    let revokes = plan.steps.iter().find_map(|step| match step.action {
        Action::Deny { sessions_before } => sessions_before,
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
    let writing = |section: &str| {
        let mut written = plan.steps.iter().map(|step| &step.action);
        written.any(|action| matches!(action, Action::WriteSetting { field, .. } if short_name(field) == section))
    };
    let adds: BTreeMap<_, _> = plan
        .adds
        .iter()
        .filter(|(section, _)| writing(section))
        .map(|(section, names)| ((*section).to_owned(), names.clone()))
        .collect();
    let new_names = !adds.is_empty() && status.memory.writing != adds;
    if issued.is_none() && revokes.is_none() && !new_policy && !new_secret && !new_readers && !new_names {
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
    if let Some((secret, version, known_keys)) = issued {
        let credentials = status.memory.credentials.get_or_insert_default();
        credentials.phase = Some(if secret == main { KeyPhase::Issuing } else { KeyPhase::Rotating });
        if secret == main {
            // One that waited to be the next cannot be used, or is published: this is no rotation.
            credentials.earlier_secrets.extend(credentials.pending.take().map(|next| next.secret_name));
            // What the key before this one has for itself goes with it.
            credentials
                .earlier_secrets
                .extend(version.map(|number| names::version(main, number - 1)).filter(|_| version > Some(1)));
        } else {
            credentials.pending = Some(PendingKey { secret_name: secret.clone(), access_key_id: None });
        }
        // An earlier attempt that is not accounted for yet stays explained until its key has been looked for and deleted.
        let since = credentials.intent.take().map_or(Time(now), |earlier| earlier.since);
        let until = Time(now.saturating_add(ATTEMPT).unwrap_or(now));
        let previous = credentials.previous.as_ref().map(|previous| previous.access_key_id.clone());
        let goes = plan.steps.iter().filter_map(goes).filter(|id| previous.as_ref() != Some(id));
        credentials.obsolete_keys = goes.collect();
        credentials.intent = Some(KeyIntent { since, until, known_keys });
    }
    // What a person has to set right is tried again at each check: that is no progress, and is not told anew each time.
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
