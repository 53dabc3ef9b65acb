//! Which steps of a plan the operator executes, by the modes of their sections (`spec.management`).

use super::{Action, Plan, Step};
use crate::api::ManagementMode;
use crate::desired::Management;

impl Action {
    /// The section that the step belongs to.
    pub fn section(&self) -> &'static str {
        match self {
            Self::CreateBucket { .. } | Self::EmptyBucket | Self::DeleteBucket => "bucket",
            Self::WriteSetting(write) => write.setting().name(),
            Self::CreateUser { .. } | Self::SetPermissionsBoundary { .. } | Self::TagUser { .. } | Self::DeleteUser => "user",
            Self::PutInlinePolicy { .. }
            | Self::DeleteInlinePolicy { .. }
            | Self::CreatePolicy { .. }
            | Self::UpdatePolicy { .. }
            | Self::TagPolicy { .. }
            | Self::AttachPolicy { .. }
            | Self::RemovePolicy { .. } => "policy",
            Self::IssueKey { .. }
            | Self::RecordKeys { .. }
            | Self::ActivateKey { .. }
            | Self::DeactivateKey { .. }
            | Self::DryRunSecret { .. }
            | Self::DenyAllAccess { .. }
            | Self::RemoveDenyPolicy
            | Self::Restart { .. }
            | Self::DeleteKey { .. }
            | Self::WriteSecret { .. }
            | Self::DeleteSecret { .. }
            | Self::ReleaseSecret { .. }
            | Self::Verify { .. } => "credentials",
            Self::WriteRole { .. } | Self::WriteRoleBinding { .. } | Self::DeleteRbac { .. } | Self::ReleaseRbac { .. } => {
                "access"
            }
        }
    }
}

/// Removes the steps that must not be executed, and those that depend on them; steps of observed sections are kept to
/// be shown.
pub(super) fn apply_modes(plan: &mut Plan, management: &Management) {
    let (mut steps, mut places) = (Vec::new(), Vec::new());
    for step in std::mem::take(&mut plan.steps) {
        let mode = management.of(step.action.section());
        let after: Option<Vec<usize>> = step.after.iter().map(|before| places[*before]).collect();
        match (mode, after) {
            (ManagementMode::Enforce, Some(after)) => {
                places.push(Some(steps.len()));
                steps.push(Step { after, ..step });
            }
            (mode, _) => {
                places.push(None);
                // A record of a step that is not executed says nothing.
                if mode != ManagementMode::Ignore && !matches!(step.action, Action::RecordKeys { .. }) {
                    plan.observed.push(Step { after: Vec::new(), drift: false, ..step });
                }
            }
        }
    }
    plan.steps = steps;
}
