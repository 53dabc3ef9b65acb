//! The result of verifying a key.

use serde::Deserialize;

use crate::desired::Proof;
use crate::vocabulary::problem::Problem;

/// One thing that was tried with a key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ProbeResult {
    /// What.
    pub proof: Proof,
    /// What was found out: whose the key is.
    pub found: Option<String>,
    /// Why it failed, if it did.
    pub problem: Option<Problem>,
}
