//! The whole operator in one process and in virtual time: the real controller with its watches, reconciles, executor,
//! AWS SDK and kube client, against an API server and an AWS in memory (`cluster`, `model`).
//!
//! A kill drops the runtime in which the operator runs, at any of its await points; the stores stay, and the operator
//! starts again. Every call to either server is counted (`calls`), and may have a fault. After each write `invariants`
//! checks both servers.

mod calls;
pub mod clock;
mod edits;
mod emergency;
mod end_state;
mod gate;
mod invariants;
mod layers;
mod memory;
mod operator;
mod run;
mod scenarios;
mod tally;

mod changes;
mod crash_points;
mod previews;
mod soak;
mod stories;
mod two_operators;
