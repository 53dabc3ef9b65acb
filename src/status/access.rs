//! Who can read the Secret, and the names of the Roles and RoleBindings for that.

use std::collections::BTreeSet;

use super::Checked;
use crate::api::AccessStatus;
use crate::observed::{Access, Held, RbacKind};
use crate::plan::Action;

/// The access in the status after a reconcile.
pub(super) fn access(before: Option<AccessStatus>, check: &Checked<'_>) -> Option<AccessStatus> {
    let Checked { desired, observed, remembered, .. } = check;
    if check.plan.frozen {
        return before;
    }
    let before = before.unwrap_or_default();
    let wanted = &desired.access.name;
    let report = check.report;
    let deleted = |name: &str, kind: RbacKind| {
        report.did(|action| matches!(action, Action::DeleteRbac { kind: k, name: n } if *k == kind && n == name))
    };
    let written = |name: &str| {
        let writes = |action: &Action| match action {
            Action::WriteRole { name: n, .. } | Action::WriteRoleBinding { name: n, .. } => n == name,
            _ => false,
        };
        report.outcome(writes).is_some()
    };
    let bound = report.did(|action| matches!(action, Action::WriteRoleBinding { .. }));
    let groups = match observed.access.get(wanted).map(|live| &live.binding) {
        _ if bound => desired.access.groups.clone(),
        Some(Held::Ours(_)) if deleted(wanted, RbacKind::RoleBinding) => Vec::new(),
        Some(Held::Ours(live)) => live.groups.clone(),
        Some(Held::Absent | Held::Foreign(_)) => Vec::new(),
        // Until the new grant is in place, the groups of the earlier one read the earlier Secret.
        Some(Held::Unreadable(_) | Held::NotRead) | None => before.groups,
    };
    let left = |name: &str, live: &Access| {
        let role = still(&live.role) && !deleted(name, RbacKind::Role);
        role || (still(&live.binding) && !deleted(name, RbacKind::RoleBinding))
    };
    let names: BTreeSet<_> = remembered.roles.iter().chain(observed.access.keys()).collect();
    let roles: Vec<_> = names
        .into_iter()
        .filter(|name| written(name) || observed.access.get(*name).is_none_or(|live| left(name, live)))
        .cloned()
        .collect();
    let groups = if roles.is_empty() { Vec::new() } else { groups };
    let now = AccessStatus { groups, roles };
    (now != AccessStatus::default()).then_some(now)
}

fn still<T>(live: &Held<T>) -> bool {
    matches!(live, Held::Ours(_) | Held::Unreadable(_) | Held::NotRead)
}
