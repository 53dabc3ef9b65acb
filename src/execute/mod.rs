//! Third stage: carries a plan out, and reports on each step.
//!
//! The executor chooses nothing. Steps run as soon as those before them are done, in parallel where they may; a failed one takes
//! only its dependents with it.

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
