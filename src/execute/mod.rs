//! Third stage: executes a plan, and reports on each step.
//!
//! The executor decides nothing. A step runs as soon as the steps that it depends on are done, in parallel with others
//! if allowed; a failed step affects only the steps that depend on it.

#[cfg(feature = "operator")]
mod key;
#[cfg(feature = "operator")]
mod ports;
mod report;
#[cfg(feature = "operator")]
mod run;

#[cfg(feature = "operator")]
pub use ports::{Clock, Ports};
pub use report::{Executed, Outcome, Report, StepOutput};
#[cfg(feature = "operator")]
pub use run::{execute, execute_on_user};
