//! The permissions that the operator lacks: one list over all objects.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::Finding;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::denied;

/// Permissions that the operator lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Actions in AWS.
    pub aws: BTreeSet<String>,
    /// Verbs and resources in Kubernetes.
    pub kubernetes: BTreeSet<String>,
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

/// The findings about them.
pub fn permissions(missing: &Missing) -> Vec<Finding> {
    let list = |actions: &BTreeSet<String>| actions.iter().cloned().collect::<Vec<_>>().join(", ");
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
        findings.push(Finding::ok("permissions", "operator's permissions", "no condition reports a denied call"));
    }
    findings
}
