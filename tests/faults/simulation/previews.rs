//! `plan` shows what the operator then does: for random specs and edits, the calls that follow from the steps of a
//! preview are the calls that the next reconcile makes first.

use std::sync::Arc;

use bucketconnection::aws::Sessions;
use bucketconnection::controller::{Others, PreviewError, preview};
use bucketconnection::kubernetes::Kubernetes;
use bucketconnection::observed::RbacKind;
use bucketconnection::plan::{Action, Plan};
use bucketconnection::settings::{SettingId, Write};

use super::invariants::ACCOUNT;
use super::run::Simulation;
use super::{changes, clock, edits, scenarios};
use crate::model::Behaviour;
use crate::model::client::{Calm, config};

/// Edits in AWS that leave the connection's resources there.
const EDITS: [&str; 8] = [
    "key deleted",
    "key inactive",
    "policies detached",
    "inline policy edited",
    "cors deleted",
    "foreign tag",
    "versioning suspended",
    "public access block deleted",
];

/// The plan of the connection, as the command computes it. The operator pauses in the meantime.
fn planned(simulation: &mut Simulation) -> Option<Plan> {
    let get = |resource: &str, namespace: &str, name: &str| simulation.cluster.get(resource, namespace, name).unwrap();
    let object = serde_json::from_value(get("bucketconnections", "default", "c")).unwrap();
    let account = serde_json::from_value(get("awsaccounts", "", "default")).unwrap();
    let key = simulation.model.admin(ACCOUNT, "reader");
    let (config, cluster) = (config(&simulation.model, Arc::new(Calm), &key, "us-east-1"), simulation.cluster.clone());
    simulation.act(async |_| {
        let kubernetes = Kubernetes::new(cluster.client(), None).await.unwrap();
        let sessions = Sessions::new(config);
        match preview(object, Some(&account), &Others::default(), &sessions, &kubernetes, clock::now()).await {
            Ok(preview) => Some(preview.plan),
            Err(PreviewError::Invalid(_)) => None,
            Err(PreviewError::Refused(refused)) => panic!("{}", refused.blocker.message),
        }
    })
}

/// The writes to AWS that a step makes, and to the access of the Secret.
fn writes(action: &Action) -> Vec<String> {
    let calls = match action {
        Action::CreateBucket { .. } => vec!["s3:CreateBucket"],
        Action::WriteSetting(Write::IntelligentTiering(write)) => {
            return vec![setting(SettingId::IntelligentTiering); write.put.len() + write.delete.len()];
        }
        Action::WriteSetting(write) => return vec![setting(write.setting())],
        Action::CreateUser { .. } => vec!["iam:CreateUser"],
        Action::SetPermissionsBoundary { .. } => vec!["iam:PutUserPermissionsBoundary"],
        Action::TagUser { remove, .. } if remove.is_empty() => vec!["iam:TagUser"],
        Action::TagUser { set, .. } if set.is_empty() => vec!["iam:UntagUser"],
        Action::TagUser { .. } => vec!["iam:TagUser", "iam:UntagUser"],
        Action::PutInlinePolicy { .. } | Action::DenyAllAccess { .. } => vec!["iam:PutUserPolicy"],
        Action::DeleteInlinePolicy { .. } | Action::RemoveDenyPolicy => vec!["iam:DeleteUserPolicy"],
        Action::CreatePolicy { .. } => vec!["iam:CreatePolicy"],
        Action::UpdatePolicy { .. } => vec!["iam:CreatePolicyVersion"],
        Action::TagPolicy { .. } => vec!["iam:TagPolicy"],
        Action::AttachPolicy { .. } => vec!["iam:AttachUserPolicy"],
        Action::RemovePolicy { .. } => vec!["iam:DetachUserPolicy", "iam:DeletePolicy"],
        Action::IssueKey { .. } => vec!["iam:CreateAccessKey"],
        Action::RecordKeys { .. } => vec!["iam:TagUser"],
        Action::ActivateKey { .. } | Action::DeactivateKey { .. } => vec!["iam:UpdateAccessKey"],
        Action::DeleteKey { .. } => vec!["iam:DeleteAccessKey"],
        Action::WriteRole { .. } => vec!["patch roles"],
        Action::WriteRoleBinding { .. } => vec!["patch rolebindings"],
        Action::DeleteRbac { kind: RbacKind::Role, .. } => vec!["delete roles"],
        Action::DeleteRbac { kind: RbacKind::RoleBinding, .. } => vec!["delete rolebindings"],
        Action::DeleteSecret { .. } => vec!["delete secrets"],
        Action::DryRunSecret { .. }
        | Action::WriteSecret { .. }
        | Action::ReleaseSecret { .. }
        | Action::ReleaseRbac { .. }
        | Action::Restart { .. }
        | Action::Verify { .. } => Vec::new(),
        Action::EmptyBucket | Action::DeleteBucket | Action::DeleteUser => panic!("{action:?} in a plan that is no deletion"),
    };
    calls.into_iter().map(str::to_owned).collect()
}

