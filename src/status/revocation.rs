//! What the status reports and records about a requested revocation.

use kube::ResourceExt;

use super::conditions::set;
use super::{CutOff, Reconcile};
use crate::api::{BucketConnection, BucketConnectionStatus, REVOKE_AT};
use crate::plan::{Action, revocation};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::Class;

const KIND: ConditionType = ConditionType::RevocationComplete;

/// The revocation that `object` requests and that `status` does not show as done.
pub fn pending<'a>(object: &'a BucketConnection, status: &BucketConnectionStatus) -> Option<&'a String> {
    let asked = object.annotations().get(REVOKE_AT)?;
    let handled = status.memory.credentials.as_ref().and_then(|credentials| credentials.last_handled_revoke_at.as_ref());
    (handled != Some(asked)).then_some(asked)
}

/// Why a part of it is not done: the reason, the message, and whether a person must act.
fn open(cut: &CutOff<'_>) -> Option<(Reason, String, bool)> {
    if let Some(blocker) = cut.plan.blockers.first() {
        return Some((blocker.reason, blocker.message.clone(), blocker.stalled));
    }
    let undone = cut.report.undone();
    let mut open: Vec<_> = undone.filter_map(|executed| Some((&executed.step, executed.outcome.problem()?))).collect();
    open.sort_by_key(|(_, problem)| !problem.is_permanent());
    let (step, problem) = open.first()?;
    let (user, reason, person) = (cut.user, problem.reason(), problem.is_permanent());
    let message = match (&step.action, &problem.class) {
        (Action::DenyAllAccess { .. }, Class::Quota) => format!(
            "access keys are deleted, but sessions made with them still work: the inline policies of IAM user {user} leave no room for a policy that denies them; delete an inline policy that this operator did not write (aws iam list-user-policies --user-name {user})"
        ),
        (Action::DeleteKey { id }, _) => format!("the operator could not delete access key {id} of IAM user {user}: {problem}"),
        _ => format!("the operator could not deny IAM user {user} everything: {problem}"),
    };
    Some((reason, message, person))
}

/// Folds a revocation into `status`: its own condition, `Ready`, and the recorded state of the keys.
pub(super) fn revoked(status: &mut BucketConnectionStatus, reconcile: &Reconcile<'_>, cut: &CutOff<'_>) {
    let generation = reconcile.object.metadata.generation;
    let mut tell = |kind, value, reason, text: &str| {
        set(&mut status.conditions, generation, reconcile.now, kind, Some(value), reason, text);
    };
    if let Some((reason, message, person)) = open(cut) {
        tell(KIND, false, reason, &message);
        let text = format!("{KIND}: {message}");
        tell(ConditionType::Ready, false, reason, &text);
        tell(ConditionType::Stalled, person, if person { reason } else { Reason::NotStalled }, if person { &text } else { "" });
        tell(ConditionType::Reconciling, !person, reason, &text);
        return;
    }
    let mut message = "every access key and session from before the request is revoked".to_owned();
    if !cut.foreign.is_empty() {
        message += &format!("; foreign access keys stay: {}; delete them if they leaked too", cut.foreign.join(", "));
    }
    tell(KIND, true, Reason::KeyRevoked, &message);
    let (text, continues) = consequence(reconcile.object);
    tell(ConditionType::Ready, false, Reason::KeyRevoked, text);
    tell(ConditionType::Reconciling, continues, Reason::KeyRevoked, text);
    tell(ConditionType::Stalled, false, Reason::NotStalled, "no action required");
    for kind in [ConditionType::CredentialsReady, ConditionType::Verified] {
        tell(kind, false, Reason::KeyRevoked, text);
    }
    if super::condition(status, ConditionType::RotationComplete).is_some() {
        let text = "no key is being replaced";
        set(&mut status.conditions, generation, reconcile.now, ConditionType::RotationComplete, Some(true), Reason::InSync, text);
    }
    let credentials = status.memory.credentials.get_or_insert_default();
    credentials.last_handled_revoke_at = reconcile.object.annotations().get(REVOKE_AT).cloned();
    let before = cut.plan.steps.iter().find_map(|step| match step.action {
        Action::DenyAllAccess { sessions_before } => sessions_before,
        _ => None,
    });
    credentials.revocation = before.map(revocation::revocation);
    let secrets = [
        credentials.previous.take().and_then(|previous| previous.secret_name),
        credentials.pending.take().map(|next| next.secret_name),
    ];
    credentials.earlier_secrets.extend(secrets.into_iter().flatten());
    credentials.revoked = cut.plan.steps.iter().filter_map(deleted).collect();
    credentials.revoked.extend(credentials.access_key_id.take());
    credentials.revoked.sort();
    credentials.revoked.dedup();
    credentials.obsolete_keys.clear();
    (credentials.created_at, credentials.verified_at, credentials.phase) = (None, None, None);
}

/// What a revocation means for the connection, and whether the operator issues another key now.
pub(super) fn consequence(object: &BucketConnection) -> (&'static str, bool) {
    match (object.metadata.deletion_timestamp.is_some(), object.spec.suspend) {
        (true, _) => ("the access key was revoked, and the BucketConnection is being deleted", false),
        (false, true) => ("the access key was revoked; the operator issues another one when spec.suspend is false", false),
        (false, false) => ("the access key was revoked; the operator issues another one", true),
    }
}

fn deleted(step: &crate::plan::Step) -> Option<String> {
    match &step.action {
        Action::DeleteKey { id } => Some(id.clone()),
        _ => None,
    }
}

/// Reports why a requested revocation could not begin. Called if a reconcile ended without a revocation.
pub(super) fn unbegun(status: &mut BucketConnectionStatus, reconcile: &Reconcile<'_>, seen: bool) {
    if pending(reconcile.object, status).is_none() || !seen {
        return;
    }
    let (generation, now) = (reconcile.object.metadata.generation, reconcile.now);
    let mut tell =
        |kind, value, reason, text: &str| set(&mut status.conditions, generation, now, kind, Some(value), reason, text);
    if reconcile.object.spec.existing_secret().is_some() {
        let text = "credentials.source is Existing: this operator did not issue the key and cannot revoke it; revoke it where it was issued";
        return tell(KIND, false, Reason::RevocationBlocked, text);
    }
    let text = "a revocation was requested, but the status has no record of an IAM user of this connection yet; the operator revokes as soon as it knows the user";
    tell(KIND, false, Reason::RevocationBlocked, text);
    tell(ConditionType::Ready, false, Reason::RevocationBlocked, &format!("{KIND}: {text}"));
}

/// Whether the key in the Secret was revoked and there is no other yet.
pub(super) fn without_key(status: &BucketConnectionStatus) -> bool {
    status.memory.credentials.as_ref().is_some_and(|credentials| !credentials.revoked.is_empty())
}
