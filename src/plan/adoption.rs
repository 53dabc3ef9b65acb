//! Adoption of existing resources: only what the spec and the account both allow. If the adoption changes something,
//! the operator first shows the changes and waits for approval.

use super::{Action, Planner};
use crate::api::ApprovedBy;
use crate::desired::Desired;
use crate::settings::FieldDiff;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::digest::digest;
use crate::vocabulary::problem::join_names;

/// Bytes of the hash that are shown.
const HASH_LENGTH: usize = 8;

/// An adoption that waits for approval.
#[derive(Clone, Debug, PartialEq)]
pub struct Adoption {
    /// Identifies the changes.
    pub hash: String,
    /// What it would change in existing resources; the operator's own tags do not count.
    pub changes: Vec<FieldDiff>,
}

/// Holds the plan back while it contains an adoption that is not approved.
pub(super) fn require_approval(planner: &mut Planner<'_>, desired: &Desired) {
    let Some(first) = planner.adopts.first().copied() else { return };
    // A value that could not be read would change the hash once it is read.
    if planner.plan.blockers.iter().any(|blocker| blocker.problem.is_some()) {
        planner.frozen = true;
        return;
    }
    let touched = planner.plan.steps.iter().filter(|step| touches(&step.action, &planner.adopts));
    let changes: Vec<_> =
        touched.flat_map(|step| &step.diffs).filter(|diff| !diff.path.contains("[bucketconnection.dev/")).cloned().collect();
    if changes.is_empty() && !planner.replaced {
        return;
    }
    let hash = hash(desired, &changes);
    if desired.approval.covers(&hash) {
        return;
    }
    let named = join_names(&changes.iter().map(|diff| diff.path.as_str()).collect::<Vec<_>>());
    let what = match first {
        ConditionType::UserReady => format!("IAM user {}", desired.user.name),
        ConditionType::PolicyInSync => format!("policy {}", desired.policy.name),
        _ => format!("bucket {}", desired.bucket.name),
    };
    let go_on = match desired.approval.by {
        ApprovedBy::Connection => format!("set spec.approvedPlan: {hash}"),
        ApprovedBy::Account => format!("have {hash} added to adoption.approvedPlans in the AWSAccount"),
    };
    let message = if changes.is_empty() {
        format!("{what} is not the one that this BucketConnection managed before, but another of that name; to adopt it, {go_on}")
    } else {
        format!(
            "adopting {what} would change {named} (status.adoption has the observed and desired values): nothing is changed yet; to adopt, {go_on}"
        )
    };
    planner.freeze(first, Reason::AwaitingApproval, message);
    planner.plan.adoption = Some(Adoption { hash, changes });
}

/// Whether the step changes an adopted resource.
fn touches(action: &Action, adopts: &[ConditionType]) -> bool {
    let adopted = |part| adopts.contains(&part);
    match action {
        Action::WriteSetting(_) => adopted(ConditionType::BucketReady),
        Action::UpdatePolicy { .. } | Action::TagPolicy { .. } => adopted(ConditionType::PolicyInSync),
        Action::PutInlinePolicy { .. } => adopted(ConditionType::PolicyInSync) || adopted(ConditionType::UserReady),
        Action::SetPermissionsBoundary { .. }
        | Action::TagUser { .. }
        | Action::AttachPolicy { .. }
        | Action::IssueKey { .. } => adopted(ConditionType::UserReady),
        _ => false,
    }
}

/// The hash has a word as prefix: YAML would parse some hashes as numbers.
pub(super) fn hash(desired: &Desired, changes: &[FieldDiff]) -> String {
    // An approval for one bucket and connection is not valid for another.
    let names = [&desired.owner, &desired.account.id, &desired.bucket.arn, &desired.user.arn, &desired.policy.arn];
    let text = serde_json::json!([names, changes]).to_string();
    format!("plan-{}", digest(text, HASH_LENGTH))
}