/// The call that writes a setting, without "Put" or "Delete".
fn setting(setting: SettingId) -> String {
    let put = setting.facts().actions.iter().find_map(|action| action.strip_prefix("s3:Put"));
    put.unwrap_or_else(|| panic!("{setting:?} is never written")).to_owned()
}

/// The writes among calls, by the names that `writes` has.
fn made(calls: &[String]) -> Vec<String> {
    let known = |call: &String| {
        let name = call.strip_prefix("s3:Put").or_else(|| call.strip_prefix("s3:Delete"));
        match name {
            // The probes put and delete objects with the issued key.
            Some("Object") => None,
            Some(name) => Some(name.to_owned()),
            None if call.starts_with("iam:Get") || call.starts_with("iam:List") || call == "iam:DeletePolicyVersion" => None,
            None if call.starts_with("iam:") || call == "s3:CreateBucket" => Some(call.clone()),
            None if call.contains("roles") || call.contains("rolebindings") || call == "delete secrets" => {
                (!call.starts_with("get") && !call.starts_with("list")).then(|| call.clone())
            }
            None => None,
        }
    };
    calls.iter().filter_map(known).collect()
}

/// Compares plan and calls in a few rounds; returns the number of steps, or how they differ.
fn compared(seed: u64) -> Result<usize, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut simulation = Simulation::new(seed, Behaviour::default());
    let mut steps = 0;
    for round in 0..3 {
        let spec = changes::spec(&mut random);
        let told = |what: &str| format!("seed {seed}, round {round}, spec {spec}: {what}");
        scenarios::write(&simulation, spec.clone());
        if round == 0 {
            simulation.start();
        } else if random.bool() {
            let edit = EDITS[random.usize(..EDITS.len())];
            simulation.act(async |person| edits::in_aws(person, edit).await);
        }
        edits::in_kubernetes(&simulation, "check requested");
        let Some(plan) = planned(&mut simulation) else { continue };
        let mut expected: Vec<_> = plan.steps.iter().flat_map(|step| writes(&step.action)).collect();
        let before = simulation.calls.count();
        simulation.settle();
        let all = made(&simulation.calls.made()[before..]);
        let mut first: Vec<_> = all.iter().take(expected.len()).cloned().collect();
        expected.sort();
        first.sort();
        if expected != first || (expected.is_empty() && plan.blockers.is_empty() && !all.is_empty()) {
            return Err(told(&format!("\n  planned {expected:?}\n  made    {all:?}")));
        }
        steps += expected.len();
    }
    Ok(steps)
}

#[test]
fn the_plan_is_what_the_operator_then_does() {
    let count = std::env::var("PREVIEWS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let (steps, wrong): (Vec<_>, Vec<_>) = (0..count).map(compared).partition(Result::is_ok);
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The comparison says something only if the plans have steps.
    let steps: usize = steps.into_iter().filter_map(Result::ok).sum();
    assert!(steps > 5 * usize::try_from(count).unwrap(), "{steps} steps");
}
