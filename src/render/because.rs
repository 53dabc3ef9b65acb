//! Why a plan has each of its steps.

use crate::keys::Move;
use crate::plan::{Action, Plan, Step};

/// Why a key is issued, activated, deactivated or deleted.
pub fn why(plan: &Plan, step: &Step) -> Option<String> {
    let id = match &step.action {
        Action::IssueKey { .. } => None,
        Action::DeleteKey { id } | Action::ActivateKey { id } | Action::DeactivateKey { id } => Some(id.as_str()),
        _ => return None,
    };
    plan.cause(step)?.why(id)
}

/// Why a step is part of the plan, as a clause after "because".
pub fn because(plan: &Plan, step: &Step) -> String {
    if let Some(why) = why(plan, step) {
        return why;
    }
    if step.drift {
        return "something else changed it since the operator wrote it".to_owned();
    }
    if plan.deletes {
        return "the BucketConnection is deleted, with this deletionPolicy".to_owned();
    }
    let new = step.diffs.iter().all(|diff| diff.live.is_none());
    let either = |missing: &str, differs: &str| (if new { missing } else { differs }).to_owned();
    match &step.action {
        Action::CreateBucket { .. } => "no bucket has this name".to_owned(),
        Action::CreateUser { .. } => "no IAM user has this name".to_owned(),
        Action::CreatePolicy { .. } => "no managed policy has this name".to_owned(),
        Action::WriteSetting(_) if creates(plan, step, |action| matches!(action, Action::CreateBucket { .. })) => {
            "a new bucket does not have it".to_owned()
        }
        Action::WriteSetting(_) => "the bucket has another value".to_owned(),
        Action::SetPermissionsBoundary { .. } => either("the user has none", "the user has another one"),
        Action::TagUser { .. } | Action::TagPolicy { .. } => "the tags differ".to_owned(),
        Action::PutInlinePolicy { .. } => either("the user does not have it", "the document differs"),
        Action::UpdatePolicy { .. } => "the document differs".to_owned(),
        Action::AttachPolicy { .. } => "it is not attached".to_owned(),
        Action::DeleteInlinePolicy { .. } | Action::RemovePolicy { .. } => removed(plan).to_owned(),
        Action::RecordKeys { .. } => "the tags still show it if status and Secret are lost".to_owned(),
        Action::DryRunSecret { .. } => "a key that cannot be written would be lost".to_owned(),
        Action::IssueKey { .. } | Action::ActivateKey { .. } | Action::DeactivateKey { .. } | Action::DeleteKey { .. } => {
            "a revocation was requested".to_owned()
        }
        Action::WriteSecret { .. } => match plan.cause(step) {
            Some(Move::Publish { .. } | Move::Issue(_)) => "the pending key becomes the current key".to_owned(),
            Some(Move::WriteOwnSecret(_)) => either("each key also has a Secret of its own", "the contents differ"),
            _ => either("the Secret does not exist", "the contents differ"),
        },
        Action::DeleteSecret { .. } => match plan.cause(step) {
            Some(Move::DropEarlierSecrets) => "the spec names another Secret now, or its key was replaced".to_owned(),
            _ => "its key is deleted or is in another Secret".to_owned(),
        },
        Action::DenyAllAccess { sessions_before: None } => "a revocation was requested".to_owned(),
        Action::DenyAllAccess { sessions_before: Some(_) } => "sessions outlive their access key".to_owned(),
        Action::RemoveDenyPolicy => "the last of these sessions has expired".to_owned(),
        Action::Restart { .. } => "its pods use another key".to_owned(),
        Action::WriteRole { .. } | Action::WriteRoleBinding { .. } => either("it does not exist", "it differs"),
        Action::DeleteRbac { .. } => "access.groups no longer needs it".to_owned(),
        Action::Verify { .. } => "a connection is Ready only with a verified key".to_owned(),
        // Only for a deletion, which has its own reason above.
        Action::ReleaseSecret { .. }
        | Action::ReleaseRbac { .. }
        | Action::EmptyBucket
        | Action::DeleteBucket
        | Action::DeleteUser => "the BucketConnection is deleted".to_owned(),
    }
}

/// Whether a step waits for such a step.
pub(super) fn creates(plan: &Plan, step: &Step, is: impl Fn(&Action) -> bool) -> bool {
    step.after.iter().filter_map(|index| plan.steps.get(*index)).any(|before| is(&before.action))
}

/// Why a policy is removed.
fn removed(plan: &Plan) -> &'static str {
    let revokes = plan.steps.iter().any(|step| matches!(step.action, Action::DenyAllAccess { sessions_before: None }));
    match (revokes, plan.frozen) {
        (true, _) => "the denial does not fit next to it",
        (false, true) => "the bucket does not belong to this BucketConnection",
        (false, false) => "the spec has another policy now",
    }
}
