//! The permissions that the operator lacks, in one list over all objects; and those that the user lacks.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::Finding;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::denied;

/// Permissions that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Actions in AWS.
    pub aws: BTreeSet<String>,
    /// Verbs and resources in Kubernetes.
    pub kubernetes: BTreeSet<String>,
    /// What the user of the command lacks in Kubernetes.
    pub yours: BTreeSet<String>,
}

/// The permissions that these conditions name.
pub fn missing<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Missing {
    let mut missing = Missing::default();
    for condition in conditions {
        // A denial of the issued key says nothing about the operator.
        let of_key = condition.type_ == ConditionType::Verified.to_string();
        if condition.reason == Reason::AccessDenied.to_string() && !of_key {
            let (aws, kubernetes) = denied(&condition.message);
            missing.aws.extend(aws);
            missing.kubernetes.extend(kubernetes);
        }
    }
    missing
}

fn list(actions: &BTreeSet<String>) -> String {
    actions.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// What the user of the command lacks, in one list.
pub(super) fn yours(needed: &BTreeSet<String>) -> Option<Finding> {
    let text = format!("you lack: {}", list(needed));
    let act = "Ask an administrator of the cluster for these permissions, or for the results of these checks";
    (!needed.is_empty()).then(|| Finding::note("permissions", "your permissions", text).and(act))
}

/// The findings about the operator's permissions. `read` names whose conditions were read.
pub fn permissions(missing: &Missing, read: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !missing.aws.is_empty() {
        let act = "Allow the operator these actions (bucketconnection iam-policy prints the whole policy), and look for a denying SCP, RCP, boundary or bucket policy";
        findings.push(Finding::wrong(
            "permissions",
            "operator's permissions in AWS",
            format!("AWS denied: {}", list(&missing.aws)),
            act,
        ));
    }
    if !missing.kubernetes.is_empty() {
        let text = format!("Kubernetes denied: {}", list(&missing.kubernetes));
        let act = "Grant the operator these permissions (deploy/kubernetes/base/rbac.yaml)";
        findings.push(Finding::wrong("permissions", "operator's permissions in Kubernetes", text, act));
    }
    if findings.is_empty() {
        let about = "operator's permissions";
        findings.push(match read {
            [] => Finding::not_checked("permissions", about, "needs the conditions of a connection or an AWSAccount"),
            read => Finding::ok("permissions", about, format!("no condition of {} reports a denied call", read.join(" or "))),
        });
    }
    findings
}
