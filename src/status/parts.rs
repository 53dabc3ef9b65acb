//! The result of a reconcile for each part of a connection.

use super::Checked;
use super::capabilities::{tried, why};
use super::existing;
use super::verdict::Verdict;
use crate::api::{ManagementMode, PolicyType};
use crate::desired::Proof;
use crate::execute::{Executed, Outcome};
use crate::observed::{Access, Bucket, Held, KeyProof};
use crate::plan::{Action, Step};
use crate::settings::Reading;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::{Class, DENIERS};

/// What the reconcile says about `part`.
pub(super) fn verdict(check: &Checked<'_>, part: ConditionType) -> Verdict {
    let blocked = |part| check.plan.blockers.iter().any(|blocker| blocker.part == part);
    let readers = || !check.desired.access.groups.is_empty() || check.observed.access.values().any(Access::is_ours);
    if part == ConditionType::AccessInSync && !readers() && !blocked(part) {
        return Verdict::holds(
            Reason::NotManaged,
            "access.groups is empty: this BucketConnection gives no one access to the Secret",
        );
    }
    if let Some(blocker) = check.plan.blockers.iter().find(|blocker| blocker.part == part) {
        // All blockers of a kind at once: a person who fixes one fixes them all.
        let alike = check.plan.blockers.iter().filter(|other| other.part == part && other.reason == blocker.reason);
        let message = alike.map(|blocker| blocker.message.as_str()).collect::<Vec<_>>().join("; ");
        return Verdict {
            holds: Some(false),
            reason: blocker.reason,
            message,
            stalled: blocker.stalled,
            transient: !blocker.stalled,
        };
    }
    if let Some(verdict) = undone_step(check, part) {
        return verdict;
    }
    if let Some(verdict) = failed_proof(check).filter(|_| part == ConditionType::Verified) {
        return verdict;
    }
    if let Some(verdict) = only_observed(check, part) {
        return verdict;
    }
    let existing = check.desired.identity.user_provided();
    if let Some(verdict) = existing.and_then(|secret| existing::verdict(check, secret, part)) {
        return verdict;
    }
    if check.plan.frozen && !matches!(part, ConditionType::AccountReady) {
        let cause = check.plan.blockers.first().map_or(ConditionType::BucketReady, |blocker| blocker.part);
        return Verdict::unknown(Reason::Waiting, format!("the operator changes nothing until {cause} is True"));
    }
    if check.desired.management.of(section(part)) == ManagementMode::Ignore {
        return Verdict::holds(Reason::NotManaged, "not managed (spec.management)");
    }
    evidence(check, part)
}

/// Steps of the part that are only shown.
fn only_observed(check: &Checked<'_>, part: ConditionType) -> Option<Verdict> {
    let works = matches!(check.observed.proof, KeyProof::Works(_));
    let tells = |step: &&Step| match step.action {
        // The region of a bucket that does not exist cannot be checked.
        Action::CreateBucket { .. } if part == ConditionType::RegionMatched => true,
        // The key was already verified when it was read.
        Action::Verify { .. } if works => false,
        _ => step.part == part,
    };
    let steps: Vec<_> = check.plan.observed.iter().filter(tells).collect();
    let what = steps.iter().map(|step| crate::render::summary(step, check.desired)).collect::<Vec<_>>().join("; ");
    let message = format!("only observed (spec.management): {what}");
    (!steps.is_empty()).then_some(Verdict {
        holds: Some(false),
        reason: Reason::Observed,
        message,
        stalled: false,
        transient: false,
    })
}

/// The key works, but another verification failed: first what a person must fix.
fn failed_proof(check: &Checked<'_>) -> Option<Verdict> {
    let of_key = tried(check)?.iter().filter(|tried| tried.proof != Proof::GenomicsCloud);
    let mut problems: Vec<_> = of_key.filter_map(|tried| tried.problem.as_ref()).collect();
    problems.sort_by_key(|problem| !problem.is_permanent());
    let first = problems.first()?;
    let alike = problems.iter().filter(|problem| problem.class == first.class);
    let stalled = first.is_permanent();
    Some(Verdict {
        holds: Some(false),
        reason: if first.class == Class::BadKey { Reason::KeyRejected } else { first.reason() },
        message: alike.map(|problem| why(problem)).collect::<Vec<_>>().join("; "),
        stalled,
        transient: !stalled,
    })
}

