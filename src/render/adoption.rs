//! An adoption that waits for approval, and a release, for the commands `adopt` and `release`.

use std::fmt::Write;

use kube::ResourceExt;

use super::printable;
use crate::api::{AdoptionStatus, BucketConnection, DriftDifference};
use crate::vocabulary::conditions::{ConditionType, Reason};

/// How far an adoption is.
#[derive(Debug, PartialEq)]
pub enum Adoption {
    /// The operator works on it, or has not begun.
    Waiting(String),
    /// It waits for the approval of this plan.
    Asks(AdoptionStatus),
    /// Nothing waits for approval, and the connection is Ready.
    Done,
    /// Something else blocks the connection, or the approval did not count.
    Blocked(String),
}

/// How far the adoption of `object` is, after the plan with the hash `approved` was approved in its spec.
pub fn state(object: &BucketConnection, approved: Option<&str>) -> Adoption {
    let status = object.status.clone().unwrap_or_default();
    if status.observed_generation.is_none() || status.observed_generation != object.metadata.generation {
        return Adoption::Waiting("the operator has not reconciled this spec yet".to_owned());
    }
    let told = |kind: ConditionType| status.conditions.iter().find(|condition| condition.type_ == kind.to_string());
    let ready = told(ConditionType::Ready);
    let message = ready.map_or_else(|| "no condition Ready yet".to_owned(), |ready| ready.message.clone());
    match (status.adoption, ready) {
        (Some(plan), _) if approved != Some(&plan.plan_hash) => Adoption::Asks(plan),
        (Some(_), Some(ready)) if ready.reason == Reason::AwaitingApproval.to_string() => {
            Adoption::Blocked(format!("the approval in spec.approvedPlan does not count: {message}"))
        }
        (Some(_), _) => Adoption::Waiting(message),
        (None, Some(ready)) if ready.status == "True" => Adoption::Done,
        (None, _) if told(ConditionType::Stalled).is_some_and(|stalled| stalled.status == "True") => Adoption::Blocked(message),
        (None, _) => Adoption::Waiting(message),
    }
}

/// The plan of an adoption, for people.
pub fn plan(object: &BucketConnection, adoption: &AdoptionStatus) -> String {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mut text = format!("{namespace}/{name}: adopting what exists in AWS would change this ({}):\n", adoption.plan_hash);
    for DriftDifference { path, live, desired } in &adoption.changes {
        let [live, desired] = [live, desired].map(|value| value.as_deref().unwrap_or("(none)"));
        let _ = writeln!(text, "  ~ {}", printable(&format!("{path}: {live} -> {desired}")));
    }
    if adoption.changes.is_empty() {
        text += "  ~ nothing in it, but it is not the resource of that name that the connection managed before\n";
    }
    if adoption.changes.len() >= DriftDifference::MOST {
        let _ = writeln!(text, "  and perhaps more: bucketconnection plan {name} -n {namespace} shows all");
    }
    text + "It also adds the operator's ownership tags. Everything else stays as it is.\n"
}

/// What a release does, before it begins.
pub fn release(object: &BucketConnection) -> String {
    let status = object.status.clone().unwrap_or_default();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let memory = &status.memory;
    let mut kept = Vec::new();
    kept.extend(memory.bucket.as_ref().and_then(|bucket| Some(format!("bucket {}", bucket.arn.rsplit(':').next()?))));
    kept.extend(memory.user.as_ref().map(|user| format!("IAM user {}", user.name)));
    kept.extend(memory.policy.as_ref().map(|policy| format!("policy {}", policy.name)));
    let credentials = memory.credentials.as_ref();
    kept.extend(credentials.and_then(|credentials| Some(format!("access key {}", credentials.access_key_id.as_ref()?))));
    kept.extend(credentials.and_then(|credentials| Some(format!("Secret {}", credentials.secret_name.as_ref()?))));
    let kept = if kept.is_empty() { "nothing: the connection manages no resource yet".to_owned() } else { kept.join(", ") };
    printable(&format!("{namespace}/{name}: the operator"))
        + "\n  - deletes the BucketConnection object, and manages its resources no longer\n  - removes its ownership tags from them, \
           so that another connection can adopt them\n  - keeps: "
        + &printable(&kept)
        + "\n"
}

/// What the deletion of `object` waits for.
pub fn deleting(object: &BucketConnection) -> String {
    let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let blocks = |kind: ConditionType| {
        conditions.iter().find(|condition| condition.type_ == kind.to_string() && condition.status == "True")
    };
    let told = blocks(ConditionType::Stalled).or_else(|| blocks(ConditionType::Reconciling));
    told.map_or_else(|| "the operator releases it".to_owned(), |told| told.message.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::fixture::{condition, with_status as object};

    /// A plan that has changed since it was shown is shown again, and never counts as approved.
    #[test]
    fn only_the_shown_plan_counts_as_approved() {
        let adoption = json!({ "planHash": "plan-2", "changes": [] });
        let waits = object(
            json!({ "observedGeneration": 2, "adoption": adoption, "conditions": [condition("Ready", "False", "AwaitingApproval", "why")] }),
        );
        assert!(matches!(state(&waits, None), Adoption::Asks(plan) if plan.plan_hash == "plan-2"));
        assert!(matches!(state(&waits, Some("plan-1")), Adoption::Asks(_)));
        let text = "the approval in spec.approvedPlan does not count: why";
        assert_eq!(state(&waits, Some("plan-2")), Adoption::Blocked(text.to_owned()));
        let executed = condition("Ready", "Unknown", "Progressing", "the plan is being executed");
        let executed = object(json!({ "observedGeneration": 2, "adoption": adoption, "conditions": [executed] }));
        assert!(matches!(state(&executed, Some("plan-2")), Adoption::Waiting(_)));
        let stale = object(json!({ "observedGeneration": 1, "adoption": { "planHash": "plan-2", "changes": [] } }));
        assert!(matches!(state(&stale, None), Adoption::Waiting(_)));
        let done = object(json!({ "observedGeneration": 2, "conditions": [condition("Ready", "True", "AwaitingApproval", "")] }));
        assert_eq!(state(&done, Some("plan-2")), Adoption::Done);
        let stuck = json!([
            condition("Ready", "False", "AwaitingApproval", "no"),
            condition("Stalled", "True", "AwaitingApproval", "no")
        ]);
        let stuck = object(json!({ "observedGeneration": 2, "conditions": stuck }));
        assert_eq!(state(&stuck, None), Adoption::Blocked("no".to_owned()));
    }

    #[test]
    fn a_plan_shows_each_field_with_both_values() {
        let changes = json!([{ "path": "bucket.versioning", "desired": "\"Enabled\"" }]);
        let adoption: AdoptionStatus = serde_json::from_value(json!({ "planHash": "plan-2", "changes": changes })).unwrap();
        let text = plan(&object(json!({})), &adoption);
        assert!(text.contains("(plan-2):\n  ~ bucket.versioning: (none) -> \"Enabled\"\nIt also adds"), "{text}");
    }
}
