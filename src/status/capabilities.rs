//! What the issued key was proven to do, for those who only look at that.

use std::collections::BTreeMap;

use super::Checked;
use super::conditions::condition;
use crate::api::conditions::ConditionType;
use crate::api::{BucketConnectionStatus, Capability, CapabilityState};

/// What the condition `Verified` of `status` says about it, once there is one.
pub(super) fn capabilities(status: &BucketConnectionStatus, check: &Checked<'_>) -> BTreeMap<String, Capability> {
    let Some(verified) = condition(status, ConditionType::Verified) else { return status.capabilities.clone() };
    let pending = matches!(
        verified.reason.as_str(),
        "KeyPropagating" | "Waiting" | "Progressing" | "Throttled" | "AWSUnavailable" | "Observed" | "NotManaged"
    );
    let state = match verified.status.as_str() {
        "True" if !pending => CapabilityState::Valid,
        _ if pending => CapabilityState::Pending,
        "False" => CapabilityState::Invalid,
        _ => CapabilityState::Pending,
    };
    let message = match state {
        CapabilityState::Valid => {
            let tried = check.desired.proofs.iter().map(|proof| format!("{proof:?}")).collect::<Vec<_>>().join(", ");
            format!("tried with the issued key: {tried}")
        }
        _ => verified.message.clone(),
    };
    BTreeMap::from([("s3".to_owned(), Capability { state, message })])
}
