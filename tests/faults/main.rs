//! Faults at every step: throttled, cut, lost and late answers, and an operator that is killed anywhere.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may panic and print"
)]

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod contract;
mod contract_servers;
mod model;
mod real;
mod simulation;
