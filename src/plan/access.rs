//! The part of a plan that gives groups access to the Secret: a Role and a RoleBinding next to it.
//!
//! The operator can read any Secret, so it must not lend that permission: it gives no one access to a foreign Secret, and binds no
//! one to a foreign Role. If one of them becomes foreign, the operator removes its own part of the grant.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Action, Planner, keys, presence_diff};
use crate::desired::Desired;
use crate::observed::{Access, Held, Observed, OwnBinding, OwnRole, RbacKind, Secret};
use crate::settings::FieldDiff;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::Class;

const PART: ConditionType = ConditionType::AccessInSync;
const GROUPS: &str = "access.groups";

/// Plans who can read the Secret; key and Secret are already planned.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) {
    let wanted = &desired.access;
    let granted = if wanted.groups.is_empty() { Some(Vec::new()) } else { grant(planner, desired, observed) };
    for (name, live) in &observed.access {
        let stays = *name == wanted.name && !wanted.groups.is_empty() && granted.is_some();
        if !stays {
            remove(planner, name, live, granted.as_deref().unwrap_or_default());
        }
    }
}

/// Plans the grant; returns its steps, or `None` if there must be none.
fn grant(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed) -> Option<Vec<usize>> {
    let (name, secret) = (&desired.access.name, &desired.secret.name);
    let after: Vec<usize> = match &observed.secret {
        Secret::Ours(_) => Vec::new(),
        Secret::Foreign(_) => {
            let message =
                format!("the operator gives no one access to Secret {secret}, because this BucketConnection does not manage it");
            planner.stall(PART, Reason::SecretNotOwned, message);
            return None;
        }
        // Once the Secret exists.
        Secret::Absent | Secret::NotRead | Secret::UserProvided(_) | Secret::Unreadable(_) => {
            let writes = |action: &Action| matches!(action, Action::IssueKey { .. } | Action::WriteSecret { .. });
            let steps = planner.plan.steps.iter().enumerate();
            let written: Vec<_> = steps.filter(|(_, step)| writes(&step.action)).map(|(index, _)| index).collect();
            if written.is_empty() {
                return Some(written);
            }
            written
        }
    };
    let live = observed.access.get(name)?;
    let foreign = [(RbacKind::Role, why_foreign(&live.role)), (RbacKind::RoleBinding, why_foreign(&live.binding))];
    if let Some((kind, why)) = foreign.into_iter().find_map(|(kind, why)| Some((kind, why?))) {
        let message = format!(
            "{kind} {name} {why}: the operator does not change it, and gives no one access to Secret {secret}; delete that {kind}, or choose another credentials.secret.name"
        );
        planner.stall(PART, Reason::AccessNotOwned, message);
        return None;
    }
    // What cannot be read may be foreign.
    if !(known(planner, &live.role) & known(planner, &live.binding)) {
        return Some(Vec::new());
    }
    let secrets: Vec<_> = [secret.clone()].into_iter().chain(keys::own_after(planner, desired, observed)).collect();
    let rules = OwnRole::rules_for(&secrets);
    let role = role(planner, name, secrets, &live.role, &after);
    // The operator itself wrote the other rules.
    if let (Some(step), Held::Ours(live)) = (role, &live.role)
        && live.rules != rules
        && follows_key(planner, observed, secret, &live.rules)
    {
        planner.plan.steps[step].drift = false;
    }
    let base: Vec<usize> = after.iter().copied().chain(role).collect();
    let bound = binding(planner, name, &desired.access.groups, &live.binding, &base);
    Some(role.into_iter().chain(bound).collect())
}

fn role(planner: &mut Planner<'_>, name: &str, secrets: Vec<String>, live: &Held<OwnRole>, after: &[usize]) -> Option<usize> {
    let rules = OwnRole::rules_for(&secrets);
    let diffs = match live {
        Held::Ours(live) if live.rules != rules => {
            vec![FieldDiff::new(format!("role({name}).rules"), Some(live.rules.clone()), Some(rules))]
        }
        Held::Ours(live) if live.claimed => return None,
        Held::Ours(_) => released(&format!("role({name})")),
        Held::Absent => presence_diff(&format!("role({name})"), false),
        Held::NotRead | Held::Unreadable(_) | Held::Foreign(_) => return None,
    };
    Some(planner.step(PART, Action::WriteRole { name: name.to_owned(), secrets }, diffs, after))
}

/// Whether these rules are for the key before the current one, or for a key without its own Secret.
fn follows_key(planner: &Planner<'_>, observed: &Observed, main: &str, live: &Value) -> bool {
    let before: Vec<_> = [main.to_owned()].into_iter().chain(planner.remembered.version_secret()).collect();
    let complete = planner.wrote("credentials") && planner.records_key(observed);
    *live == OwnRole::rules_for(&before) || (*live == OwnRole::rules_for(&before[..1]) && !complete)
}