/// The section of `spec.management` that a part belongs to.
fn section(part: ConditionType) -> &'static str {
    match part {
        ConditionType::CORSInSync => "cors",
        ConditionType::UserReady => "user",
        ConditionType::PolicyInSync => "policy",
        ConditionType::CredentialsReady | ConditionType::Verified | ConditionType::RotationComplete => "credentials",
        ConditionType::AccessInSync => "access",
        _ => "bucket",
    }
}

/// The first step of the part that is not done.
pub(super) fn undone_step(check: &Checked<'_>, part: ConditionType) -> Option<Verdict> {
    let mut undone: Vec<_> = check.report.undone().filter(|executed| executed.step.part == part).collect();
    // A failure says more than a step that was skipped because of it.
    undone.sort_by_key(|executed| matches!(executed.outcome, Outcome::Skipped));
    let Executed { step, outcome } = undone.first()?;
    let what = crate::render::summary(step, check.desired);
    Some(match outcome {
        Outcome::Done(_) => return None,
        Outcome::Skipped => Verdict::unknown(Reason::Waiting, format!("{what}: waits for another part")),
        Outcome::Pending(problem) => Verdict {
            holds: Some(false),
            reason: match (&step.action, &problem.class) {
                (Action::Verify { .. }, Class::BadKey | Class::Denied | Class::Missing) => Reason::KeyPropagating,
                (Action::Verify { .. }, _) => problem.reason(),
                _ => Reason::Progressing,
            },
            message: format!("{what}: in progress ({})", problem.code),
            stalled: false,
            transient: false,
        },
        Outcome::Failed(problem) | Outcome::Unknown(problem) => match (&step.action, &problem.class) {
            // "Already exists" ends an optimistic creation; the next reconcile reads who the owner is.
            (_, Class::Exists | Class::Missing) if !matches!(step.action, Action::Verify { .. }) => {
                Verdict::unknown(Reason::Progressing, format!("{what}: reading the observed state again"))
            }
            (Action::CreateBucket { .. }, Class::NameTaken) => Verdict {
                holds: Some(false),
                reason: Reason::BucketNotOwned,
                message: format!(
                    "bucket {} belongs to another AWS account: names are global; choose another bucket.name",
                    check.desired.bucket.name
                ),
                stalled: true,
                transient: false,
            },
            (Action::Verify { .. }, Class::BadKey) => Verdict {
                holds: Some(false),
                reason: Reason::KeyRejected,
                message: format!("{what}: AWS does not accept {} ({})", check.desired.key(), problem.brief()),
                stalled: false,
                transient: false,
            },
            (Action::Verify { .. }, Class::Denied) => Verdict {
                holds: Some(false),
                reason: Reason::AccessDenied,
                message: {
                    let key = check.desired.key();
                    let what_for = if !check.desired.identity.is_managed() { "it needs" } else { "its policy allows" };
                    format!("{what}: {key} is denied what {what_for} ({}){DENIERS}", problem.brief())
                },
                stalled: true,
                transient: false,
            },
            (Action::Verify { .. }, Class::OtherUser) => Verdict {
                holds: Some(false),
                reason: Reason::KeyRejected,
                message: format!("{what}: the key belongs to {}", problem.message),
                stalled: true,
                transient: false,
            },
            _ => Verdict::of_problem(step, problem, check),
        },
    })
}

