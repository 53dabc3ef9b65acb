//! How each section of a connection is managed, and the plan of an adoption.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::DriftDifference;

/// Modes by section. `default` applies to all sections that are not named.
pub type ManagementSpec = BTreeMap<String, ManagementMode>;

/// What the operator does with a section.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum ManagementMode {
    /// The operator reverts differences.
    #[default]
    Enforce,
    /// The operator shows differences as drift, and changes nothing.
    Observe,
    /// The operator neither reports nor changes anything.
    Ignore,
}

/// The plan of an adoption.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionStatus {
    /// Hash of the changes. The adoption begins when this hash is approved, in the AWSAccount or in spec.approvedPlan.
    pub plan_hash: String,
    /// What the adoption would change, up to 50 fields.
    pub changes: Vec<DriftDifference>,
}
