//! The result of verifying a key.

use crate::desired::Proof;
use crate::vocabulary::problem::Problem;

/// The result of one verification call.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeResult {
    /// The call.
    pub proof: Proof,
    /// What it found: the owner of the key.
    pub found: Option<String>,
    /// Why it failed, if it did.
    pub problem: Option<Problem>,
}