/// The evidence that the part holds: what was read or done.
fn evidence(check: &Checked<'_>, part: ConditionType) -> Verdict {
    let Checked { desired, observed, .. } = check;
    let did = |is: fn(&Action) -> bool| check.report.did(is);
    let created = did(|action| matches!(action, Action::CreateBucket { .. }));
    let live = match &observed.bucket {
        Bucket::There(live) => Some(live),
        _ => None,
    };
    let there = created || live.is_some();
    let bucket = &desired.bucket.name;
    let not_seen = || Verdict::unknown(Reason::Waiting, "not read in this reconcile");
    match part {
        ConditionType::AccountReady => {
            Verdict::holds(Reason::InSync, format!("signed in to account {} ({})", desired.account.id, desired.account.partition))
        }
        ConditionType::RegionMatched if there => {
            let limits = desired.limits.as_ref().map(|limits| format!("; {limits}")).unwrap_or_default();
            Verdict::holds(Reason::InSync, format!("bucket {bucket} is in {}{limits}", desired.region))
        }
        ConditionType::BucketReady if there => {
            Verdict::holds(Reason::InSync, format!("bucket {bucket} and its settings are as specified"))
        }
        ConditionType::CORSInSync if desired.bucket.settings.cors.is_none() => Verdict::holds(
            Reason::NotManaged,
            "neither the spec nor the preset has CORS rules: the operator does not change them",
        ),
        ConditionType::CORSInSync if there => Verdict::holds(Reason::InSync, "the CORS rules are as specified"),
        ConditionType::UserReady
            if matches!(observed.user, Reading::Set(_)) || did(|action| matches!(action, Action::CreateUser { .. })) =>
        {
            Verdict::holds(Reason::InSync, format!("IAM user {}", desired.user.arn))
        }
        ConditionType::PolicyInSync if policy_known(check, did) => {
            let kind = match desired.policy.kind {
                PolicyType::Inline => "inline policy",
                PolicyType::Managed => "managed policy",
            };
            let versions = if desired.versioned == Some(true) {
                ", with permissions on versions, because the bucket is versioned"
            } else {
                ""
            };
            Verdict::holds(Reason::InSync, format!("{kind} {} allows only what is specified{versions}", desired.policy.name))
        }
        ConditionType::CredentialsReady if key_known(check, did) => {
            Verdict::holds(Reason::InSync, format!("Secret {} contains the access key", desired.secret.name))
        }
        ConditionType::Verified if did(|action| matches!(action, Action::Verify { .. })) || proven(check) || looked(check) => {
            let whose = existing::whose(check);
            Verdict::holds(Reason::InSync, format!("{} was used, and it works{whose}", desired.key()))
        }
        ConditionType::AccessInSync if desired.access.groups.is_empty() => {
            Verdict::holds(Reason::NotManaged, "access.groups is empty: this BucketConnection gives no one access to the Secret")
        }
        ConditionType::AccessInSync if granted(check, did) => {
            let groups = desired.access.groups.join(", ");
            Verdict::holds(Reason::InSync, format!("{groups} can read Secret {} through spec.access", desired.secret.name))
        }
        _ => not_seen(),
    }
}

/// All steps, if any, are done, so what was read or written matches the spec.
fn granted(check: &Checked<'_>, did: impl Fn(fn(&Action) -> bool) -> bool) -> bool {
    let live = check.observed.access.get(&check.desired.access.name);
    let role = live.is_some_and(|live| matches!(live.role, Held::Ours(_)));
    let bound = live.is_some_and(|live| matches!(live.binding, Held::Ours(_)));
    (role || did(|action| matches!(action, Action::WriteRole { .. })))
        && (bound || did(|action| matches!(action, Action::WriteRoleBinding { .. })))
}

fn policy_known(check: &Checked<'_>, did: impl Fn(fn(&Action) -> bool) -> bool) -> bool {
    match check.desired.policy.kind {
        PolicyType::Inline => {
            matches!(check.observed.inline_policy, Reading::Set(_))
                || did(|action| matches!(action, Action::PutInlinePolicy { .. }))
        }
        PolicyType::Managed => {
            let attached =
                matches!(check.observed.attached, Reading::Set(_)) || did(|action| matches!(action, Action::AttachPolicy { .. }));
            let written = matches!(check.observed.managed_policy, Reading::Set(_))
                || did(|action| matches!(action, Action::CreatePolicy { .. }));
            attached && written
        }
    }
}

fn key_known(check: &Checked<'_>, did: impl Fn(fn(&Action) -> bool) -> bool) -> bool {
    match &check.observed.proof {
        KeyProof::Works(_) | KeyProof::Denied(..) => true,
        KeyProof::Rejected(..) => {
            // Too new, or activated again: only the verification is missing.
            did(|action| matches!(action, Action::ActivateKey { .. } | Action::IssueKey { .. }))
                || check.plan.steps.iter().any(|step| matches!(step.action, Action::Verify { key: Some(_), .. }))
        }
        _ => did(|action| matches!(action, Action::IssueKey { .. } | Action::WriteSecret { .. })),
    }
}

/// Only observed, with a key that was just verified.
fn looked(check: &Checked<'_>) -> bool {
    let verifies = check.plan.observed.iter().any(|step| matches!(step.action, Action::Verify { .. }));
    verifies && matches!(check.observed.proof, KeyProof::Works(_))
}

fn proven(check: &Checked<'_>) -> bool {
    matches!(check.observed.proof, KeyProof::Works(_)) && check.remembered.verified
}
