//! What is proven of the key: `spec.verification`, and `status.capabilities`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is tried with the key beyond the key itself.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSpec {
    /// Also put, get and delete a small object under the prefix, ".bucketconnection-probe-…": a platform that watches the bucket may
    /// notice it, and in a bucket with versions a version and a delete marker may stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub objects: bool,
}

/// One thing that the key was proven to do.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Valid: tried, and it works. Invalid: tried, and it does not. Pending: not known yet. NotConfigured: not tried, because the spec does
    /// not ask for it or the policy does not grant it.
    pub state: CapabilityState,
    /// What was tried, and what to do when it failed.
    pub message: String,
}

/// State of a capability.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CapabilityState {
    Valid,
    Invalid,
    Pending,
    NotConfigured,
}
