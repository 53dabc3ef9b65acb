//! What came of trying a key.

use serde::Deserialize;

use crate::desired::Proof;
use crate::problem::Problem;

/// One thing that was tried with a key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Tried {
    /// What.
    pub proof: Proof,
    /// Why it failed, if it did.
    pub problem: Option<Problem>,
}
