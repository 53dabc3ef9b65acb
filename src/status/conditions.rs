//! Conditions as Kubernetes expects them: sorted, stable, `lastTransitionTime` changes only when the status flips.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::BucketConnectionStatus;
use crate::vocabulary::conditions::{ConditionType, Reason, find};

/// Longest message that the API server takes
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/>, `metav1.Condition`).
const MESSAGE_LIMIT: usize = 32_768;

/// The condition of `kind` in `status`.
pub fn condition(status: &BucketConnectionStatus, kind: ConditionType) -> Option<&Condition> {
    find(&status.conditions, kind)
}

/// Whether the condition of `kind` exists and is True.
pub fn is_true(status: &BucketConnectionStatus, kind: ConditionType) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition; `value` is True, False or Unknown (`None`).
pub fn set(
    conditions: &mut Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
    kind: ConditionType,
    value: Option<bool>,
    reason: Reason,
    message: &str,
) {
    let text = match value {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = find(conditions, kind).filter(|old| old.status == text).map_or(Time(now), |old| old.last_transition_time.clone());
    let new = Condition {
        type_: kind.to_string(),
        status: text.to_owned(),
        reason: reason.to_string(),
        message: message.chars().take(MESSAGE_LIMIT).collect(),
        observed_generation: generation,
        last_transition_time: since,
    };
    conditions.retain(|condition| condition.type_ != new.type_);
    conditions.push(new);
    conditions.sort_by_key(|condition| rank(&condition.type_));
}

/// The order for readers; the operator's conditions first, then others.
fn rank(type_: &str) -> (usize, String) {
    use ConditionType::{DriftDetected, Ready, Reconciling, Stalled};
    let mut order = vec![Ready, Reconciling, Stalled];
    order.extend(ConditionType::PARTS);
    order.push(DriftDetected);
    let place = order.iter().position(|kind| kind.to_string() == type_);
    (place.unwrap_or(order.len()), type_.to_owned())
}