fn binding(planner: &mut Planner<'_>, name: &str, groups: &[String], live: &Held<OwnBinding>, after: &[usize]) -> Option<usize> {
    let (mut diffs, mut after) = (Vec::new(), after.to_vec());
    match live {
        Held::Ours(live) => {
            if live.role != OwnBinding::role_of(name) {
                // Kubernetes does not allow changing it, only replacing it.
                let action = Action::DeleteRbac { kind: RbacKind::RoleBinding, name: name.to_owned() };
                let (path, role) = (format!("roleBinding({name}).roleRef"), OwnBinding::role_of(name));
                diffs.push(FieldDiff::new(path, Some(json!(live.role)), Some(json!(role))));
                after = vec![planner.step(PART, action, Vec::new(), &after)];
            }
            if live.groups != groups || !live.others.is_empty() {
                diffs.push(FieldDiff::new(GROUPS, Some(subjects(live)), Some(json!(groups))));
            }
            if diffs.is_empty() && live.claimed {
                return None;
            }
            if diffs.is_empty() {
                diffs = released(&format!("roleBinding({name})"));
            }
        }
        Held::Absent => diffs.push(FieldDiff::new(GROUPS, None, Some(json!(groups)))),
        Held::NotRead | Held::Unreadable(_) | Held::Foreign(_) => return None,
    }
    let action = Action::WriteRoleBinding { name: name.to_owned(), groups: groups.to_vec() };
    Some(planner.step(PART, action, diffs, &after))
}

/// Plans to remove what is managed of a grant, the RoleBinding first.
pub(super) fn remove(planner: &mut Planner<'_>, name: &String, live: &Access, after: &[usize]) {
    let bound = match &live.binding {
        Held::Ours(binding) => Some(FieldDiff::new(GROUPS, Some(subjects(binding)), None)),
        other => unreadable(planner, name, other),
    };
    let role = match &live.role {
        Held::Ours(_) => Some(FieldDiff::new(format!("role({name})"), Some(json!("present")), None)),
        other => unreadable(planner, name, other),
    };
    for (kind, diff) in [(RbacKind::RoleBinding, bound), (RbacKind::Role, role)] {
        if let Some(diff) = diff {
            let step = planner.step(PART, Action::DeleteRbac { kind, name: name.clone() }, vec![diff], after);
            // It was managed until the spec changed.
            planner.plan.steps[step].drift = false;
        }
    }
}

/// Plans to release what is managed of the grants: it stays as it is.
pub(super) fn release(planner: &mut Planner<'_>, readers: &BTreeMap<String, Access>) {
    for (name, live) in readers {
        let released =
            |path: &str| FieldDiff::new(format!("{path}({name}).metadata"), Some(json!("owned")), Some(json!("released")));
        let role = match &live.role {
            Held::Ours(_) => Some(released("role")),
            other => unreadable(planner, name, other),
        };
        let bound = match &live.binding {
            Held::Ours(_) => Some(released("roleBinding")),
            other => unreadable(planner, name, other),
        };
        for (kind, diff) in [(RbacKind::Role, role), (RbacKind::RoleBinding, bound)] {
            if let Some(diff) = diff {
                planner.step(PART, Action::ReleaseRbac { kind, name: name.clone() }, vec![diff], &[]);
            }
        }
    }
}

/// Whether it was read; reports what could not be read.
fn known<T>(planner: &mut Planner<'_>, live: &Held<T>) -> bool {
    if let Held::Unreadable(problem) = live {
        planner.unreadable(PART, problem);
    }
    !matches!(live, Held::NotRead | Held::Unreadable(_))
}

/// Reports what could not be read and may be managed. An operator without permission to read Roles has written none,
/// unless the status records one.
fn unreadable<T>(planner: &mut Planner<'_>, name: &String, live: &Held<T>) -> Option<FieldDiff> {
    match live {
        Held::Unreadable(problem) if problem.class == Class::Denied && !planner.remembered.roles.contains(name) => {}
        Held::Unreadable(problem) => planner.unreadable(PART, problem),
        Held::NotRead | Held::Absent | Held::Foreign(_) | Held::Ours(_) => {}
    }
    None
}

fn why_foreign<T>(live: &Held<T>) -> Option<&str> {
    match live {
        Held::Foreign(why) => Some(why),
        _ => None,
    }
}

fn released(path: &str) -> Vec<FieldDiff> {
    vec![FieldDiff::new(format!("{path}.metadata"), Some(json!("released")), Some(json!("owned")))]
}

/// Everyone whom a RoleBinding names.
fn subjects(live: &OwnBinding) -> Value {
    json!(live.groups.iter().chain(&live.others).collect::<Vec<_>>())
}
