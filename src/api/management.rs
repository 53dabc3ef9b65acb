//! How much of a connection is managed, section by section; and what exists already being taken over.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::DriftDifference;

/// Modes by section; `default` is for all that are not named.
pub type ManagementSpec = BTreeMap<String, ManagementMode>;

/// What the operator does with a section.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum ManagementMode {
    /// Differences are put right.
    #[default]
    Enforce,
    /// Differences are shown as drift, and nothing is changed.
    Observe,
    /// Nothing is looked at and nothing is changed.
    Ignore,
}

/// The plan of a takeover.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionStatus {
    /// Identifies the changes: the takeover begins when spec.approvedPlan says the same.
    pub plan_hash: String,
    /// What the takeover would change, up to 50 fields.
    pub changes: Vec<DriftDifference>,
}
