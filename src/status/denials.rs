//! Every call that was denied in a reconcile, in one text, so that a person can fix all permissions of the operator at
//! once.

use std::collections::BTreeSet;

use super::Checked;
use crate::execute::{Outcome, Report};
use crate::observed::Bucket;
use crate::plan::{Action, Plan};
use crate::settings::Reading;
use crate::vocabulary::problem::{Class, Problem, Source, allow};

/// The calls that were denied to the operator; `None` for fewer than two, where the problem itself says more. Denials
/// of an issued key are not included.
pub(super) fn denials(plan: &Plan, report: &Report, check: Option<&Checked<'_>>) -> Option<String> {
    let blocked = plan.blockers.iter().filter_map(|blocker| blocker.problem.as_ref());
    let tried = report.steps.iter().filter(|executed| !matches!(executed.step.action, Action::Verify { .. }));
    let failed = tried.filter_map(|executed| match &executed.outcome {
        Outcome::Failed(problem) => Some(problem),
        _ => None,
    });
    let seen = check.map(unread).unwrap_or_default();
    let unknown =
        check.is_some_and(|check| matches!(check.observed.user, Reading::Unreadable(_)) && check.remembered.user.is_none());
    let denied: Vec<_> = blocked
        .chain(failed)
        .chain(seen)
        .filter(|problem| problem.class == Class::Denied && !(unknown && is_read_of_user(&problem.action)))
        .collect();
    let of = |aws: bool| -> BTreeSet<&str> {
        let here = denied.iter().filter(|problem| (problem.source == Source::Aws) == aws);
        here.map(|problem| problem.action.as_str()).collect()
    };
    let (aws, kubernetes) = (Vec::from_iter(of(true)), Vec::from_iter(of(false)));
    if aws.len() + kubernetes.len() < 2 {
        return None;
    }
    let mut parts = Vec::new();
    if !aws.is_empty() {
        let place = check.map(|check| check.desired.place()).unwrap_or_default();
        let of_user = aws.iter().any(|action| action.starts_with("iam:"));
        // Only if it is the same for all: otherwise the conditions of the parts say which is which.
        let deniers: BTreeSet<_> = denied.iter().filter(|problem| problem.source == Source::Aws).map(|p| p.denier()).collect();
        let denier = deniers.first().copied().flatten().filter(|_| deniers.len() == 1);
        let advice = allow("these actions", place.user_path.as_deref().filter(|_| of_user), denier);
        parts.push(format!("AWS denied: {}{advice}", aws.join(", ")));
    }
    if !kubernetes.is_empty() {
        let rights = kubernetes.join(", ");
        parts.push(format!(
            "Kubernetes denied: {rights}; grant the operator these permissions (deploy/kubernetes/base/rbac.yaml)"
        ));
    }
    if let Some(Checked { desired, observed, .. }) = check
        && matches!(&observed.bucket, Bucket::Unreadable(problem) if problem.class == Class::Denied)
    {
        let bucket = &desired.bucket.name;
        parts.push(format!("if bucket {bucket} belongs to another AWS account, choose another bucket.name"));
    }
    Some(parts.join("; "))
}

/// Reads of what a user has. If the user itself cannot be read and may not exist, their denial says nothing: AWS does
/// not know the path of a missing user, so that the operator's permissions do not match.
fn is_read_of_user(action: &str) -> bool {
    ["iam:GetUserPolicy", "iam:ListAccessKeys", "iam:ListAttachedUserPolicies"].contains(&action)
}

/// Reads that failed, including those that block nothing. Denied reads of a missing user say nothing: AWS does not know
/// the user's path, so that the operator's permissions do not match.
fn unread<'a>(check: &Checked<'a>) -> Vec<&'a Problem> {
    let observed = check.observed;
    let of_user = [
        match &observed.keys {
            Reading::Unreadable(problem) => Some(problem),
            _ => None,
        },
        match &observed.attached {
            Reading::Unreadable(problem) => Some(problem),
            _ => None,
        },
    ];
    let of_user = of_user.into_iter().flatten().filter(|_| observed.user != Reading::Unset);
    observed.unread.iter().chain(of_user).collect()
}
